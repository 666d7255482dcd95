"""What `delivery/dkim` signs, checked by dkimpy and by a verifier written here from the RFCs; no DNS is asked."""

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import dkim as dkimpy
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from signatures import dkimpy_says, is_valid, signatures_of, verdicts, write_key

from email_service.delivery import mime
from email_service.delivery.dkim import Signer, dns_name, dns_record
from email_service.delivery.mime import Letter
from email_service.delivery.smtp_dialogue import stuffed
from email_service.kernel.addresses import Mailbox
from email_service.settings import DkimKey

LETTER = Letter(
    message_id_header="<0190b3c8@acme.example>",
    date=datetime(2026, 11, 21, 8, 30, tzinfo=UTC),
    sender=Mailbox("no-reply@acme.example", "Acme"),
    to=Mailbox("ada@example.org", "Ada"),
    cc=(Mailbox("bob@example.org", "Bob"),),
    reply_to=Mailbox("help@acme.example"),
    subject="Welcome",
    html="<p>Hello</p>",
    text="Hello",
    headers={"Feedback-ID": "a:b:c", "X-Order": "42"},
    unsubscribe_url="https://acme.example/u?t=1",
)
CONTENT = mime.build(LETTER)
header_text = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=300)
body_text = st.text(
    st.characters(exclude_categories=("Cs",)) | st.sampled_from(" .\r\n\t=-\0"), max_size=400
) | st.text(st.sampled_from(" .\n\ta"), max_size=400)
# RFC 8463 A.3, with its keys from A.2.
PUBLISHED = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")
PUBLISHED_RECORD = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    long, short = (rsa.generate_private_key(65537, bits) for bits in (2048, 1024))
    return SimpleNamespace(
        folder=folder,
        rsa=DkimKey("acme.example", "r1", write_key(folder / "rsa.pem", long)),
        rsa1024=DkimKey("b.example", "s", write_key(folder / "old.pem", short, PrivateFormat.TraditionalOpenSSL)),
        ed25519=DkimKey("acme.example", "e1", write_key(folder / "ed.pem", Ed25519PrivateKey.generate())),
    )


@pytest.fixture(scope="module")
def signer(keys):
    return Signer([keys.rsa, keys.ed25519, keys.rsa1024])


@pytest.fixture
def records(keys, monkeypatch):
    """The DNS, with what dkimpy would take from PyNaCl for Ed25519 played by `cryptography`."""

    class VerifyKey:
        def __init__(self, public, encoder):
            self.key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public))

        def verify(self, digest, signature):
            self.key.verify(signature, digest)

    nacl = SimpleNamespace(
        signing=SimpleNamespace(VerifyKey=VerifyKey),
        encoding=SimpleNamespace(Base64Encoder=None),
        exceptions=SimpleNamespace(BadSignatureError=InvalidSignature, ValueError=ValueError),
    )
    monkeypatch.setattr(dkimpy, "nacl", nacl, raising=False)
    return published(keys)


def published(keys):
    return {dns_name(key): dns_record(key) for key in (keys.rsa, keys.ed25519, keys.rsa1024)}


def test_the_verifiers_take_the_example_of_rfc_8463(records):
    records = {"brisbane._domainkey.football.example.com": PUBLISHED_RECORD}
    assert verdicts(PUBLISHED, records) == [True, True]
    assert verdicts(PUBLISHED.replace(b"Hi.", b"Ho."), records) == [False, False]


def test_each_key_of_the_domain_signs(signer, records):
    signed = signer.sign(CONTENT, "acme.example")
    assert signed.endswith(CONTENT)
    assert [(each["a"], each["s"]) for each in signatures_of(signed)] == [
        ("rsa-sha256", "r1"),
        ("ed25519-sha256", "e1"),
    ]
    assert verdicts(signed, records) == [True] * 4


