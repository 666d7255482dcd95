"""Every key changes while callers go on: the secret key in two steps, a client's key, the signing key. Nobody notices.

The two steps are those of a rolling change: at first all processes come to know the new key, then they use it.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import select

from email_service.audit.service import OPERATOR
from email_service.clients import service as clients
from email_service.messages.service import Intake
from email_service.signing import service as signing
from email_service.tokens.models import Token
from tests.applications import SECRET_KEY, Api, House, opened
from tests.scripted_transport import ACCEPTED, Scripted
from tests.strangers import put_account
from tests.token_mail import read

NEW_KEY = "another-key-for-tests-of-more-than-32-characters"
ROUNDS_OF_A_STEP = 3
CALLERS = 3
PATIENCE_SECONDS = 60


@dataclass
class Load:
    """Callers that issue at one process and redeem at the next, whichever there are at the moment."""

    serving: list[House]
    key: str
    rounds: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def run(self, number: int) -> None:
        turns, before = cycle(range(60)), self.begin(number, 1)
        while not self.is_over.is_set():
            turn = next(turns)
            after = self.begin(number, turn)
            self.finish(before, turn + 1)
            before = after
            self.rounds[number] += 1
        self.finish(before, 0)

    def call(self, turn: int, method: str, path: str, **body: object) -> dict:
        serving = self.serving
        answer = Api(serving[turn % len(serving)], self.key).request(method, path, json=body)
        if not answer.status_code < 300:
            self.failures.append(f"{path} {answer.status_code} {answer.text}")
        return answer.json

    def begin(self, number: int, turn: int) -> dict:
        """Something of each kind, made now, for another subject than that of the round before."""
        subject = f"u-{number}-{turn % 2}"
        asked = {"subject": subject, "email": f"{subject}@example.com", "deliver": False}
        link = self.call(turn, "POST", "/v1/tokens", purpose="invitation", **asked)
        code = self.call(turn, "POST", "/v1/tokens", purpose="login_code", **asked)
        session = self.call(turn, "POST", "/v1/sessions", subject=subject)
        return {"link": link, "code": code, "session": session, "email": asked["email"]}

    def finish(self, made: dict, turn: int) -> None:
        """What was made a round ago, perhaps under another key, is good."""
        consume = "/v1/tokens/consume"
        self.call(turn, "POST", consume, purpose="login_code", email=made["email"], code=made["code"].get("code", ""))
        self.call(turn, "POST", consume, purpose="invitation", token=made["link"].get("token", ""))
        refresh = "/public/v1/sessions/refresh"
        self.call(turn, "POST", refresh, refresh_token=made["session"].get("refresh_token", ""))
        keys = KeySet.import_key_set(self.call(turn, "GET", "/.well-known/jwks.json"))
        assert jwt.decode(made["session"]["access_token"], keys, algorithms=["ES256"])

    def wait_a_step(self) -> None:
        """Until every caller went round so many times more."""
        goal = {number: self.rounds[number] + ROUNDS_OF_A_STEP for number in range(CALLERS)}
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while not self.failures and any(self.rounds[number] < goal[number] for number in goal):
            assert time.monotonic() < ends_at, self.rounds
            time.sleep(0.02)


@pytest.fixture
def process(on_postgres) -> Callable[..., House]:
    """A process on the same database, with these keys."""
    url = str(on_postgres.app.config["SQLALCHEMY_DATABASE_URI"])
    with ExitStack() as stack:

        def start(key: str, *fallbacks: str) -> House:
            known = {"SECRET_KEY_FALLBACKS": ",".join(fallbacks)} if fallbacks else {}
            limits = {"PUBLIC_RATE_LIMIT": "1000000/minute", "API_RATE_LIMIT": "1000000/minute"}
            return stack.enter_context(opened(url, **{"SECRET_KEY": key, **known, **limits}))

        yield start


@pytest.mark.timeout(300)  # a busy machine takes its time for so many calls
def test_all_keys_change_under_load_and_no_call_fails(on_postgres, process):
    """F16: what was made under the old keys is good until it ends, and new things are made under the new ones."""
    for subject in [f"u-{number}-{turn}" for number in range(CALLERS) for turn in range(2)]:
        put_account(on_postgres, f"{subject}@example.com", subject)
    old, knowing, new = process(SECRET_KEY), process(SECRET_KEY, NEW_KEY), process(NEW_KEY, SECRET_KEY)
    load = Load([old], old.add_client("shop"))
    waiting = load.call(0, "POST", "/v1/tokens", purpose="magic_link", subject="u-0-0")
    threads = [threading.Thread(target=load.run, args=[number]) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        for serving in ([old, knowing], [knowing], [knowing, new], [new]):
            load.serving = serving
            load.wait_a_step()
        with new.sessions.begin() as session:
            load.key = clients.rotate(session, "shop")
        with new.sessions.begin() as session:
            signing.rotate(session, new.parts.get(Intake).sealer, OPERATOR)
        load.wait_a_step()
    finally:
        load.is_over.set()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
    assert load.failures == []
    assert min(load.rounds.values()) >= 5 * ROUNDS_OF_A_STEP
    transport = Scripted([ACCEPTED])
    new.deliver(transport)
    [mail] = [read(parcel.content) for parcel in transport.parcels]
    assert waiting["purpose"] == "magic_link"
    load.call(0, "POST", "/v1/tokens/consume", purpose="magic_link", token=mail.token)
    assert load.failures == []
    fingerprints = {
        nonce[:4] for (nonce,) in on_postgres.execute(select(Token.nonce).order_by(Token.id.desc()).limit(3))
    }
    first = {nonce[:4] for (nonce,) in on_postgres.execute(select(Token.nonce).order_by(Token.id).limit(3))}
    assert not fingerprints & first
