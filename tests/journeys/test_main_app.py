"""The main app of examples/: what people can do, what they are refused, and what stays while the service is down."""

import re
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
import requests

from tests.journeys import example as examples
from tests.journeys.example import NEW_PASSWORD, PASSWORD, Person
from tests.journeys.processes import LEASH, free_port, wait_until


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    with examples.running(tmp_path_factory.mktemp("main-app")) as running:
        yield running


def told(answer: requests.Response) -> tuple[int, str]:
    """The status and the code of a refusal."""
    return answer.status_code, answer.json()["code"]


def test_a_person_registers_confirms_and_signs_in(example):
    """T6: the link works once. The refresh token is out of every script's reach."""
    ada, email = example.person(), "ada@acme.example"
    assert ada.post("register", email=email, name="Ada", password=PASSWORD).status_code == 202
    assert told(ada.post("login", email=email, password=PASSWORD)) == (401, "wrong_credentials")
    token = example.token(email, "Confirm")
    assert ada.post("verify-email", token=token, password=PASSWORD).json() == {"email_verified": True}
    assert told(ada.post("verify-email", token=token, password=PASSWORD)) == (400, "token_used")
    signed_in = ada.post("login", email="ADA@acme.example", password=PASSWORD)
    assert sorted(signed_in.json()) == ["access_token", "expires_in", "token_type"]
    assert "HttpOnly; Path=/; SameSite=Strict" in signed_in.headers["Set-Cookie"]
    assert ada.me().json()["email"] == email
    subject = example.subject(ada)
    wait_until(lambda: example.service.get(f"/v1/accounts/{subject}")["email_verified"])
    [session] = example.sessions(subject)
    assert session["ip"] == ada.ip


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("elevenchars", "password_short"),
        ("x" * 201, "password_long"),
        ("aaaaaaaaaaaaaaaa", "password_common"),
        ("Password2026!!!", "password_common"),
        ("\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff442026", "password_common"),  # in wide letters
        ("ada.lovelace rules", "password_personal"),
        ("countess byron 1815", "password_personal"),
    ],
)
def test_a_weak_password_is_refused_with_a_reason(example, password, code):
    answer = example.person().post("register", email="ada.lovelace@x.example", name="Lady Byron", password=password)
    assert told(answer) == (422, code)
    assert example.mails("ada.lovelace@x.example") == []


def test_a_reset_changes_the_password_ends_every_session_and_tells_the_owner(example):
    """T32: a reset signs nobody in, and the owner hears of it. A weak password does not cost the link."""
    email = "grace@acme.example"
    before = example.signed_in(email)
    subject, stranger = example.subject(before), example.person()
    assert stranger.post("forgot-password", email=email).status_code == 202
    token = example.token(email, "password")
    assert told(stranger.post("reset-password", token=token, password="short")) == (422, "password_short")
    done = stranger.post("reset-password", token=token, password=NEW_PASSWORD)
    assert (done.status_code, "Set-Cookie" in done.headers, "token" in done.text) == (200, False, False)
    assert example.sessions(subject) == []
    assert told(before.me()) == (401, "not_signed_in")
    assert told(before.post("refresh")) == (401, "session_over")
    assert told(stranger.post("reset-password", token=token, password=PASSWORD)) == (400, "token_used")
    assert told(stranger.post("login", email=email, password=PASSWORD)) == (401, "wrong_credentials")
    assert stranger.post("login", email=email, password=NEW_PASSWORD).status_code == 200
    [notice] = wait_until(lambda: example.mails(email, "was changed"))
    assert f"{example.url}/forgot-password" in notice["links"]


def test_nobody_learns_which_addresses_have_accounts(example):
    """T11: the same answer for an address that is known and one that is not, and no mail for the latter."""
    known, unknown = "known@acme.example", "unknown@acme.example"
    example.signed_in(known)

    def answer(path: str, email: str, **members: str) -> tuple[int, str, dict[str, str]]:
        got = example.person().post(path, email=email, **members)
        return got.status_code, got.text, {name: value for name, value in got.headers.items() if name != "Date"}

    wrong = {"password": "not the password"}
    for path, members in [("forgot-password", {}), ("resend-verification", {}), ("login", wrong)]:
        assert answer(path, known, **members) == answer(path, unknown, **members), path
    again = answer("register", known, name="Eve", password=NEW_PASSWORD)
    assert again == answer("register", "new@acme.example", name="Eve", password=NEW_PASSWORD)
    example.token(known, "password")
    example.token("new@acme.example", "Confirm")
    assert example.mails(unknown) == []
    assert len(example.mails(known)) == 2
    assert example.person().post("login", email=known, password=NEW_PASSWORD).status_code == 401