def test_what_is_signed_and_how_is_told(signer):
    for tags in signatures_of(signer.sign(CONTENT, "acme.example")):
        assert set(tags) == {"v", "a", "c", "d", "s", "t", "h", "bh", "b"}
        assert (tags["v"], tags["c"], tags["d"]) == ("1", "relaxed/relaxed", "acme.example")
        assert datetime.fromtimestamp(int(tags["t"]), UTC) == LETTER.date
        assert sorted(tags["h"].split(":")) == sorted(
            ["from", "to", "subject", "date"] * 2
            + ["cc", "reply-to", "message-id", "mime-version", "content-type", "auto-submitted"]
            + ["list-unsubscribe", "list-unsubscribe-post"] * 2
            + ["feedback-id"]
        )


def test_nobody_adds_another_way_to_unsubscribe(signer, records):
    """T33: the first of two fields is the one that a mail program shows."""
    signed = signer.sign(CONTENT, "acme.example")
    for name in (b"List-Unsubscribe: <https://evil.example/>", b"List-Unsubscribe-Post: List-Unsubscribe=One-Click"):
        assert verdicts(name + b"\r\n" + signed, records) == [False] * 4
    plain = signer.sign(mime.build(replace(LETTER, unsubscribe_url=None)), "acme.example")
    assert "list-unsubscribe" not in signatures_of(plain)[0]["h"]


def test_the_same_message_gets_the_same_signature_tomorrow(keys, signer, time_machine):
    first = signer.sign(CONTENT, "acme.example")
    time_machine.move_to(datetime(2030, 1, 1, tzinfo=UTC))
    assert Signer([keys.rsa, keys.ed25519]).sign(CONTENT, "acme.example") == first


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("acme.example", ["acme.example"] * 2),
        ("ACME.example", ["acme.example"] * 2),
        ("mail.acme.example", ["acme.example"] * 2),
        ("a.b.example", ["b.example"]),
        ("b.example", ["b.example"]),
        ("notacme.example", []),
        ("acme.example.org", []),
        ("example", []),
        ("", []),
    ],
)
def test_the_nearest_domain_signs(signer, domain, expected):
    signed = signer.sign(CONTENT, domain)
    assert [each["d"] for each in signatures_of(signed)] == expected
    assert (signed == CONTENT) == (not expected)


def test_a_key_of_the_very_domain_goes_before_one_of_the_domain_above(keys):
    below = replace(keys.ed25519, domain="mail.acme.example")
    [tags] = signatures_of(Signer([keys.rsa, below]).sign(CONTENT, "mail.acme.example"))
    assert tags["d"] == "mail.acme.example"


def test_without_keys_nothing_is_signed():
    assert Signer([]).sign(CONTENT, "acme.example") == CONTENT


@settings(deadline=None, max_examples=50)  # each example signs twice and verifies six times
@given(
    written=st.tuples(header_text, header_text, body_text), widths=st.lists(st.integers(1, 40), min_size=1, max_size=5)
)
def test_any_letter_verifies_also_on_its_way(keys, signer, written, widths):
    """T19: as it was signed, after the dots of SMTP, and when a relay folds the header elsewhere."""
    subject, name, text = written
    letter = replace(
        LETTER, subject=subject, to=Mailbox("ada@example.org", name), text=text, html=text and f"<p>{text}"
    )
    signed = signer.sign(mime.build(letter), "acme.example")
    records = published(keys)
    assert [is_valid(signed, 0, records), is_valid(signed, 1, records), dkimpy_says(signed, 0, records)] == [True] * 3
    assert unstuffed(stuffed(signed)) == signed
    relayed = refolded(signed, widths)
    assert [is_valid(relayed, 0, records), is_valid(relayed, 1, records), dkimpy_says(relayed, 0, records)] == [
        True
    ] * 3
    assert max(map(len, signed.split(b"\r\n\r\n")[0].split(b"\r\n"))) <= 998


def unstuffed(content):
    return re.sub(rb"(?m)^\.", b"", content)


