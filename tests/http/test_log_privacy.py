"""What the logs of a whole flow hold, good calls and bad: no key, no address, no variable."""

from collections.abc import Callable

import pytest

from email_service.delivery.transport import Outcome, Parcel, Phase, Report, nothing_upcoming
from tests.applications import RESET, WELCOME, Api
from tests.log_capture import captured_logs, parsed
from tests.scripted_transport import ACCEPTED, Scripted
from tests.strangers import Stranger, answer_requests, put_account

TOKEN = "Zk3vX1mQ8rT5yB7nL2wC9dF4gH6jK0pSaUeIoYtRqWx"
NAME = "Wq7-a-readers-name"
SECRETS = (TOKEN, NAME, "ada@example.com", "eve@example.org", "copy@example.net")


class Talkative:
    """A transport whose server repeats the address in its refusal, as servers do; then it breaks."""

    name = "talkative"
    was_asked = False

    def send(self, *, parcel: Parcel, upcoming: Callable[[], Parcel | None] = nothing_upcoming) -> Report:
        if self.was_asked:
            raise RuntimeError(f"cannot mail {parcel.recipient}")
        self.was_asked = True
        reply = f"<{parcel.recipient}> is not wanted here"
        return Report(outcome=Outcome.REFUSED, phase=Phase.RCPT, code=550, enhanced_code="5.7.1", reply=reply)

    def close(self) -> None:
        """Nothing is open."""


def walk_through(api: Api) -> set[int]:
    """Each kind of answer once, with something to hide in each place where a caller can put it."""
    variables = {**RESET["variables"], "name": NAME}
    reset = {**RESET, "variables": variables}
    answers = [
        api.post("/v1/messages", json={**reset, "cc": ["copy@example.net"]}, headers={"Idempotency-Key": "k"}),
        api.post("/v1/messages", json={**reset, "to": {"email": "eve@example.org", "name": NAME}}),
        api.post("/v1/messages", json=reset, headers={"Idempotency-Key": "k"}),
        api.post("/v1/messages", json={**reset, "variables": {"action_url": f"no url {TOKEN}", "name": 7}}),
        api.post("/v1/messages", json={**reset, "to": "ada@example.com,eve@example.org"}),
        api.post("/v1/templates/password-reset/render", json={"variables": variables}),
        api.raw(b'{"to": "ada@example.com", "x": ' + TOKEN.encode()),
        api.get("/v1/messages", query_string={"recipient": "ada@example.com"}),
        api.get(f"/v1/messages/{TOKEN}"),
        api.get(f"/{api.key}/ada@example.com/\r\nforged"),
        api.get("/v1/templates", headers={"Authorization": f"Bearer {api.key}x"}),
        api.get("/v1/templates", headers={"X-Request-ID": api.key + "\t", "User-Agent": "ada@example.com"}),
    ]
    return {answer.status_code for answer in answers}


@pytest.fixture
def said(api):
    """All that was logged at the level that hides least."""
    with captured_logs(level="DEBUG") as stream:
        seen = walk_through(api)
        assert api.house.deliver(Talkative()) == 2
        api.house.execute("UPDATE clients SET scopes = '{half of some json'")
        api.house.parts.keyring.forget(api.key)
        seen.add(api.get("/v1/messages").status_code)
        assert seen == {200, 202, 400, 401, 404, 422, 500}
    return stream


def test_no_key_no_address_and_no_variable_is_logged(said, api):
    """T27"""
    text = said.getvalue()
    assert '"message.failed"' in text
    assert '"delivery.crashed"' in text
    secret = api.key.split("_", 2)[2]
    assert [each for each in (*SECRETS, api.key, secret) if each in text] == []


def test_every_line_is_one_event_of_one_request(said):
    """T27"""
    lines = parsed(said)
    assert "forged" not in {line["event"] for line in lines}
    answered = [line for line in lines if line["event"] == "request.answered"]
    assert len({line["request_id"] for line in answered}) == len(answered) == 13
    assert {line["status"] for line in answered} == {200, 202, 400, 401, 404, 422, 500}


def test_a_message_is_followed_by_its_ids_from_the_request_to_the_attempt(api):
    """A request names its message, and what a worker says of the message names the request."""
    with captured_logs() as stream:
        accepted = api.post("/v1/messages", json=WELCOME, headers={"X-Request-ID": "r-42"}).json
        batch = {"messages": [WELCOME, WELCOME]}
        api.post("/v1/messages/batch", json=batch, headers={"X-Request-ID": "r-43"})
        api.house.deliver(Scripted([ACCEPTED]))
    lines = parsed(stream)
    [answered] = [line for line in lines if line["event"] == "request.answered" and line["request_id"] == "r-42"]
    assert (answered["message_id"], answered["client"]) == (accepted["id"], "shop")
    sent = [line for line in lines if line["event"] == "message.sent"]
    assert [line["request_id"] for line in sent if line["message_id"] == accepted["id"]] == ["r-42"]
    assert [line["request_id"] for line in sent].count("r-43") == 2


def test_token_mail_that_a_stranger_asked_for_names_the_request(house):
    stranger = Stranger(house)
    put_account(house)
    with captured_logs() as stream:
        request_id = stranger.ask().headers["X-Request-ID"]
        answer_requests(house)
        house.deliver(Scripted([ACCEPTED]))
    assert [line["request_id"] for line in parsed(stream) if line["event"] == "message.sent"] == [request_id]


def test_what_nobody_foresaw_is_logged_with_its_traceback_and_request(said):
    """T27"""
    [failed] = [line for line in parsed(said) if line["event"] == "request.failed"]
    assert "Traceback" in failed["exception"]
    assert failed["request_id"]


def test_a_database_error_in_the_log_shows_no_value(on_postgres):
    """T27"""
    on_postgres.house.execute("ALTER TABLE messages RENAME COLUMN client_reference TO reference")
    try:
        with captured_logs() as stream:
            assert (
                on_postgres.send(client_reference="Wq7-reference", to={"email": "a@b.com", "name": NAME}).status_code
                == 500
            )
    finally:
        on_postgres.house.execute("ALTER TABLE messages RENAME COLUMN reference TO client_reference")
    assert "client_reference" in stream.getvalue()
    assert "Wq7" not in stream.getvalue()
