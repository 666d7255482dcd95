"""What is said of a domain's SPF, DKIM and DMARC records, and what to change."""

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from email_service.delivery.dkim import dns_name, dns_record
from email_service.diagnosis import sender_domains
from email_service.settings import DkimKey
from email_service.web.checks import Level

ACME = "acme.example"
RELAY, GOOGLE, SENDGRID = "smtp.acme.example", "smtp.gmail.com", "smtp.sendgrid.net"


def zone(**texts: list[str] | str):
    """Text records by name; the underscores of `acme_example` are dots."""
    records = {name.replace("__", "\0").replace("_", ".").replace("\0", "_"): found for name, found in texts.items()}
    known = {name: [found] if isinstance(found, str) else found for name, found in records.items()}
    return lambda name: known.get(name, [])


@pytest.mark.parametrize(
    ("records", "servers", "level", "said"),
    [
        ("v=spf1 ip4:192.0.2.1 -all", [RELAY], Level.OK, "who may send"),
        ("V=SPF1 include:_spf.google.com ~all", [GOOGLE], Level.OK, "who may send"),
        ("v=spf1 include:sendgrid.net include:_spf.google.com ~all", [GOOGLE, SENDGRID], Level.OK, "who may send"),
        (["google-site-verification=x", "v=spf1 a -all"], [RELAY], Level.OK, "who may send"),
        ("v=spf1 redirect=_spf.acme.example", [RELAY], Level.OK, "who may send"),
        ([], [GOOGLE], Level.FAILURE, "`v=spf1 include:_spf.google.com ~all`"),
        ([], [RELAY], Level.FAILURE, "`v=spf1 ~all` as TXT at acme.example, with what your mail provider"),
        (["v=spf10 -all"], [RELAY], Level.FAILURE, "no SPF record"),
        (["v=spf1 a -all", "v=spf1 mx -all"], [RELAY], Level.FAILURE, "several"),
        ("v=spf1 a +all", [RELAY], Level.FAILURE, "everybody"),
        ("v=spf1 all", [RELAY], Level.FAILURE, "everybody"),
        ("v=spf1 a ~all", [SENDGRID], Level.FAILURE, "add include:sendgrid.net"),
        ("v=spf1 " + " ".join(f"a:h{n}.acme.example" for n in range(11)) + " -all", [RELAY], Level.FAILURE, "lookups"),
        ("v=spf1 include:acme.example -all", [RELAY], Level.FAILURE, "lookups"),
        ("v=spf1 a", [RELAY], Level.WARNING, "everybody else"),
        ("v=spf1 a ?all", [RELAY], Level.WARNING, "everybody else"),
    ],
)
def test_spf(records, servers, level, said):
    found = sender_domains.check_spf(ACME, servers, zone(acme_example=records))
    assert (found.name, found.about, found.level) == ("spf", ACME, level)
    assert said in found.detail


def test_an_spf_record_is_followed_to_what_it_includes():
    records = zone(
        acme_example="v=spf1 include:_spf.acme.example -all",
        _spf_acme_example=[],
        __spf_acme_example="v=spf1 include:sendgrid.net mx ~all",
    )
    assert sender_domains.check_spf(ACME, [SENDGRID], records).level is Level.OK
    ten = zone(
        acme_example="v=spf1 include:b.example mx -all", b_example="v=spf1 a a:1.b a:2.b a:3.b a:4.b a:5.b a:6.b a:7.b"
    )
    assert sender_domains.check_spf(ACME, [RELAY], ten).level is Level.OK
    eleven = zone(acme_example="v=spf1 include:b.example mx ptr -all", b_example="v=spf1 " + "exists:x.b " * 8)
    assert "lookups" in sender_domains.check_spf(ACME, [RELAY], eleven).detail


@pytest.fixture(scope="module")
def key(tmp_path_factory) -> DkimKey:
    path = tmp_path_factory.mktemp("keys") / "dkim.pem"
    private = generate_private_key(65537, 1024)
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return DkimKey(ACME, "r2026", path)


@pytest.mark.parametrize(
    ("publish", "level", "said"),
    [
        (lambda right: [right], Level.OK, "is published"),
        (lambda right: [right.replace("p=", "p= ")], Level.OK, "is published"),
        (lambda right: [], Level.FAILURE, "Nothing is published at r2026._domainkey.acme.example"),
        (lambda right: ["v=DKIM1; k=rsa; p="], Level.FAILURE, "Another key"),
        (lambda right: [right[:-8] + "AAAAAAAA"], Level.FAILURE, "Another key"),
        (lambda right: [right, right], Level.FAILURE, "several keys"),
        (lambda right: [right + "; t=s:y"], Level.WARNING, "t=y"),
    ],
)
def test_dkim(key, publish, level, said):
    found = sender_domains.check_dkim(key, lambda name: publish(dns_record(key)) if name == dns_name(key) else [])
    assert (found.name, found.about, found.level) == ("dkim", "r2026._domainkey.acme.example", level)
    assert said in found.detail


def test_a_domain_that_is_signed_elsewhere_is_told_so():
    found = sender_domains.tell_foreign_signing(ACME)
    assert (found.level, "DKIM_KEYS" in found.detail) == (Level.WARNING, True)


@pytest.mark.parametrize(
    ("domain", "records", "level", "said"),
    [
        (ACME, {"__dmarc_acme_example": "v=DMARC1; p=reject"}, Level.OK, "reject"),
        (ACME, {"__dmarc_acme_example": "v = DMARC1;p=Quarantine"}, Level.OK, "quarantine"),
        ("mail.acme.example", {"__dmarc_acme_example": "v=DMARC1; p=reject"}, Level.OK, "reject"),
        ("mail.acme.example", {"__dmarc_acme_example": "v=DMARC1; p=reject; sp=none"}, Level.WARNING, "none"),
        (ACME, {"__dmarc_acme_example": "v=DMARC1; p=none"}, Level.WARNING, "p=quarantine"),
        (ACME, {}, Level.FAILURE, "at _dmarc.acme.example"),
        (ACME, {"__dmarc_example": "v=DMARC1; p=reject"}, Level.FAILURE, "no DMARC record"),
        (ACME, {"__dmarc_acme_example": "v=DMARC1; rua=mailto:x@acme.example"}, Level.FAILURE, "no policy"),
        (ACME, {"__dmarc_acme_example": ["v=DMARC1; p=none", "v=DMARC1; p=reject"]}, Level.FAILURE, "several"),
        ("mail.acme.example", {"__dmarc_acme_example": "v=DMARC1; p=reject; adkim=s"}, Level.FAILURE, "adkim=s"),
        (ACME, {"__dmarc_acme_example": "v=DMARC1; p=reject; adkim=s"}, Level.OK, "reject"),
    ],
)
def test_dmarc(domain, records, level, said):
    found = sender_domains.check_dmarc(domain, [ACME], zone(**records))
    assert (found.name, found.about, found.level) == ("dmarc", domain, level)
    assert said in found.detail