def refolded(content, widths):
    """Each field with its white space made other white space, as a relay may; the body with blanks before line ends."""
    head, body = content.split(b"\r\n\r\n", 1)
    lines = []
    for number, each in enumerate(re.split(rb"\r\n(?![ \t])", head)):
        words = re.split(rb"(?:\r\n)?[ \t]+", each)
        width = widths[number % len(widths)]
        line = words[0]
        for count, word in enumerate(words[1:]):
            line += (b"\r\n\t " if word and not count % width else b"  ") + word
        lines.append(line)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body.replace(b"\r\n", b" \t\r\n") + b"\r\n"


@pytest.mark.parametrize(
    ("found", "put"),
    [
        (b"Subject: Welcome", b"Subject: Welcame"),
        (b"From: Acme", b"From: Acne"),
        (b"no-reply@acme.example", b"no-reply@acne.example"),
        (b"To: Ada", b"To: Eve"),
        (b"Cc: Bob <bob@example.org>\r\n", b""),
        (b"Reply-To: help@", b"Reply-To: hell@"),
        (b"Date: Sat, 21", b"Date: Sun, 22"),
        (b"acme.example/u?t=1", b"evil.example/u?t=1"),
        (b"List-Unsubscribe=One-Click", b"List-Unsubscribe=Two-Click"),
        (b"multipart/alternative", b"multipart/mixed"),
        (b"Hello", b"Hallo"),
        (b"</p>", b"</p>x"),
        (b"t=1795", b"t=1796"),
        # One field more of a kind that was sealed.
        (b"MIME-Version:", b"Subject: Another\r\nMIME-Version:"),
        (b"DKIM-Signature:", b"From: Eve <eve@evil.example>\r\nDKIM-Signature:"),
        (b"MIME-Version:", b"To: eve@evil.example\r\nMIME-Version:"),
        (b"MIME-Version:", b"Date: Sat, 21 Nov 2026 08:31:00 +0000\r\nMIME-Version:"),
    ],
)
def test_what_was_changed_on_the_way_does_not_verify(signer, records, found, put):
    signed = signer.sign(CONTENT, "acme.example")
    assert found in signed
    assert verdicts(signed.replace(found, put), records) == [False] * 4


def test_what_is_not_signed_may_be_added_by_a_relay(signer, records):
    signed = b"Received: from a by b\r\n" + signer.sign(CONTENT, "acme.example")
    assert verdicts(signed.replace(b"X-Order: 42", b"X-Order: 43"), records) == [True] * 4


def test_a_message_without_a_usable_date_is_signed_without_a_time(signer, records):
    for content in (b"From: a@acme.example\r\n\r\n", b"Date: soon\r\nFrom: a@acme.example\r\n\r\nHi\r\n"):
        signed = signer.sign(content, "acme.example")
        assert "t" not in signatures_of(signed)[0]
        assert verdicts(signed, records) == [True] * 4


@pytest.mark.parametrize("body", [b"", b"\r\n", b" \r\n\t\r\n", b"a \t\r\n\t b\tc  d\r\n \r\n\r\n", b".\r\n..\r\n"])
def test_a_body_is_signed_without_regard_to_its_white_space(signer, records, body):
    signed = signer.sign(b"From: a@acme.example\r\n\r\n" + body, "acme.example")
    assert verdicts(signed, records) == [True] * 4


def test_fields_of_the_same_name_are_signed_from_the_last_to_the_first(signer, records):
    content = b"Cc: bob@example.org\r\nFrom: a@acme.example\r\nCc: eve@example.org\r\n\r\nHi\r\n"
    assert verdicts(signer.sign(content, "acme.example"), records) == [True] * 4


def test_a_pkcs1_key_of_1024_bits_signs(signer, keys, records):
    assert keys.rsa1024.path.read_text().startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert verdicts(signer.sign(CONTENT, "b.example"), records) == [True, True]
