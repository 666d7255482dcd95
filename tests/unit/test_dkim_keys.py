"""Which keys DKIM_KEYS may name, that none of them is ever shown, and what `email-service dkim record` prints."""

import re
from types import SimpleNamespace

import click
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from signatures import is_valid, write_key

from email_service.cli.main import commands
from email_service.delivery.dkim import Signer
from email_service.kernel.errors import SettingsError
from email_service.settings import DkimKey, Settings, load

CONTENT = b"From: no-reply@acme.example\r\n\r\nHello\r\n"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return SimpleNamespace(
        folder=folder,
        rsa=DkimKey("acme.example", "r1", write_key(folder / "rsa.pem", rsa.generate_private_key(65537, 2048))),
        ed25519=DkimKey("acme.example", "e1", write_key(folder / "ed.pem", Ed25519PrivateKey.generate())),
    )


def short_key() -> rsa.RSAPrivateKey:
    """Of 648 bits, from two Mersenne primes; no library makes such a key any more."""
    p, q, e = 2**521 - 1, 2**127 - 1, 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    crt = (rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q))
    return rsa.RSAPrivateNumbers(p, q, d, *crt, rsa.RSAPublicNumbers(e, p * q)).private_key()


def configured(*entries: str) -> Settings:
    return load({"SECRET_KEY": "k" * 32, "DKIM_KEYS": ",".join(entries)}, env_file=None)


def entry(key: DkimKey) -> str:
    return f"{key.domain}:{key.selector}:{key.path}"


def test_the_setting_names_several_keys_and_domains(keys):
    found = configured(entry(keys.rsa), f" {entry(keys.ed25519)}", f"BÜCHER.example:S.2026:{keys.rsa.path}", "")
    assert found.dkim_keys == (keys.rsa, keys.ed25519, DkimKey("xn--bcher-kva.example", "s.2026", keys.rsa.path))


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("acme.example", "write domain:selector:"),
        ("acme.example:s", "write domain:selector:"),
        ("acme.example::{rsa}", "a selector"),
        ("acme.example:a_b:{rsa}", "a selector"),
        ("acme.example:a..b:{rsa}", "a selector"),
        ("no domain:s:{rsa}", "the domain"),
        ("acme.example:s:{folder}/none.pem", "exists and can be read"),
        ("acme.example:s:{folder}", "exists and can be read"),
        ("acme.example:s:{folder}/text.pem", "in PEM"),
        ("acme.example:s:{folder}/public.pem", "in PEM"),
        ("acme.example:s:{folder}/short.pem", "1024 to 4096 bits"),
        ("acme.example:s:{folder}/curve.pem", "RSA or Ed25519"),
        ("acme.example:s:{folder}/locked.pem", "without a passphrase"),
        ("acme.example:s:{rsa},ACME.example:S:{rsa}", "entry 2: this domain has a key with this selector"),
    ],
)
def test_a_key_that_cannot_sign_is_a_mistake_that_shows_nothing_of_it(keys, written, told):
    """T27"""
    folder = keys.folder
    secret = "hunter2hunter2"
    (folder / "text.pem").write_text(f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n")
    (folder / "public.pem").write_text(keys.rsa.path.read_text().replace("PRIVATE", "PUBLIC"))
    write_key(folder / "short.pem", short_key())
    write_key(folder / "curve.pem", ec.generate_private_key(ec.SECP256R1()))
    write_key(folder / "locked.pem", Ed25519PrivateKey.generate(), encryption=BestAvailableEncryption(b"x"))
    with pytest.raises(SettingsError) as caught:
        configured(written.format(folder=folder, rsa=keys.rsa.path))
    [fault] = caught.value.faults
    assert fault.pointer == "DKIM_KEYS"
    assert told in fault.message
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_key_is_shown(keys):
    """T27"""
    material = keys.ed25519.path.read_text().splitlines()[1][-20:]
    signer = Signer([keys.ed25519])
    shown = f"{configured(entry(keys.ed25519))!r} {keys.ed25519!r} {signer!r} {vars(signer)!r}"
    assert str(keys.ed25519.path) in shown
    assert material not in shown
    assert "PrivateKey" not in shown


@pytest.fixture
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_in_an_empty_folder")
def test_the_command_prints_records_that_verify(keys, monkeypatch, capsys):
    monkeypatch.setenv("DKIM_KEYS", f"{entry(keys.rsa)},{entry(keys.ed25519)}")
    commands(["dkim", "record"], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith('e1._domainkey.acme.example. IN TXT ( "v=DKIM1; k=ed25519; p=')
    records = {}
    for line in lines:
        strings = re.findall(r'"([^"]*)"', line)
        assert max(map(len, strings)) <= 255
        records[line.split(". ")[0]] = "".join(strings)
    signed = Signer([keys.rsa, keys.ed25519]).sign(CONTENT, "acme.example")
    assert [is_valid(signed, number, records) for number in (0, 1)] == [True, True]


@pytest.mark.usefixtures("_in_an_empty_folder")
def test_the_command_without_keys_says_what_to_set():
    with pytest.raises(click.UsageError, match="domain:selector"):
        commands(["dkim", "record"], standalone_mode=False)
