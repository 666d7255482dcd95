"""Keys that sign: published before they do and after they did, one first key for all, no private half to be read."""

from datetime import timedelta

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet
from sqlalchemy import select, text, update

from email_service.audit.models import AuditEvent
from email_service.audit.service import OPERATOR
from email_service.kernel.errors import SealBrokenError
from email_service.kernel.orm import database_now
from email_service.signing import service as signing
from email_service.signing.models import SigningKey
from email_service.signing.service import LEAD, LONGEST_LIFE, Signer
from tests.races import together

HOUR = timedelta(hours=1)
TIMES = ("published_at", "active_from", "retired_at")


def new_signer(house) -> Signer:
    """One of another process, which remembers nothing."""
    return Signer(house.sessions, house.intake.sealer, "email-service")


def sign(house, signer: Signer | None = None, **claims) -> str:
    signer = signer or new_signer(house)
    signer.prepare()
    return signer.sign({"sub": "u-1", **claims})


def fetch(house) -> KeySet:
    """What a verifier knows who asks now."""
    response = house.app.test_client().get("/.well-known/jwks.json")
    assert response.status_code == 200
    return KeySet.import_key_set(response.json)


def published(house) -> list[str]:
    return [key.kid for key in fetch(house).keys]


def read(token: str, keys: KeySet) -> dict:
    return jwt.decode(token, keys, algorithms=["ES256"]).claims


def rotate(house) -> str:
    with house.sessions.begin() as session:
        return signing.rotate(session, house.intake.sealer, OPERATOR).id


def pass_time(house, span: timedelta) -> None:
    """As if so much time had passed since everything that happened to the keys."""
    with house.sessions.begin() as session:
        for key in session.scalars(select(SigningKey)):
            for name in TIMES:
                if (at := getattr(key, name)) is not None:
                    setattr(key, name, at - span)


def test_what_is_signed_is_verified_with_the_published_keys_alone(either):
    """T25"""
    token = sign(either, aud="app")
    assert read(token, fetch(either)) == {"sub": "u-1", "aud": "app", "iss": "email-service"}
    header = jwt.decode(token, fetch(either), algorithms=["ES256"]).header
    assert (header["alg"], header["typ"], [header["kid"]]) == ("ES256", "JWT", published(either))


def test_nobody_signs_in_the_name_of_another_issuer(house):
    """T25: whatever claims a caller hands in."""
    assert read(sign(house, iss="https://evil.example"), fetch(house))["iss"] == "email-service"


def test_the_published_keys_have_no_private_half(either):
    """T25"""
    sign(either)
    rotate(either)
    told = either.app.test_client().get("/.well-known/jwks.json").json["keys"]
    assert len(told) == 2
    for key in told:
        assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
        assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("EC", "P-256", "ES256", "sig")
        assert key["kid"] == ECKey.import_key({name: key[name] for name in ("kty", "crv", "x", "y")}).thumbprint()


def test_the_keys_may_be_kept_for_as_long_as_a_new_one_waits(house):
    response = house.app.test_client().get("/.well-known/jwks.json")
    assert response.headers["Cache-Control"] == f"public, max-age={signing.JWKS_SECONDS}"
    assert timedelta(seconds=signing.JWKS_SECONDS) < LEAD


def test_a_new_key_is_published_before_it_signs(either):
    """T25: whoever fetched the keys before the rotation verifies all that is signed until it asks again."""
    sign(either)
    before = fetch(either)
    new = rotate(either)
    assert new in published(either)
    for _ in range(2):
        assert read(sign(either), before)
        pass_time(either, LEAD / 2 - timedelta(seconds=5))
    after = fetch(either)
    pass_time(either, timedelta(seconds=10))
    token = sign(either)
    assert jwt.decode(token, after, algorithms=["ES256"]).header["kid"] == new
    with pytest.raises(JoseError):
        read(token, before)


def test_an_old_key_is_published_until_its_last_signature_has_expired(either):
    """T25"""
    sign(either)
    [old] = published(either)
    last = sign(either)
    new = rotate(either)
    pass_time(either, LEAD + LONGEST_LIFE - HOUR)
    assert read(last, fetch(either))
    pass_time(either, HOUR)
    assert published(either) == [new]
    assert old != new
    assert sign(either)


