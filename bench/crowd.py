"""Fills a database with as many messages as wanted, in PostgreSQL itself: 50 clients, most of it sent, half a year old.

What is searched for has the same number of hits at every size, so that only the table around it grows.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import figures
from sqlalchemy import Connection

from email_service.kernel import orm

CLIENTS = 50
FAILED = 55  # messages of each client that failed: a full page, and the sign that there are more
WAITING = 100  # messages of each client that are due
RARE = 20  # messages of each client with the tag `rare`, to the regular reader, of the rare template
_CHUNK = 200_000
_TABLES = ("messages", "message_tags", "message_events", "delivery_attempts", "message_contents")
_HALF_A_YEAR, _HOUR = 15_552_000_000, 3_600_000  # milliseconds
# A function, so that every statement makes the same id (UUIDv7, RFC 9562) of the same row.
MADE_ID = """
CREATE FUNCTION pg_temp.made_id(ms bigint, seed text) RETURNS uuid IMMUTABLE LANGUAGE sql AS $$
  SELECT (lpad(to_hex(ms), 12, '0') || '7' || substr(md5(seed), 1, 3) || '8' || substr(md5(seed), 4, 15))::uuid
$$
"""
_CLIENTS = f"""
INSERT INTO clients (id, name, scopes, created_at)
SELECT pg_temp.made_id(1700000000000 + n, 'c' || n), 'client-' || n, '["*"]', now() FROM generate_series(1, {CLIENTS}) n
"""
# Row n is one of its client's `each`; the times go from 180 days ago to one hour ago.
_NUMBERS = """
CREATE TEMPORARY TABLE numbers AS
SELECT n, nth, ms, pg_temp.made_id(ms, 'm' || n) AS id, to_timestamp(ms / 1000.0) AS at,
  nth % greatest({each} / {failed}, 1) = 0 AND nth / greatest({each} / {failed}, 1) < {failed} AS is_failed,
  (nth + 1) % greatest({each} / {rare}, 1) = 0 AND nth / greatest({each} / {rare}, 1) < {rare} AS is_rare,
  (SELECT array_agg(id ORDER BY id) FROM clients WHERE name LIKE 'client-%')[n % {clients} + 1] AS client_id
FROM (SELECT n, n / {clients} AS nth, {begin} + n * {span} / {size} AS ms
      FROM generate_series({first}::bigint, {last}) AS n) AS counted
"""
_MESSAGES = """
INSERT INTO messages (id, client_id, template, template_version, lane, status, recipient_email, recipient_name, cc, bcc,
  headers, is_sensitive, is_forced, tags, metadata, client_reference, message_id_header, created_at, finished_at,
  round_began_at, attempt_count, uncertain_count, lost_lease_count)
SELECT id, client_id, CASE WHEN is_rare THEN 'invitation' ELSE 'welcome' END, repeat('a', 64),
  CASE n % 10 WHEN 0 THEN 'token' WHEN 1 THEN 'bulk' ELSE 'transactional' END,
  CASE WHEN is_failed THEN 'failed' WHEN n % 100 = 7 THEN 'bounced' WHEN n % 10 = 3 THEN 'delivered' ELSE 'sent' END,
  CASE WHEN is_rare THEN 'regular@example.com'
       ELSE 'reader-' || substr(md5((n % greatest({size} / 3, 1))::text), 1, 12) || '@example.com' END,
  'A Reader', '[]', '[]', '{{}}', n % 10 = 0, false,
  CASE WHEN is_rare THEN '["signup", "rare"]'::jsonb WHEN nth % 2 = 0 THEN '["signup"]'::jsonb ELSE '[]'::jsonb END,
  jsonb_build_object('order', n::text), CASE WHEN nth % 4 = 0 THEN 'order-' || nth END,
  '<' || id || '@example.com>', at, at + interval '2 seconds', at, 0, 0, 0 FROM numbers
