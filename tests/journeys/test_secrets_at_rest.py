"""The whole distributed shape, every use of tokens, sessions and keys, and then a search of all that it left behind.

Tables, Redis with its queues and its file, and what every process said: none of it holds a secret or redeems anything.
"""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from secrets import token_hex, token_urlsafe
from typing import Any

import pytest
import requests

from email_service.clients import service as clients
from email_service.kernel.errors import TokenInvalidError, UnauthenticatedError
from email_service.signing.service import Signer
from email_service.tokens.purposes import RULES, Purpose
from tests import sign_ins, token_mail
from tests.applications import SECRET_KEY, opened
from tests.journeys.mailbag import smtp_settings
from tests.journeys.private_servers import PrivatePostgres, PrivateRedis, private_redis
from tests.journeys.processes import House, Web, stop_all, wait_until
from tests.journeys.town import open_database
from tests.remains import candidates, find_leaks
from tests.wire.server import SmtpServer

ADA = "ada@example.com"
ENOUGH = {"LOG_LEVEL": "DEBUG", "PUBLIC_REDEEM_FAILURE_LIMIT": "1000/minute"}
LINKED = [purpose for purpose, rule in RULES.items() if rule.has_link]
pytestmark = pytest.mark.timeout(300)


@dataclass
class Estate:
    """One installation after it was used, what its users and callers were told, and where it keeps things."""

    house: House
    web: Web
    server: SmtpServer
    postgres: PrivatePostgres
    redis: PrivateRedis
    database: str
    secrets: dict[str, str] = field(default_factory=dict)  # by what they are
    said: str = ""  # by commands

    def call(self, path: str, status: int, body: dict[str, Any], key: str = "") -> dict[str, Any]:
        """One POST with the answer that it has to have."""
        headers = {"Idempotency-Key": key} if key else {}
        if path.startswith("/v1/"):
            response = self.web.call("POST", path, json=body, headers=headers)
        else:
            response = requests.post(self.web.url + path, json=body, headers=headers, timeout=35)
        assert response.status_code == status, (path, response.text)
        told: dict[str, Any] = response.json()
        return told

    def keep(self, name: str, told: dict[str, Any]) -> dict[str, Any]:
        """Note every secret of an answer."""
        kinds = ("token", "code", "refresh_token", "access_token", "assertion")
        self.secrets |= {f"{name} {kind}": told[kind] for kind in kinds if told.get(kind)}
        return told

    def next_mail(self, name: str, count: int) -> token_mail.Carried:
        """The newest mail once there are so many, with its secrets noted."""
        wait_until(lambda: len(self.server.messages) >= count, 60)
        mail = token_mail.read(self.server.messages[count - 1].content)
        self.keep(name, {"token": mail.token, "code": mail.code})
        return mail

    def dump_database(self) -> bytes:
        if program := shutil.which("pg_dump"):
            address = f"host=127.0.0.1 port={self.postgres.port} user=postgres dbname={self.database}"
            done = subprocess.run([program, "--dbname", address], capture_output=True, check=False)
            if done.returncode == 0:
                return done.stdout
        with self.postgres.connect(self.database) as connection:
            names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            found = b""
            for (name,) in names:
                with connection.cursor().copy(f'COPY "{name}" TO STDOUT') as rows:
                    found += b"".join(bytes(row) for row in rows)
        return found

    def dump_redis(self) -> bytes:
        """Every key with what it holds, as it is and as Redis writes it to its file."""
        found = b""
        for number in (0, 1):
            with self.redis.client(number) as client:
                for key in client.scan_iter(count=1000):
                    found += key + b"\n" + (client.dump(key) or b"") + b"\n"
                    found += _read_key(client, key)
        with self.redis.client() as client:
            client.config_set("rdbcompression", "no")
            client.save()
        return found + (self.redis.folder / "dump.rdb").read_bytes()

    def dump(self) -> dict[str, bytes]:
        """All that somebody finds who steals the machines' disks, but not the settings."""
        said = self.house.logs() + self.said
        return {"database": self.dump_database(), "redis": self.dump_redis(), "logs": said.encode()}


def _read_key(client: Any, key: bytes) -> bytes:
    """A key's members in the clear, with what is base64 in them opened too: bodies of tasks are."""
    kind = client.type(key)
    if kind == b"list":
        members = client.lrange(key, 0, -1)
    elif kind == b"zset":
        members = client.zrange(key, 0, -1)
    elif kind == b"set":
        members = list(client.smembers(key))
    else:
        members = (
            [part for pair in client.hgetall(key).items() for part in pair] if kind == b"hash" else [client.get(key)]
        )
    bodies = [base64.b64decode(json.loads(each)["body"]) for each in members if b'"body"' in each[:20]]
    return b"\n".join([*members, *bodies, b""])