def test_a_refresh_token_works_once_and_its_reuse_ends_the_session(example):
    """T26: whoever copied a refresh token ends the session with it, for both."""
    ada = example.signed_in("reuse@acme.example")
    first = ada.refresh_token()
    assert ada.post("refresh").status_code == 200
    assert ada.post("refresh").status_code == 200
    assert first != ada.refresh_token()
    thief = ada.present(first)
    assert told(thief) == (401, "session_over")
    assert re.search(r"refresh=; Expires=[^;]+; Max-Age=0;", thief.headers["Set-Cookie"])
    assert told(ada.post("refresh")) == (401, "session_over")
    assert ada.refresh_token() == ""


def test_an_expired_session_has_to_begin_anew(example):
    ada = example.signed_in("late@acme.example")
    [path] = example.house.folder.glob("var/*.db")
    with closing(sqlite3.connect(path, timeout=30)) as database, database:
        changed = database.execute(
            "UPDATE sessions SET idle_expires_at = '2020-01-01 00:00:00', expires_at = '2020-01-02 00:00:00'"
            " WHERE subject = ?",
            (example.subject(ada),),
        )
        assert changed.rowcount == 1
    assert told(ada.post("refresh")) == (401, "session_over")
    assert ada.post("login", email="late@acme.example", password=PASSWORD).status_code == 200


def test_signing_out_ends_the_session_at_the_service(example):
    ada = example.signed_in("leaving@acme.example")
    subject, token = example.subject(ada), ada.refresh_token()
    assert ada.post("logout").status_code == 204
    assert (ada.refresh_token(), example.sessions(subject)) == ("", [])
    assert told(ada.present(token)) == (401, "session_over")
    assert ada.post("logout").status_code == 204


def test_an_invitation_makes_an_account_once(example):
    """An invitation for somebody who has an account looks the same to the inviter, and mails nothing."""
    ada, grace = example.signed_in("inviter@acme.example"), example.person()
    assert told(grace.post("invitations", email="invited@acme.example")) == (401, "not_signed_in")
    first = ada.post("invitations", email="invited@acme.example")
    assert (first.status_code, first.text) == (202, ada.post("invitations", email="inviter@acme.example").text)
    token = example.token("invited@acme.example", "invited you")
    weak = grace.post("accept-invitation", token=token, name="Grace", password="short")
    assert told(weak) == (422, "password_short")
    assert grace.post("accept-invitation", token=token, name="Grace", password=PASSWORD).status_code == 200
    assert told(grace.post("accept-invitation", token=token, name="Eve", password=PASSWORD)) == (400, "token_used")
    assert grace.post("login", email="invited@acme.example", password=PASSWORD).status_code == 200
    assert grace.me().json()["name"] == "Grace"
    assert example.mails("inviter@acme.example", "invited you") == []


def test_an_invitation_is_no_reset_for_an_account_in_use(example):
    """Whoever was invited and signed up alone keeps the password, although the invitation lives for a week."""
    email = "alone@acme.example"
    example.signed_in("host@acme.example").post("invitations", email=email)
    invitation = example.token(email, "invited you")
    alone = example.signed_in(email)
    accepted = alone.post("accept-invitation", token=invitation, name="Eve", password=NEW_PASSWORD)
    assert told(accepted) == (409, "already_member")
    assert alone.post("login", email=email, password=PASSWORD).status_code == 200


def test_an_operator_invites_from_the_command_line(example):
    done = example.flask("invite", "first@acme.example", "--inviter", "The admin")
    assert (done.returncode, done.stdout) == (0, "The invitation is on its way.\n"), done.stderr
    [mail] = wait_until(lambda: example.mails("first@acme.example"))
    assert "The admin" in mail["subject"] + mail["text"]


def test_each_reader_has_quotas_of_their_own(example):
    """T13, T16: the service counts by the reader's network, which the app passes on; a forged one is nothing."""
    greedy, modest = example.person("203.0.113.7"), example.person("203.0.113.8")
    asked = [greedy.post("forgot-password", email=f"n{number}@acme.example") for number in range(6)]
    assert [answer.status_code for answer in asked] == [202] * 5 + [429]
    assert int(asked[-1].headers["Retry-After"]) > 0
    forged = example.person("203.0.113.99, 203.0.113.7").post("forgot-password", email="n7@acme.example")
    assert forged.status_code == 429
    assert modest.post("forgot-password", email="n8@acme.example").status_code == 202


def test_guessing_a_password_comes_to_an_end(example):
    example.signed_in("guessed@acme.example")
    thief = example.person()
    tried = [thief.post("login", email="guessed@acme.example", password=f"guess {n}").status_code for n in range(5)]
    assert tried == [401] * 5
    assert told(thief.post("login", email="guessed@acme.example", password=PASSWORD)) == (429, "rate_limited")
    owner = example.person()
    assert owner.post("login", email="guessed@acme.example", password=PASSWORD).status_code == 200


