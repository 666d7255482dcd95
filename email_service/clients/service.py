"""Create clients, give and take their keys, and tell whose key it is. Flushes, never commits."""

import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Uuid,
    and_,
    bindparam,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from email_service.clients.models import PUBLIC_CLIENT_ID, ApiKey, Client
from email_service.kernel import clock, crypto
from email_service.kernel.errors import ConflictError, InvalidInputError, NotFoundError, UnauthenticatedError
from email_service.kernel.orm import TZDateTime, table_of
from email_service.kernel.rows import ask
from email_service.settings import values

SCOPES = (
    "messages:send",
    "messages:read",
    "templates:read",
    "suppressions:read",
    "suppressions:write",
    "accounts:write",
    "tokens:issue",
    "tokens:verify",
    "sessions:issue",
    "audit:read",
)
ROTATION_OVERLAP = timedelta(hours=24)

_KEY_FORM = re.compile(r"esk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
# `last_used_at` is for people; writing it on every call would make each call a write on one hot row.
LAST_USED_PRECISION = timedelta(minutes=1)
_RATE_LIMIT_LENGTH = 100
_KEYS, _CLIENTS = table_of(ApiKey), table_of(Client)
_KEY = (
    select(
        ApiKey.id,
        ApiKey.client_id,
        ApiKey.secret_hash,
        ApiKey.expires_at,
        ApiKey.last_used_at,
        func.coalesce(ApiKey.revoked_at, Client.revoked_at).label("revoked_at"),
        Client.name,
        Client.scopes,
        Client.rate_limit,
    )
    .join(Client, Client.id == ApiKey.client_id)
    .where(ApiKey.public_id == bindparam("public_id"))
)
_NO_SUCH_KEY_HASH = crypto.hash_secret("no key has this secret")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, detached from the database."""

    key_id: UUID
    client_id: UUID
    name: str
    scopes: frozenset[str]
    rate_limit: str | None

    def may(self, scope: str) -> bool:
        """Whether the scope is held, by name, by its family (`messages:*`) or by `*`."""
        family = scope.split(":", maxsplit=1)[0]
        return not self.scopes.isdisjoint({scope, f"{family}:*", "*"})


def create(session: Session, name: str, scopes: Sequence[str], rate_limit: str | None = None) -> tuple[Client, str]:
    """A new client and its first API key, which is shown this once and kept only as a hash.

    `rate_limit`, such as 100/second, replaces API_RATE_LIMIT for this client.
    """
    _check_name(name)
    _check_scopes(scopes)
    if rate_limit is not None:
        rate_limit = _checked_rate_limit(rate_limit)
    if session.scalar(select(Client.id).where(Client.name == name)):
        raise ConflictError(
            f"A client named {name} exists already; choose another name, or `client rotate {name}` for a new key."
        )
    client = Client(name=name, scopes=list(dict.fromkeys(scopes)), rate_limit=rate_limit, created_at=clock.now())
    session.add(client)
    session.flush()
    return client, _add_key(session, client)


def rotate(session: Session, name: str, overlap: timedelta = ROTATION_OVERLAP) -> str:
    """A new key for the client; its present keys work for `overlap` longer."""
    client = get(session, name)
    if client.id == PUBLIC_CLIENT_ID:
        raise ConflictError(f"The client {name} stands for strangers, and has no key.")
    if client.revoked_at:
        raise ConflictError(f"The client {name} is revoked; create a new one.")
    ends_at = clock.now() + overlap
    for key in client.keys:
        if key.revoked_at is None and (key.expires_at is None or key.expires_at > ends_at):
            key.expires_at = ends_at
    return _add_key(session, client)


def revoke(session: Session, name: str) -> None:
    """Close the client's keys at once, and for good."""
    client = get(session, name)
    client.revoked_at = client.revoked_at or clock.now()


def get(session: Session, name: str) -> Client:
    """The client of this name; NotFoundError when there is none."""
    client = session.scalar(select(Client).where(Client.name == name))
    if client is None:
        raise NotFoundError(f"There is no client named {name}; `email-service client list` shows those that exist.")
    return client


def everyone(session: Session) -> Iterable[Client]:
    """All clients that people made, by name."""
    return session.scalars(select(Client).where(Client.id != PUBLIC_CLIENT_ID).order_by(Client.name))


def authenticate(session: Session, presented: str) -> Caller:
    """The caller who holds this key; UnauthenticatedError, the same for every reason, when nobody does.

    An unknown public id costs the same hash and comparison as a wrong secret.
    """
    form = _KEY_FORM.fullmatch(presented)
    public_id, secret = form.groups() if form else ("", "")
    key = session.execute(_KEY, {"public_id": public_id}).one_or_none()
    is_right = crypto.matches(secret, key.secret_hash if key else _NO_SUCH_KEY_HASH)
    now = clock.now()
    if key is None or not is_right or key.revoked_at or (key.expires_at is not None and key.expires_at <= now):
        raise UnauthenticatedError
    if key.last_used_at is None or key.last_used_at < now - LAST_USED_PRECISION:
        statement = update(ApiKey).where(ApiKey.id == key.id).values(last_used_at=now)
        session.execute(statement, execution_options={"synchronize_session": False})
    return Caller(key.id, key.client_id, key.name, frozenset(key.scopes), key.rate_limit)


def is_live(connection: Connection, key_id: UUID) -> bool:
    """Whether the key, whose secret was compared before, still opens anything."""
    return ask(connection, _LIVE, {"key_id": key_id, "live_at": clock.now()}) is not None


def live_keys() -> FromClause:
    """Keys and their clients, for a statement that asks more than whether a key is live; see `still_live`."""
    return _KEYS.join(_CLIENTS, _CLIENTS.c.id == _KEYS.c.client_id)


def still_live(now: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """What holds of a key of `live_keys` that opens something at this time."""
    is_in_time = or_(_KEYS.c.expires_at.is_(None), _KEYS.c.expires_at > now)
    return and_(_KEYS.c.revoked_at.is_(None), _CLIENTS.c.revoked_at.is_(None), is_in_time)


def is_open_to(key_id: BindParameter[UUID], now: BindParameter[datetime]) -> ColumnElement[bool]:
    """For a statement that does what only a live key may: whether this one is live. True when the key is NULL."""
    return or_(key_id.is_(None), _live(key_id, now).exists())


def _live(key_id: BindParameter[UUID], now: BindParameter[datetime]) -> Select[tuple[UUID]]:
    return select(_KEYS.c.id).select_from(live_keys()).where(_KEYS.c.id == key_id, still_live(now))


_LIVE = _live(bindparam("key_id", type_=Uuid), bindparam("live_at", type_=TZDateTime))


def _add_key(session: Session, client: Client) -> str:
    public_id, secret = secrets.token_hex(6), crypto.random_token()
    session.add(
        ApiKey(
            client_id=client.id,
            public_id=public_id,
            secret_hash=crypto.hash_secret(secret),
            created_at=clock.now(),
        )
    )
    session.flush()
    return f"esk_{public_id}_{secret}"


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}", name):
        raise InvalidInputError.at(
            "/name", "A client's name is 1 to 100 letters, digits, spaces, dots, dashes or underscores."
        )


def _checked_rate_limit(text: str) -> str:
    try:
        rate_limit = values.rate_limit(text)
    except ValueError as error:
        raise InvalidInputError.at("/rate_limit", f"The rate limit cannot be read: {error}") from None
    if len(rate_limit) > _RATE_LIMIT_LENGTH:
        raise InvalidInputError.at("/rate_limit", f"A rate limit has at most {_RATE_LIMIT_LENGTH} characters.")
    return rate_limit


def _check_scopes(scopes: Sequence[str]) -> None:
    families = {f"{scope.split(':')[0]}:*" for scope in SCOPES}
    known = {*SCOPES, *families, "*"}
    unknown = [scope for scope in scopes if scope not in known]
    if unknown or not scopes:
        raise InvalidInputError.at(
            "/scopes", f"{', '.join(unknown) or 'No scope'} is not a scope; known are {', '.join(sorted(known))}."
        )