@pytest.fixture(scope="module")
def estate(own_postgres, tmp_path_factory) -> Iterator[Estate]:
    name = f"estate_{token_hex(4)}"
    api_key = open_database(own_postgres, name)
    # A Redis of its own: the workers of other journeys, which live on, would take what has to stay.
    with SmtpServer() as server, private_redis() as redis:
        brokers = {"REDIS_URL": f"{redis.url}/0", "CELERY_BROKER_URL": f"{redis.url}/1"}
        settings = {"DATABASE_URL": own_postgres.url(name), "SECRET_KEY": SECRET_KEY, **brokers, **ENOUGH}
        with House(tmp_path_factory.mktemp("estate"), {**settings, **smtp_settings(server)}) as house:
            crew = [house.start("worker"), house.start("beat")]
            web = house.serve("--workers", "2")
            web.api_key = api_key
            estate = Estate(house, web, server, own_postgres, redis, name)
            estate.secrets["first API key"] = api_key.split("_", 2)[2]
            use_everything(estate)
            stop_all(crew)
            leave_something_waiting(estate)
            yield estate


def use_everything(estate: Estate) -> None:
    """Each use of a secret, the good ones and the bad ones."""
    body = {"email": ADA, "name": "Ada"}
    assert estate.web.call("PUT", "/v1/accounts/u-1", json=body).ok
    redeem_what_is_mailed(estate)
    redeem_what_is_handed_over(estate)
    use_sessions(estate)
    rotate_keys(estate)


def redeem_what_is_mailed(estate: Estate) -> None:
    consume = "/public/v1/tokens/consume"
    estate.call("/public/v1/tokens", 202, {"purpose": "password_reset", "email": ADA})
    mail = estate.next_mail("asked for", 1)
    shown = {"purpose": "password_reset", "token": mail.token}
    estate.call("/public/v1/tokens/verify", 200, shown)
    estate.call(consume, 400, {**shown, "purpose": "invitation"})
    for _ in range(2):
        estate.keep("redeemed", estate.call(consume, 200, shown, key="redeemed once"))
    estate.call(consume, 400, shown)
    for _ in range(2):
        issued = {"purpose": "magic_link", "subject": "u-1", "context": {"plan": 7}}
        estate.call("/v1/tokens", 201, issued, key="mailed once")
    mail = estate.next_mail("mailed", 2)
    estate.call("/v1/tokens/verify", 200, {"purpose": "magic_link", "token": mail.token})
    wrong = f"{(int(mail.code or 0) + 1) % 10**6:06}"
    by_code = {"purpose": "magic_link", "email": ADA}
    estate.call("/v1/tokens/consume", 400, {**by_code, "code": wrong})
    for _ in range(2):
        estate.call("/v1/tokens/consume", 200, {**by_code, "code": mail.code}, key="consumed once")


def redeem_what_is_handed_over(estate: Estate) -> None:
    for purpose in Purpose:
        body = {"purpose": purpose, "subject": "u-1", "deliver": False}
        first, again = (estate.call("/v1/tokens", 201, body, key=f"over {purpose}") for _ in range(2))
        assert first == again
        estate.keep(f"handed over {purpose}", first)
    code = {"purpose": "login_code", "email": ADA, "code": estate.secrets["handed over login_code code"]}
    estate.keep("by code", estate.call("/public/v1/tokens/consume", 200, code))
    assert estate.web.call("DELETE", "/v1/tokens?subject=u-1&purpose=invitation").json() == {"revoked": 1}


def use_sessions(estate: Estate) -> None:
    refresh = "/public/v1/sessions/refresh"
    pair = estate.keep("session", estate.call("/v1/sessions", 201, {"subject": "u-1", "claims": {"role": "admin"}}))
    for name in ("child", "child again", "grandchild"):
        before = pair["refresh_token"]
        pair = estate.keep(name, estate.call(refresh, 200, {"refresh_token": before}))
    estate.call(refresh, 400, {"refresh_token": estate.secrets["session refresh_token"]})
    other = estate.keep("signed out", estate.call("/v1/sessions", 201, {"subject": "u-1"}))
    estate.call("/public/v1/sessions/revoke", 200, {"refresh_token": other["refresh_token"]})
    estate.keep("live", estate.call("/v1/sessions", 201, {"subject": "u-1"}))


