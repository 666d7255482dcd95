"""Fills a database with tokens, with sessions and with the references' rows, in PostgreSQL itself.

The nth token of a kind is a text that both sides can make, and only its hash is stored, as the service stores it.
"""

import time

import crowd
import figures

from email_service.clients.models import PUBLIC_CLIENT_ID
from email_service.kernel import orm

PURPOSE = "password_reset"
LIVE_EVERY = 20  # in a large table, of which most was redeemed long ago
_CHUNK = 200_000
_CHARACTERS = 43  # of every token of the service
_KEPT_OCTETS = "decode(md5({of}) || md5('a' || {of}) || '00000000', 'hex')"  # 36, as a nonce has

# What stands for a token in the references: what one conditional statement needs, and nothing else.
REFERENCES = (
    """
CREATE TABLE bench_tokens (
    id uuid PRIMARY KEY, token_hash bytea NOT NULL UNIQUE, subject varchar(255) NOT NULL,
    expires_at timestamptz NOT NULL, used_at timestamptz
)""",
    """
CREATE TABLE bench_wishes (
    id uuid PRIMARY KEY, purpose varchar(30) NOT NULL, email varchar(320) NOT NULL, asked_at timestamptz NOT NULL
)""",
)
_TOKENS = f"""
INSERT INTO tokens (id, purpose, subject, email, email_key, nonce, token_hash, code_try_count, context, client_id,
  issued_at, expires_at, consumed_at)
SELECT pg_temp.made_id({{ms}} + n, '{{kind}}' || n), '{PURPOSE}', '{{kind}}-' || n, '{{kind}}-' || n || '@example.com',
  '{{kind}}-' || n || '@example.com', {_KEPT_OCTETS.format(of="'{kind}' || n")}, {{hash}}, 0, '{{{{"plan": "free"}}}}',
  '{PUBLIC_CLIENT_ID}', now(), now() + interval '1 day', CASE WHEN n % {{live_every}} <> 0 THEN now() END
FROM generate_series({{first}}::bigint, {{last}}) AS n
"""
_PLAIN_TOKENS = """
INSERT INTO bench_tokens (id, token_hash, subject, expires_at)
SELECT pg_temp.made_id({ms} + n, '{kind}' || n), {hash}, '{kind}-' || n, now() + interval '1 day'
FROM generate_series({first}::bigint, {last}) AS n
"""
_SESSIONS = f"""
INSERT INTO sessions (id, subject, client_id, claims, created_at, last_used_at, idle_expires_at, expires_at)
SELECT pg_temp.made_id({{ms}} + n, '{{kind}}' || n), '{{kind}}-' || n, '{PUBLIC_CLIENT_ID}', '{{{{"role": "reader"}}}}',
  now(), now(), now() + interval '7 days', now() + interval '30 days'
FROM generate_series({{first}}::bigint, {{last}}) AS n
"""
_REFRESH_TOKENS = f"""
INSERT INTO refresh_tokens (id, session_id, nonce, token_hash, issued_at)
SELECT pg_temp.made_id({{ms}} + n, 't{{kind}}' || n), pg_temp.made_id({{ms}} + n, '{{kind}}' || n),
  {_KEPT_OCTETS.format(of="'{kind}' || n")}, {{hash}}, now()
FROM generate_series({{first}}::bigint, {{last}}) AS n
"""
_ACCOUNTS = """
INSERT INTO accounts (subject, email, email_key, name, email_verified, is_disabled, created_at, updated_at)
SELECT '{kind}-' || n, '{kind}-' || n || '@example.com', '{kind}-' || n || '@example.com', 'A Reader', true, false,
  now(), now()
FROM generate_series({first}::bigint, {last}) AS n WHERE n % {live_every} = 0
"""
TOKENS, PLAIN_TOKENS, SESSIONS, ACCOUNTS = (
    (_TOKENS,),
    (_PLAIN_TOKENS,),
    (_ACCOUNTS, _SESSIONS, _REFRESH_TOKENS),
    (_ACCOUNTS,),
)


def token(kind: str, number: int) -> str:
    """The token whose hash the row of this number holds."""
    return f"{kind}-{number}".rjust(_CHARACTERS, "x")


def address(kind: str, number: int) -> str:
    """The address of the account of this number."""
    return f"{kind}-{number}@example.com"


def fill(database_url: str, steps: tuple[str, ...], kind: str, count: int, live_every: int = 1) -> None:
    """Add `count` rows, numbered from 0, of which one in `live_every` can be used; then vacuum and analyze."""
    engine, begun_at = orm.open_engine(database_url), time.monotonic()
    hashed = f"sha256(convert_to(lpad('{kind}-' || n, {_CHARACTERS}, 'x'), 'UTF8'))"
    known = {"kind": kind, "hash": hashed, "live_every": live_every, "ms": int(time.time() * 1000) - count}
    with orm.autocommitting(engine).connect() as connection:
        connection.exec_driver_sql("SET synchronous_commit = off")
        connection.exec_driver_sql(crowd.MADE_ID)
        for first in range(0, count, _CHUNK):
            last = min(first + _CHUNK, count) - 1
            for step in steps:
                connection.exec_driver_sql(step.format(**known, first=first, last=last).replace("%", "%%"))
            figures.tell(f"{last + 1} of {count} rows for {kind}, {time.monotonic() - begun_at:.0f} s")
        connection.exec_driver_sql("VACUUM (ANALYZE)")
    engine.dispose()
    figures.clear()
