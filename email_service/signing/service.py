"""Sign claims with the present key, rotate keys, tell the public halves. Flushes, never commits; knows no HTTP.

A key is published before it signs and after it has signed, so that no verification fails while keys change.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, sessionmaker

from email_service.audit import service as audit
from email_service.audit.service import WORKER, Actor
from email_service.kernel import clock
from email_service.kernel.crypto import Sealer
from email_service.kernel.orm import database_now
from email_service.signing.models import SigningKey

ALGORITHM = "ES256"
# How long a verifier may keep the published keys. A new key signs nothing for twice as long, and an old one stays for
# longer than the longest life of what it signed.
JWKS_SECONDS = 300
LEAD = timedelta(seconds=2 * JWKS_SECONDS)
LONGEST_LIFE = timedelta(hours=24)
_REMEMBERED_SECONDS = 30.0
_TURN = 0x6B657973  # any number does, as long as nobody else locks it; this one spells "keys"
# By when they were made: with another LEAD, a key could become active later than one that was made after it.
_NEWEST_FIRST = (SigningKey.published_at.desc(), SigningKey.id)


@dataclass(slots=True)
class Signer:
    """Signs with the key that is active, which it remembers for half a minute."""

    sessions: sessionmaker[Session]
    sealer: Sealer
    issuer: str
    _key: ECKey | None = field(default=None, init=False)
    _read_at_seconds: float = field(default=float("-inf"), init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def prepare(self) -> None:
        """Have a key at hand, the first one ever made now if need be; to be called outside of any transaction."""
        with self._lock:
            if clock.monotonic_seconds() - self._read_at_seconds > _REMEMBERED_SECONDS:
                self._key = self._read_key()
                self._read_at_seconds = clock.monotonic_seconds()

    def sign(self, claims: Mapping[str, Any], kind: str = "JWT") -> str:
        """A JWT (RFC 7519) with these claims and our `iss`; `kind` is its `typ`. After `prepare`, asks no database."""
        key = self._key
        if key is None:
            raise AssertionError("Nothing can be signed before a key was prepared.")
        header = {"alg": ALGORITHM, "typ": kind, "kid": key.kid}
        return jwt.encode(header, {**claims, "iss": self.issuer}, key, algorithms=[ALGORITHM])

    def _read_key(self) -> ECKey:
        with self.sessions.begin() as session:
            row = _find_active(session) or _make_first(session, self.sealer)
            return ECKey.import_key(self.sealer.open(row.private_key, _context(row.id)), {"kid": row.id})


def published(session: Session) -> list[dict[str, Any]]:
    """The public halves of every key that may sign, is about to, or has signed something that still lives."""
    still = or_(SigningKey.retired_at.is_(None), SigningKey.retired_at > database_now())
    rows = session.scalars(select(SigningKey).where(still).order_by(*_NEWEST_FIRST))
    return [row.public_key for row in rows]


def everything(session: Session) -> Sequence[SigningKey]:
    """Every key there ever was, the newest first."""
    return session.scalars(select(SigningKey).order_by(*_NEWEST_FIRST)).all()


def database_time(session: Session) -> datetime:
    """The instant by which keys are published, active and retired."""
    now: datetime = session.execute(select(database_now())).scalar_one()
    return now


def rotate(session: Session, sealer: Sealer, actor: Actor) -> SigningKey:
    """A new key, published now and active after LEAD; earlier ones retire when their last signature has expired.

    The first key ever is active at once, for there is no other to sign with meanwhile.
    """
    _take_turn(session)
    lead = LEAD if _find_active(session) else timedelta(0)
    now = database_time(session)
    for row in session.scalars(select(SigningKey).where(SigningKey.retired_at.is_(None)).with_for_update()):
        row.retired_at = now + lead + LONGEST_LIFE
    key = _make(sealer)
    key.published_at, key.active_from = now, now + lead
    session.add(key)
    audit.record(session, actor, "signing_key.added", key.id, active_from=clock.written(key.active_from))
    session.flush()
    return key


def _find_active(session: Session) -> SigningKey | None:
    wanted = select(SigningKey).where(SigningKey.active_from <= database_now())
    return session.scalar(wanted.order_by(*_NEWEST_FIRST).limit(1))


def _make_first(session: Session, sealer: Sealer) -> SigningKey:
    """The first key ever; also when several processes find at the same time that there is none."""
    _take_turn(session)
    return _find_active(session) or rotate(session, sealer, WORKER)


def _take_turn(session: Session) -> None:
    """Wait until nobody else makes a key. SQLite admits one writer at a time anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(_TURN)))


def _make(sealer: Sealer) -> SigningKey:
    key = ECKey.generate_key("P-256", {"use": "sig", "alg": ALGORITHM})
    kid = key.thumbprint()
    return SigningKey(
        id=kid,
        private_key=sealer.seal(key.as_pem(private=True), _context(kid)),
        public_key={**key.as_dict(private=False), "kid": kid},
        retired_at=None,
    )


def _context(kid: str) -> str:
    return f"signing_keys:{kid}"