"""
_ACCEPTED = """
INSERT INTO message_events (id, message_id, name, occurred_at, data)
SELECT pg_temp.made_id(ms, 'a' || n), id, 'message.accepted', at, '{{"template_version": "aaaaaaaa"}}' FROM numbers
"""
_SENT = """
INSERT INTO message_events (id, message_id, name, occurred_at, data)
SELECT pg_temp.made_id(ms + 2000, 's' || n), id, 'message.sent', at + interval '2 seconds',
  '{{"code": 250, "phase": "final", "reply": "2.0.0 Ok", "reason": "accepted_by_server"}}' FROM numbers
"""
_ATTEMPTS = """
INSERT INTO delivery_attempts (id, message_id, transport, started_at, finished_at, outcome, phase, code, reply, refused)
SELECT pg_temp.made_id(ms + 2000, 't' || n), id, 'smtp', at, at + interval '2 seconds', 'accepted', 'final', 250,
  '2.0.0 Ok: queued as ' || upper(substr(md5(n::text), 1, 11)), '{{}}' FROM numbers
"""
_TAGS = """
INSERT INTO message_tags (message_id, tag, client_id)
SELECT id, 'signup', client_id FROM numbers WHERE is_rare OR nth % 2 = 0
UNION ALL SELECT id, 'rare', client_id FROM numbers WHERE is_rare
"""
# The newest twenty-fifth, seven of 180 days, has not lost its content yet.
_CONTENTS = """
INSERT INTO message_contents (message_id, variables)
SELECT id, decode(repeat(md5(n::text), 12), 'hex') FROM numbers WHERE n > {size} - {size} / 25
"""
_STEPS = (_NUMBERS, _MESSAGES, _TAGS, _ACCEPTED, _SENT, _ATTEMPTS, _CONTENTS, "DROP TABLE numbers")


def build(database_url: str, size: int) -> None:
    """Add the clients and their messages, then vacuum and analyze, as autovacuum would have done long ago."""
    engine = orm.open_engine(database_url)
    with orm.autocommitting(engine).connect() as connection:
        # The rows are right by construction, so neither foreign keys nor indexes are kept while they come in.
        settings = ("synchronous_commit = off", "maintenance_work_mem = '512MB'", "session_replication_role = replica")
        for setting in (*settings, "jit = off"):
            connection.exec_driver_sql(f"SET {setting}")
        connection.exec_driver_sql(MADE_ID)
        connection.exec_driver_sql(_CLIENTS)
        with _without_indexes(connection, size):
            _add_rows(connection, size)
        figures.tell(f"{size} messages: vacuum and analyze")
        connection.exec_driver_sql("VACUUM (ANALYZE)")
    engine.dispose()
    figures.clear()


def _add_rows(connection: Connection, size: int) -> None:
    begun_at, begin = time.monotonic(), int(time.time() * 1000) - _HALF_A_YEAR
    kept = {"size": size, "each": size // CLIENTS, "clients": CLIENTS, "failed": FAILED, "rare": RARE}
    for first in range(0, size, _CHUNK):
        last = min(first + _CHUNK, size) - 1
        for step in _STEPS:
            spread = {"first": first, "last": last, "begin": begin, "span": _HALF_A_YEAR - _HOUR}
            connection.exec_driver_sql(step.format(**kept, **spread).replace("%", "%%"))
        figures.tell(f"{last + 1} of {size} messages with events and attempts, {time.monotonic() - begun_at:.0f} s")


@contextmanager
def _without_indexes(connection: Connection, size: int) -> Iterator[None]:
    """Drops all but the primary keys, and makes them again at the end: sorting is much faster than inserting."""
    names = ", ".join(f"'{name}'" for name in _TABLES)
    statement = f"SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ({names}) AND indexname !~ '^pk_'"
    found = connection.exec_driver_sql(statement).all()
    for name, _ in found:
        connection.exec_driver_sql(f"DROP INDEX {name}")
    yield
    for name, definition in found:
        figures.tell(f"{size} messages: {name}")
        connection.exec_driver_sql(definition)
