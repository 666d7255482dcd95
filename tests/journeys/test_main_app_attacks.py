"""The main app of examples/ against somebody who wants another's account, or to know who has one."""

import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import requests

from tests.journeys import example as examples
from tests.journeys.example import NEW_PASSWORD, PASSWORD, Example
from tests.journeys.processes import wait_until

STRANGERS = "the stranger's own words"


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    with examples.running(tmp_path_factory.mktemp("main-app")) as running:
        yield running


def told(answer: requests.Response) -> tuple[int, str]:
    """The status and the code of a refusal."""
    return answer.status_code, answer.json()["code"]


def attempt(example: Example, bucket: str, number: int) -> None:
    """So many tries were made a moment ago."""
    with closing(sqlite3.connect(example.environment["MAIN_APP_DATABASE"], timeout=30)) as database, database:
        database.executemany("INSERT INTO attempts VALUES (?, ?)", [(bucket, time.time())] * number)


def test_signing_up_and_in_tells_nobody_who_has_an_account(example):
    """T11: a password of the stranger's own is answered the same, whether it was written down or thrown away."""
    known, unknown = "member@acme.example", "nobody@acme.example"
    example.signed_in(known)
    answers = []
    for email in (known, unknown):
        stranger = example.person()
        stranger.post("register", email=email, name="Eve", password=STRANGERS)
        answers.append(stranger.post("login", email=email, password=STRANGERS))
    assert told(answers[0]) == told(answers[1]) == (401, "wrong_credentials")
    assert answers[0].text == answers[1].text


def test_an_owner_who_signs_up_last_confirms_the_own_password(example):
    """Whoever signs up with another's address has a password that opens nothing."""
    email, owner = "victim@acme.example", example.person()
    example.person().post("register", email=email, name="Eve", password=STRANGERS)
    example.token(email, "Confirm")
    owner.post("register", email=email, name="Vera", password=PASSWORD)
    token = example.token(email, "Confirm", number=2)
    assert owner.post("verify-email", token=token, password=PASSWORD).status_code == 200
    assert told(owner.post("login", email=email, password=STRANGERS)) == (401, "wrong_credentials")
    assert owner.post("login", email=email, password=PASSWORD).status_code == 200


def test_an_owner_who_signs_up_first_does_not_confirm_the_password_of_a_stranger(example):
    """The owner waits for a mail and follows the newest, which is about the stranger's sign-up."""
    email, owner, stranger = "early@acme.example", example.person(), example.person()
    owner.post("register", email=email, name="Vera", password=PASSWORD)
    example.token(email, "Confirm")
    stranger.post("register", email=email, name="Eve", password=STRANGERS)
    token = example.token(email, "Confirm", number=2)
    assert told(owner.post("verify-email", token=token)) == (400, "bad_request")
    assert told(owner.post("verify-email", token=token, password=PASSWORD)) == (422, "password_unknown")
    assert told(stranger.post("login", email=email, password=STRANGERS)) == (401, "wrong_credentials")
    owner.post("forgot-password", email=email)
    reset = example.token(email, "password")
    assert owner.post("reset-password", token=reset, password=NEW_PASSWORD).status_code == 200
    assert told(stranger.post("login", email=email, password=STRANGERS)) == (401, "wrong_credentials")
    assert owner.post("login", email=email, password=NEW_PASSWORD).status_code == 200


def test_a_network_of_ipv6_has_one_quota(example):
    """T16: whoever has one address has all of its /64."""
    example.signed_in("six@acme.example")
    tried = [
        example.person(f"2001:db8:0:7::{number}").post("login", email="six@acme.example", password="a guess")
        for number in range(6)
    ]
    assert [answer.status_code for answer in tried] == [401] * 5 + [429]
    beside = example.person("2001:db8:0:8::1")
    assert beside.post("login", email="six@acme.example", password=PASSWORD).status_code == 200
    written = example.person("::ffff:198.51.100.254")
    attempt(example, "sign-in by network 198.51.100.254", 50)
    assert told(written.post("login", email="six@acme.example", password=PASSWORD)) == (429, "rate_limited")