def test_two_rotations_in_a_row_leave_the_newest_signing(either):
    sign(either)
    rotate(either)
    pass_time(either, timedelta(minutes=1))
    newest = rotate(either)
    pass_time(either, LEAD + LONGEST_LIFE)
    assert published(either) == [newest]
    assert read(sign(either), fetch(either))


def test_a_key_that_waits_longer_than_a_later_one_never_signs(either):
    """As when LEAD was longer in an earlier version."""
    sign(either)
    first = rotate(either)
    either.execute(update(SigningKey).where(SigningKey.id == first).values(active_from=database_now(2 * LEAD)))
    second = rotate(either)
    pass_time(either, 3 * LEAD)
    assert jwt.decode(sign(either), fetch(either), algorithms=["ES256"]).header["kid"] == second


def test_the_first_key_of_all_is_active_at_once_also_when_an_operator_makes_it(either):
    """A key that waits for its time while none is active would be replaced, and retire as the one that signs."""
    made = rotate(either)
    assert jwt.decode(sign(either), fetch(either), algorithms=["ES256"]).header["kid"] == made
    assert published(either) == [made]


def test_a_process_notices_a_rotation_within_half_a_minute(house, monkeypatch):
    signer = new_signer(house)
    old = jwt.decode(sign(house, signer), fetch(house), algorithms=["ES256"]).header["kid"]
    new = rotate(house)
    pass_time(house, LEAD)
    kids = []
    for seconds in (0.0, 31.0):
        now = signing.clock.monotonic_seconds() + seconds
        monkeypatch.setattr("email_service.kernel.clock.monotonic_seconds", lambda now=now: now)
        kids.append(jwt.decode(sign(house, signer), fetch(house), algorithms=["ES256"]).header["kid"])
    assert kids == [old, new]


def test_nothing_is_signed_before_a_key_is_there(house):
    """T34"""
    with pytest.raises(AssertionError):
        new_signer(house).sign({})


def test_processes_that_need_the_first_key_at_once_make_one(on_postgres):
    """T25"""
    signers = [new_signer(on_postgres) for _ in range(8)]
    tokens = together([lambda signer=signer: sign(on_postgres, signer) for signer in signers])
    keys = fetch(on_postgres)
    assert len(keys.keys) == 1
    assert all(read(token, keys) for token in tokens)


def test_operators_who_rotate_at_once_leave_one_key_that_does_not_retire(on_postgres):
    sign(on_postgres)
    together([lambda: rotate(on_postgres)] * 4)
    assert len(published(on_postgres)) == 5
    assert len(on_postgres.execute(select(SigningKey.id).where(SigningKey.retired_at.is_(None)))) == 1
    pass_time(on_postgres, LEAD + LONGEST_LIFE + HOUR)
    assert len(published(on_postgres)) == 1
    assert read(sign(on_postgres), fetch(on_postgres))


def test_the_private_half_is_sealed_in_the_database(either):
    """T2"""
    sign(either)
    [(sealed,)] = either.execute(text("SELECT private_key FROM signing_keys"))
    for mark in (b"PRIVATE KEY", b"-----", b"\x30\x81"):
        assert mark not in sealed
    with pytest.raises(SealBrokenError):
        either.intake.sealer.open(bytes(sealed), "signing_keys:another")


def test_a_rotated_secret_key_still_opens_the_signing_key(house, reopen):
    """F16, T34"""
    token = sign(house)
    rotated = reopen(SECRET_KEY="n" * 40, SECRET_KEY_FALLBACKS=house.app.config["SECRET_KEY"])
    assert published(rotated) == published(house)
    assert read(sign(rotated), fetch(house))
    assert read(token, fetch(rotated))
    with pytest.raises(SealBrokenError):
        sign(reopen(SECRET_KEY="n" * 40))


def test_making_a_key_is_audited(house):
    sign(house)
    rotate(house)
    rows = house.execute(select(AuditEvent.actor, AuditEvent.name, AuditEvent.subject).order_by(AuditEvent.id))
    assert [(row.actor, row.name) for row in rows] == [
        ("worker", "signing_key.added"),
        ("operator", "signing_key.added"),
    ]
    assert {row.subject for row in rows} == set(published(house))


@pytest.mark.parametrize(("expose", "status"), [("all", 200), ("public", 200), ("internal", 404)])
def test_the_keys_are_public(reopen, expose, status):
    """T30"""
    assert reopen(EXPOSE=expose).app.test_client().get("/.well-known/jwks.json").status_code == status