def rotate_keys(estate: Estate) -> None:
    """Keys of clients, which are shown once by a command, and of signatures, which are never shown."""
    made = estate.house.command("client", "create", "other", "--scope", "*", "--json")
    rotated = estate.house.command("client", "rotate", "town", "--json")
    for name, done in (("second API key", made), ("rotated API key", rotated)):
        assert done.returncode == 0, done.stderr
        estate.secrets[name] = json.loads(done.stdout)["api_key"].split("_", 2)[2]
        estate.said += done.stderr
    for words in (("keys", "rotate"), ("keys", "list"), ("client", "list")):
        done = estate.house.command(*words)
        assert done.returncode == 0, done.stderr
        estate.said += done.stdout + done.stderr
    assert (
        estate.web.call(
            "GET", "/v1/templates", headers={"Authorization": "Bearer " + estate.web.api_key + "x"}
        ).status_code
        == 401
    )


def leave_something_waiting(estate: Estate) -> None:
    """Nobody works any more: a message with a token, a public request and their wake-ups stay where they are."""
    body = {"purpose": "email_verification", "subject": "u-1"}
    estate.call("/v1/tokens", 201, body)
    with estate.redis.client(1) as client:

        def is_waiting() -> bool:
            # A wake-up may get lost on a busy machine, and nobody sweeps here.
            estate.call("/v1/tokens", 201, {**body, "deliver": True})
            return client.llen("token") > 0

        estate.call("/public/v1/tokens", 202, {"purpose": "login_code", "email": ADA})
        wait_until(is_waiting, 20, pause_seconds=1)


def test_nothing_that_was_left_behind_holds_a_secret(estate):
    """T2, T27"""
    remains = estate.dump()
    assert len(estate.secrets) > 25
    assert b"u-1" in remains["database"]
    assert b"token" in remains["redis"]
    assert b"request.answered" in remains["logs"]
    assert {name: find_leaks(estate.secrets.values(), found) for name, found in remains.items()} == {
        "database": [],
        "redis": [],
        "logs": [],
    }
    # A signed token would be usable whichever it is.
    assert not [name for name, found in remains.items() if b"eyJ" in found]


def test_nothing_that_was_left_behind_redeems_or_opens_anything(estate):
    """T2: each string of it that could be a token, a code's stand-in or a key is tried."""
    tried = set().union(*(candidates(found) for found in estate.dump().values()))
    assert len(tried) > 100
    with opened(estate.house.settings["DATABASE_URL"]) as house:
        # What was handed over last and never redeemed is good, so that the tries below could succeed.
        good = estate.secrets["handed over password_reset token"]
        assert token_mail.look(house, Purpose.PASSWORD_RESET, good).subject == "u-1"
        house.parts.get(Signer).prepare()
        public_ids = [row[0] for row in house.execute("SELECT public_id FROM api_keys")]
        for attempt in tried:
            for purpose in LINKED:
                with pytest.raises(TokenInvalidError):
                    token_mail.look(house, purpose, attempt)
            with pytest.raises(TokenInvalidError):
                sign_ins.refresh(house, attempt)
            for public_id in public_ids if len(attempt) == 43 else ():
                with house.sessions() as session, pytest.raises(UnauthenticatedError):
                    clients.authenticate(session, f"esk_{public_id}_{attempt}")
        assert sign_ins.refresh(house, estate.secrets["live refresh_token"]).refresh_token


@pytest.mark.parametrize("place", ["database", "redis", "logs"])
@pytest.mark.parametrize("spelling", ["plain", "hex", "base64", "octets", "code"])
def test_the_search_finds_what_is_planted(estate, place, spelling):
    """The two tests above would show nothing if it did not."""
    token, code = token_urlsafe(32), "739105"
    octets = base64.urlsafe_b64decode(token + "=")
    written = {"plain": token, "base64": base64.b64encode(token.encode()).decode(), "code": code}
    planted = f"a {written.get(spelling, octets.hex())} b"
    if place == "database":
        with estate.postgres.connect(estate.database) as connection:
            row = "INSERT INTO audit_events (id, name, actor, subject, data, occurred_at)"
            values = "VALUES (gen_random_uuid(), 'planted', 'test', 'u-1', jsonb_build_object('a', %s::text), now())"
            connection.execute(f"{row} {values}", [planted])
    elif place == "redis":
        with estate.redis.client(1) as client:
            client.rpush("planted", octets if spelling == "octets" else planted)
    else:
        estate.said += planted
    secret = code if spelling == "code" else token
    try:
        assert find_leaks([secret], estate.dump()[place]) == [secret]
        # Octets amid others could be anything; where a database or a log has them, they are written as hexadecimal.
        assert spelling in {"code", "octets"} or token in candidates(estate.dump()[place])
    finally:
        estate.said = estate.said.replace(planted, "")
        with estate.redis.client(1) as client, estate.postgres.connect(estate.database) as connection:
            client.delete("planted")
            connection.execute("DELETE FROM audit_events WHERE name = 'planted'")