def test_two_tabs_that_refresh_at_once_both_stay_signed_in(example):
    """T26: the same refresh token twice within a moment is no theft."""
    ada = example.signed_in("tabs@acme.example")
    token = ada.refresh_token()
    with ThreadPoolExecutor(4) as tabs:
        answers = list(tabs.map(ada.present, [token] * 4))
    assert [answer.status_code for answer in answers] == [200] * 4
    [next_token] = {answer.cookies["refresh"] for answer in answers}
    assert ada.present(next_token).status_code == 200


def test_of_many_resets_with_one_link_one_counts(example):
    """T6: the password is that of the one who was told that it is changed."""
    email = "many@acme.example"
    example.signed_in(email)
    example.person().post("forgot-password", email=email)
    token = example.token(email, "password")
    choices = [f"{NEW_PASSWORD} {number}" for number in range(6)]
    with ThreadPoolExecutor(6) as people:
        answers = list(
            people.map(lambda choice: example.person().post("reset-password", token=token, password=choice), choices)
        )
    [chosen] = [choice for choice, answer in zip(choices, answers, strict=True) if answer.ok]
    assert {told(answer) for answer in answers if not answer.ok} == {(400, "token_used")}
    assert [
        example.person().post("login", email=email, password=choice).status_code for choice in (PASSWORD, chosen)
    ] == [401, 200]


def test_many_sign_ups_at_once_make_one_account(example):
    email = "crowd@acme.example"
    with ThreadPoolExecutor(8) as people:
        answers = list(
            people.map(
                lambda number: example.person().post("register", email=email, name=f"N{number}", password=PASSWORD),
                range(8),
            )
        )
    assert {answer.status_code for answer in answers} == {202}
    assert example.signed_in("other@acme.example").me().status_code == 200
    with closing(sqlite3.connect(example.environment["MAIN_APP_DATABASE"], timeout=30)) as database:
        assert database.execute("SELECT count(*) FROM users WHERE email_key = ?", (email,)).fetchone() == (1,)
    wait_until(lambda: len(example.mails(email, "Confirm")) >= 1)
    assert len(example.mails(email, "Confirm")) <= 3


def test_signing_in_rightly_uses_no_quota_up(example):
    email, office = "clerk@acme.example", "192.0.2.77"
    example.signed_in(email)
    attempt(example, f"sign-in by network {office}", 49)
    for _ in range(2):
        assert example.person(office).post("login", email=email, password=PASSWORD).status_code == 200
    assert told(example.person(office).post("login", email=email, password="a guess")) == (401, "wrong_credentials")
    assert told(example.person(office).post("login", email=email, password=PASSWORD)) == (429, "rate_limited")


@pytest.mark.parametrize("path", ["/auth/nowhere", "/auth/login"])
def test_what_is_not_there_is_a_problem_of_the_api(example, path):
    answer = requests.get(example.url + path, timeout=30)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert told(answer) == (404, "not_found")


def test_a_body_that_is_too_large_is_refused_without_a_fault(example):
    sent = {"data": {"email": "a" * 20_000}}
    page = requests.post(f"{example.url}/login", timeout=30, **sent)
    assert (page.status_code, "That did not work" in page.text) == (413, True)
    assert told(example.person().post("login", email="a" * 20_000, password="b")) == (413, "too_large")


@pytest.mark.parametrize("path", ["/nowhere", "/logout"])
def test_a_page_that_is_not_there_says_so_in_its_own_way(example, path):
    answer = requests.get(example.url + path, timeout=30)
    assert (answer.status_code, "There is no such page." in answer.text) == (404, True)
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_an_address_is_confirmed_with_the_password_that_was_typed(example):
    """Neither a sign-up between the look at the link and its redemption changes that, nor the link a reset."""
    program = """
import sqlite3
import subprocess
import sys
from main_app import database, users
connection = sqlite3.connect(":memory:")
connection.row_factory = sqlite3.Row
connection.executescript(database._TABLES)
owner = users.add(connection, "ada@acme.example", "Ada", "typed")
users.add(connection, "ada@acme.example", "Eve", "a stranger's")
users.set_verified(connection, owner.subject, "typed")
print(users.find(connection, owner.subject).password_hash)
users.set_password(connection, owner.subject, "from a reset")
users.set_verified(connection, owner.subject, "typed")
print(users.find(connection, owner.subject).password_hash)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], env=example.environment, capture_output=True, text=True, timeout=30, check=True
    )
    assert ran.stdout.splitlines() == ["typed", "from a reset"]
