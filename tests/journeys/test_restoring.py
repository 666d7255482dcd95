"""A backup of PostgreSQL put into a new database, and the service started on it: what waited is sent, what was issued
is good. The commands are those of `docs/operations.md`; `test_pages.py` runs the page itself."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests import token_mail
from tests.applications import SECRET_KEY, Api, migrate, opened
from tests.journeys.mailbag import smtp_settings
from tests.journeys.private_servers import PrivatePostgres
from tests.journeys.processes import House, Web, wait_until
from tests.strangers import put_account

NEW_KEY = "another-key-for-tests-of-more-than-32-characters"
CONSUME, REFRESH = "/v1/tokens/consume", "/public/v1/sessions/refresh"


@pytest.fixture
def in_use(own_postgres) -> dict:
    """What a database held when it was dumped: a message and a link that wait, and what callers were given."""
    name = f"in_use_{token_hex(4)}"
    own_postgres.create_database(name)
    with opened(own_postgres.url(name)) as house:
        migrate(house)
        put_account(house, "ada@example.com", "u-1")
        api = Api(house, house.add_client("shop"))

        def call(path: str, **body: object) -> dict:
            answer = api.post(path, json=body)
            assert answer.status_code < 300, answer.text
            return answer.json

        return {
            "database": name,
            "key": api.key,
            "message": api.send().json,
            "mailed": call("/v1/tokens", purpose="password_reset", subject="u-1"),
            "handed over": call("/v1/tokens", purpose="invitation", subject="u-1", deliver=False)["token"],
            "session": call("/v1/sessions", subject="u-1"),
        }


@pytest.fixture
def restored(own_postgres, in_use) -> str:
    """The URL of another database that was made from the dump of the first, as the page says."""
    name = f"restored_{token_hex(4)}"
    own_postgres.create_database(name)
    dump = run(own_postgres, "pg_dump", "--format=custom", in_use["database"])
    run(own_postgres, "pg_restore", f"--dbname={name}", "--exit-on-error", given=dump)
    return own_postgres.url(name)


def run(postgres: PrivatePostgres, program: str, *options: str, given: bytes | None = None) -> bytes:
    """One of PostgreSQL's programs, which lie beside the server; what it printed."""
    where = ["--host=127.0.0.1", f"--port={postgres.port}", "--username=email_service"]
    done = subprocess.run(
        [str(Path(postgres.command[0]).with_name(program)), *where, *options],
        input=given,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize(
    "keys",
    [{"SECRET_KEY": SECRET_KEY}, {"SECRET_KEY": NEW_KEY, "SECRET_KEY_FALLBACKS": SECRET_KEY}],
    ids=["same-key", "old-key-among-the-fallbacks"],
)
def test_a_restored_database_sends_what_waited_and_knows_what_was_issued(house, serve_mail, in_use, restored, keys):
    """F16: also when the secret key was changed since."""
    server = serve_mail()
    installation = house(DATABASE_URL=restored, **keys, **smtp_settings(server))
    look_first(installation, in_use)
    assert server.messages == []
    web = installation.serve()
    web.api_key = in_use["key"]
    web.wait_for(in_use["message"], "sent")
    wait_until(lambda: len(server.messages) == 2)
    mails = [token_mail.read(received.content) for received in server.messages]
    [link] = [mail.token for mail in mails if mail.token]
    call = calls(web)
    for purpose, token in (("password_reset", link), ("invitation", in_use["handed over"])):
        redeemed = call(CONSUME, purpose=purpose, token=token)
        assert redeemed["subject"] == "u-1"
    session = in_use["session"]
    published = KeySet.import_key_set(web.get("/.well-known/jwks.json"))
    for pair in (session, call(REFRESH, refresh_token=session["refresh_token"])):
        assert jwt.decode(pair["access_token"], published, algorithms=["ES256"]).claims["sub"] == "u-1"


def look_first(installation: House, in_use: dict) -> None:
    """Nothing leaves while MAIL_ENABLED=false is set, and what waits goes on waiting."""
    web = installation.serve(MAIL_ENABLED="false")
    web.api_key = in_use["key"]
    assert web.get(f"/v1/messages/{in_use['message']['id']}")["status"] == "queued"
    assert web.process.terminate() == 0


def test_without_its_secret_key_what_waits_is_kept_until_the_key_is_back(house, serve_mail, in_use, restored):
    """F16: a dump alone holds no mail that could be read."""
    server = serve_mail()
    installation = house(DATABASE_URL=restored, **smtp_settings(server))
    web = installation.serve(SECRET_KEY=NEW_KEY)
    web.api_key = in_use["key"]
    web.wait_for(in_use["message"], "deferred")
    assert "delivery.crashed" in web.process.log()
    assert web.process.terminate() == 0
    assert server.messages == []
    web = installation.serve(SECRET_KEY=SECRET_KEY)
    web.api_key = in_use["key"]
    web.wait_for(in_use["message"], "sent")
    wait_until(lambda: len(server.messages) == 2)


def calls(web: Web) -> Callable[..., dict]:
    def call(path: str, **body: object) -> dict:
        answer = web.call("POST", path, json=body)
        assert answer.status_code == 200, answer.text
        told: dict = answer.json()
        return told

    return call