def test_an_assertion_is_believed_once_and_for_its_purpose(example):
    """T25, T8: a front end that redeemed the link publicly hands the assertion over; it is verified here."""
    email, ada = "asserted@acme.example", example.person()
    ada.post("register", email=email, name="Ada", password=PASSWORD)
    wanted = {"purpose": "email_verification", "token": example.token(email, "Confirm")}
    redeemed = requests.post(f"{example.service.url}/public/v1/tokens/consume", json=wanted, timeout=30)
    assertion = redeemed.json()["assertion"]

    def confirm(assertion: str) -> requests.Response:
        return ada.post("verify-email", assertion=assertion, password=PASSWORD)

    assert told(ada.post("reset-password", assertion=assertion, password=PASSWORD)) == (400, "token_invalid")
    assert told(confirm(assertion[:-8] + "AAAAAAAA")) == (400, "token_invalid")
    assert confirm(assertion).status_code == 200
    assert told(confirm(assertion)) == (400, "token_used")
    assert ada.post("login", email=email, password=PASSWORD).status_code == 200
    assert told(confirm(ada.access_token)) == (400, "token_invalid")


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}]
)
@pytest.mark.parametrize("path", ["/auth/logout", "/logout", "/login", "/auth/forgot-password"])
def test_a_form_of_another_site_changes_nothing(example, headers, path):
    sent = {"json": {"email": "a@b.example"}} if path.startswith("/auth/") else {"data": {"email": "a@b.example"}}
    answer = requests.post(example.url + path, headers=headers, allow_redirects=False, timeout=30, **sent)
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (403, False)


def test_the_api_takes_json_only(example):
    answer = requests.post(f"{example.url}/auth/logout", data='{"a": "b"}', timeout=30)
    assert told(answer) == (400, "bad_request")
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body", ["[]", "{", '{"email": 1, "password": "a"}', '{"email": "a@b.example", "password": "\\ud800"}']
)
def test_a_body_that_is_no_sign_in_is_refused(example, body):
    headers = {"Content-Type": "application/json"}
    answer = requests.post(f"{example.url}/auth/login", data=body, headers=headers, timeout=30)
    assert told(answer) == (400, "bad_request")


def test_one_command_starts_both_twice(tmp_path):
    """`make example`: the data stays, and nothing outlives the command."""
    ports = [str(free_port()), str(free_port())]
    command = [sys.executable, str(examples.EXAMPLES / "start.py"), "--port", ports[0], "--app-port", ports[1]]
    for _ in range(2):
        with subprocess.Popen(
            [*LEASH, *command, "--folder", str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as started:
            assert started.stdout
            printed = next(line for line in started.stdout if line.startswith("  main app"))
            assert printed.split() == ["main", "app", f"http://127.0.0.1:{ports[1]}"]
            assert requests.get(f"http://127.0.0.1:{ports[0]}/inbox", timeout=30).ok
            person = Person(f"http://127.0.0.1:{ports[1]}")
            assert told(person.post("reset-password", token="a" * 43, password=PASSWORD)) == (400, "token_invalid")
            started.terminate()
        for port in ports:
            with pytest.raises(requests.ConnectionError):
                requests.get(f"http://127.0.0.1:{port}/", timeout=30)


def test_what_is_decided_while_the_service_is_down_stands(example):
    """T34, F17: nobody loses an account or a link; what the service has to hear, it hears when it is back."""
    down, leaving = example.signed_in("down@acme.example"), example.signed_in("leaver@acme.example")
    subject, new = example.subject(leaving), example.person()
    new.post("forgot-password", email="down@acme.example")
    token = example.token("down@acme.example", "password")
    example.stop_service()
    try:
        assert new.post("register", email="patient@acme.example", name="Pat", password=PASSWORD).status_code == 202
        for path, members in [
            ("login", {"email": "down@acme.example", "password": PASSWORD}),
            ("forgot-password", {"email": "down@acme.example"}),
            ("reset-password", {"token": token, "password": NEW_PASSWORD}),
            ("refresh", {}),
        ]:
            person = down if path == "refresh" else new
            assert told(person.post(path, **members)) == (503, "unavailable"), path
        assert down.me().status_code == 200
        assert leaving.post("logout").status_code == 204
    finally:
        example.start_service()
    confirmation = example.token("patient@acme.example", "Confirm")
    assert new.post("verify-email", token=confirmation, password=PASSWORD).status_code == 200
    assert new.post("login", email="patient@acme.example", password=PASSWORD).status_code == 200
    assert new.post("reset-password", token=token, password=NEW_PASSWORD).status_code == 200
    wait_until(lambda: example.sessions(subject) == [])


def test_the_example_knows_the_service_over_http_only():
    files = sorted((examples.EXAMPLES / "main_app").glob("*.py"))
    assert len(files) > 10
    for path in files:
        source = path.read_text(encoding="utf-8")
        assert not re.search(r"(?m)^\s*(?:from|import) email_service\b", source), path
        assert len(source.splitlines()) <= 200, path
