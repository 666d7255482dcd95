"""How much strangers may: exact under concurrency, by network and by address, and never without a limit."""

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import pytest
from sqlalchemy import make_url, select
from time_machine import travel

from email_service.extensions import limiter
from email_service.kernel import clock
from email_service.tokens.models import TokenRequest
from tests.http.conftest import PATIENCE_SECONDS
from tests.journeys.turnstile import Turnstile
from tests.log_capture import captured_logs, parsed
from tests.strangers import ADA, Stranger, audited, issue, put_account

MESSAGE = "If an account exists with this email, you will receive an email shortly."
GONE = "redis://127.0.0.1:1/0"
HOUR = 3600


@pytest.fixture
def two_houses(reopen, redis_url, counts):
    """Two applications that share Redis and the database."""
    return [reopen(REDIS_URL=redis_url, PUBLIC_RATE_LIMIT="10000/minute") for _ in range(2)] * 50


def statuses(*responses) -> list[int]:
    return [response.status_code for response in responses]


def at_once(houses, count: int, call) -> Counter:
    """The statuses of so many calls at the same time, in these houses by turns."""
    with ThreadPoolExecutor(20) as pool:
        return Counter(response.status_code for response in pool.map(call, houses, range(count), timeout=60))


def told(stream) -> list[str]:
    return [line["event"] for line in parsed(stream) if line["event"].startswith("quotas.")]


def recorded(house) -> int:
    return len(house.execute(select(TokenRequest.id)))


def test_five_an_hour_are_for_a_network_and_no_more(house):
    """T13"""
    answers = [Stranger(house).ask(f"user{number}@example.com") for number in range(7)]
    assert statuses(*answers) == [202] * 5 + [429] * 2
    assert statuses(Stranger(house, "192.0.2.2").ask("user0@example.com")) == [202]
    assert recorded(house) == 6


def test_a_place_is_free_again_an_hour_after_it_was_taken_and_not_before(house):
    """T13: no burst around the full hour."""
    begin = clock.now().timestamp() + HOUR
    told = []
    for seconds, count in ((0, 1), (HOUR - 10, 4), (HOUR + 1, 2), (2 * HOUR - 11, 1), (2 * HOUR - 9, 5)):
        with travel(begin + seconds, tick=False):
            told.append(statuses(*(Stranger(house).ask(f"u{seconds}-{each}@example.com") for each in range(count))))
    assert told == [[202], [202] * 4, [202, 429], [429], [202] * 4 + [429]]


def test_three_an_hour_are_for_an_address_from_wherever(house):
    """T13"""
    answers = [Stranger(house, f"192.0.2.{number}").ask() for number in range(5)]
    assert statuses(*answers) == [202] * 3 + [429] * 2
    assert recorded(house) == 3


@pytest.mark.parametrize(
    "spellings",
    [
        ["ada@example.com", "ADA@example.com", "Ada@EXAMPLE.com", "\uff41da@example.com"],
        ["ada.l@gmail.com", "adal@gmail.com", "adal+x@googlemail.com", "ADAL+y@gmail.com"],
    ],
)
def test_all_spellings_of_an_address_are_one(house, spellings):
    """T14"""
    answers = [Stranger(house, f"192.0.2.{number}").ask(each) for number, each in enumerate(spellings)]
    assert statuses(*answers) == [202] * 3 + [429]


def test_the_address_is_counted_only_when_the_network_may(house):
    """T13: nobody who is over his own quota uses up somebody else's."""
    for number in range(5):
        Stranger(house).ask(f"user{number}@example.com")
    assert statuses(*(Stranger(house).ask() for _ in range(5))) == [429] * 5
    assert statuses(*(Stranger(house, f"192.0.2.1{number}").ask() for number in range(3))) == [202] * 3


def test_over_a_quota_the_problem_repeats_the_promise(house):
    for number in range(5):
        Stranger(house).ask(f"user{number}@example.com")
    by_network = Stranger(house).ask()
    by_address = [Stranger(house, f"192.0.2.1{number}").ask() for number in range(4)][-1]
    for response in (by_network, by_address):
        assert (response.status_code, response.content_type) == (429, "application/problem+json")
        assert HOUR - 100 <= int(response.headers["Retry-After"]) <= HOUR + 2
        told = response.json
        assert (told["code"], told["rate_limited"], told["message"]) == ("rate_limited", True, MESSAGE)
        assert told["token_expires_in_hours"] == 1
    assert {**by_network.json, "request_id": ""} == {**by_address.json, "request_id": ""}


def test_the_headers_tell_of_the_network_only(house):
    """The policy of addresses would tell that somebody else asked for this one."""
    told = []
    for number in range(6):
        response = Stranger(house).ask(f"user{number}@example.com")
        assert response.headers["RateLimit-Policy"] == f'"ip";q=5;w={HOUR}'
        told.append(re.fullmatch(r'"ip";r=(\d+);t=(\d+)', response.headers["RateLimit"]))
    assert [int(found[1]) for found in told] == [4, 3, 2, 1, 0, 0]
    assert all(HOUR - 100 <= int(found[2]) <= HOUR for found in told)
    limited = [Stranger(house, f"192.0.2.1{number}").ask() for number in range(4)][-1]
    assert limited.status_code == 429
    assert limited.headers["RateLimit-Policy"] == f'"ip";q=5;w={HOUR}'
    assert limited.headers["RateLimit"].startswith('"ip";r=4;t=')
    assert "RateLimit" not in Stranger(house).verify("A" * 43).headers


def test_several_windows_are_told_by_names_of_their_own(house, reopen):
    response = Stranger(reopen(PUBLIC_ISSUE_LIMIT_PER_IP="5/hour;20/day")).ask()
    assert response.headers["RateLimit-Policy"] == f'"ip";q=5;w={HOUR}, "ip-2";q=20;w={24 * HOUR}'
    assert re.fullmatch(r'"ip";r=4;t=\d+, "ip-2";r=19;t=\d+', response.headers["RateLimit"])


def test_a_silent_operator_hides_the_quota_of_addresses(house, reopen):
    silent = reopen(TOKEN_EMAIL_QUOTA_RESPONSE="silent")
    answers = [Stranger(silent, f"192.0.2.{number}").ask() for number in range(5)]
    assert len({(each.status_code, each.data, each.headers["RateLimit"]) for each in answers}) == 1
    assert answers[0].status_code == 202
    assert recorded(silent) == 3
    assert audited(silent) == [("token.request_limited", ADA, {"purpose": "password_reset"})] * 2
    for number in range(6):
        limited = Stranger(silent, "198.51.100.1").ask(f"user{number}@example.com")
    assert limited.status_code == 429


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"purpose": "password_reset", "email": "a", "email": "b"}', "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"purpose": "password_reset", "email": "ada@example.com"}', "text/plain", 415),
        (b'{"purpose": "password_reset", "email": "no address"}', "application/json", 422),
        (b'{"purpose": "password_reset", "email": "ada@example.com", "admin": true}', "application/json", 422),
        (b"", "application/json", 422),
    ],
)
def test_what_is_no_request_changes_nothing(house, content, content_type, status):
    """T13, T34"""
    stranger = Stranger(house)
    for _ in range(6):
        refused = stranger.post("", data=content, content_type=content_type)
        assert refused.status_code == status, refused.text
        assert "RateLimit" not in refused.headers
    answers = [stranger.ask(f"user{number}@example.com") for number in range(5)]
    assert statuses(*answers) == [202] * 5
    assert statuses(*(Stranger(house, f"198.51.100.{number}").ask() for number in range(3))) == [202] * 3


def test_five_failures_close_the_door_also_to_a_good_token(house):
    """T4: however often somebody succeeds in between."""
    stranger, good = Stranger(house), [issue(house, subject=f"u-{number}")["token"] for number in range(4)]
    wrong = "A" * 43
    told = [stranger.verify(each) for each in (wrong, good[0], wrong)]
    told += [stranger.consume(token=each) for each in (good[0], wrong, good[1], good[0])]
    assert statuses(*told, stranger.verify(wrong)) == [400, 200, 400, 200, 400, 200, 400, 400]
    for response in (stranger.verify(good[2]), stranger.consume(token=good[2]), stranger.verify(wrong)):
        assert (response.status_code, response.json["code"]) == (429, "rate_limited")
        assert 0 < int(response.headers["Retry-After"]) <= 902
        assert set(response.json) == {"type", "title", "status", "detail", "code", "request_id"}
    assert Stranger(house, "192.0.2.2").consume(token=good[2]).status_code == 200


def test_looking_at_good_tokens_is_no_failure(house):
    stranger, token = Stranger(house), issue(house)["token"]
    assert statuses(*(stranger.verify(token) for _ in range(8))) == [200] * 8


def test_a_household_of_ipv6_is_one_network(house):
    """T16"""
    answers = [Stranger(house, f"2001:db8:1:2::{number:x}").ask(f"u{number}@example.com") for number in range(1, 7)]
    assert statuses(*answers) == [202] * 5 + [429]
    assert Stranger(house, "2001:db8:1:3::1").ask().status_code == 202
    assert Stranger(house, "::ffff:192.0.2.77").ask("x1@example.com").headers["RateLimit"].startswith('"ip";r=4')
    assert Stranger(house, "192.0.2.77").ask("x2@example.com").headers["RateLimit"].startswith('"ip";r=3')


@pytest.mark.parametrize("header", ["HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_FORWARDED", "HTTP_X_CLIENT_IP"])
def test_without_a_proxy_nobody_chooses_the_own_address(house, header):
    """T16"""
    said = [
        Stranger(house, environ={header: f"198.51.100.{number}"}).ask(f"u{number}@example.com") for number in range(6)
    ]
    assert statuses(*said) == [202] * 5 + [429]
    assert {row.ip for row in house.execute(select(TokenRequest.ip))} == {"192.0.2.1"}


def test_an_address_that_cannot_be_read_is_limited_like_any(on_postgres, reopen):
    """T16: and fits its column, which PostgreSQL makes sure of."""
    url = str(on_postgres.house.app.config["SQLALCHEMY_DATABASE_URI"])
    proxied = reopen(database_url=url, TRUSTED_PROXY_COUNT="1")
    said = [
        Stranger(proxied, environ={"HTTP_X_FORWARDED_FOR": f"{'x' * 300}{number}"}).ask(f"u{number}@example.com")
        for number in range(6)
    ]
    assert statuses(*said) == [202] * 5 + [429]


def test_exactly_five_of_a_hundred_at_once_are_for_a_network(house, two_houses):
    """T13"""
    asked = at_once(two_houses, 100, lambda each, number: Stranger(each).ask(f"user{number}@example.com"))
    assert asked == {202: 5, 429: 95}
    assert recorded(house) == 5


def test_exactly_three_of_a_hundred_at_once_are_for_an_address(house, two_houses):
    """T13, T14"""
    put_account(house)
    spellings = (ADA, "ADA@example.com")
    asked = at_once(
        two_houses, 100, lambda each, number: Stranger(each, f"192.0.2.{number}").ask(spellings[number // 2 % 2])
    )
    assert asked == {202: 3, 429: 97}
    assert recorded(house) == 3


def test_of_many_failures_at_once_five_are_told(house, two_houses):
    """T13, T4"""
    assert at_once(two_houses, 40, lambda each, _: Stranger(each).verify("A" * 43)) == {400: 5, 429: 35}


def test_no_address_is_in_redis(house, reopen, redis_url, counts):
    """T27"""
    shared = reopen(REDIS_URL=redis_url)
    Stranger(shared).ask("Grace.Hopper@example.com")
    Stranger(shared).verify("A" * 43)
    keys = sorted(key.decode() for key in counts.scan_iter())
    held = " ".join(keys) + " ".join(str(counts.lrange(key, 0, -1)) for key in keys)
    assert not re.search(r"grace|hopper|example\.com|@", held, re.IGNORECASE)
    [by_address] = [key for key in keys if "public-issue-email" in key]
    assert re.search(r"/[0-9a-f]{64}/", by_address)
    assert any("192.0.2.1" in key for key in keys)


def test_with_redis_gone_nothing_is_unlimited(house, reopen, limiter_is_put_back):
    """T13, T34, F5"""
    lonely = reopen(REDIS_URL=GONE)
    with captured_logs() as stream:
        asked = [Stranger(lonely).ask(f"user{number}@example.com") for number in range(6)]
    assert statuses(*asked) == [202] * 5 + [429]
    assert asked[-1].json["rate_limited"] is True
    assert asked[0].headers["RateLimit"].startswith('"ip";r=4')
    assert statuses(*(Stranger(lonely, f"192.0.2.1{number}").ask() for number in range(4))) == [202] * 3 + [429]
    assert statuses(*(Stranger(lonely, "192.0.2.99").verify("A" * 43) for _ in range(6))) == [400] * 5 + [429]
    assert [line["level"] for line in parsed(stream) if line["event"] == "quotas.store_away"] == ["warning"]


def wait_for_redis(seconds: float) -> None:
    """Requests from now on wait so long for what it answers."""
    pool = limiter.storage._pool
    pool.disconnect()
    pool.reset()
    pool.connection_kwargs["socket_timeout"] = seconds


def test_when_redis_comes_back_it_counts_again(house, reopen, redis_url, counts, monkeypatch):
    """T34, F5: as while it is paused, answers do not come."""
    url = make_url(redis_url)
    with Turnstile(url.port or 6379) as gate:
        through = reopen(REDIS_URL=url.set(host="127.0.0.1", port=gate.port).render_as_string(hide_password=False))
        assert Stranger(through).ask("one@example.com").headers["RateLimit"].startswith('"ip";r=4')
        gate.hold(b"EVALSHA")
        wait_for_redis(0.5)
        with captured_logs() as stream:
            with monkeypatch.context() as patch:
                # The pause lasts as long as they take, or more of them would ask in vain.
                now = clock.monotonic_seconds()
                patch.setattr(clock, "monotonic_seconds", lambda: now)
                asked = [Stranger(through).ask(f"user{number}@example.com") for number in range(6)]
            assert statuses(*asked) == [202] * 5 + [429]
            gate.release()
            wait_for_redis(PATIENCE_SECONDS)
            while len(told(stream)) < 2:  # until the test's time-out
                sleep(0.1)
                Stranger(through, "192.0.2.2").verify("A" * 43)
            back = Stranger(through).ask("two@example.com")
    # What nobody waited for may have been counted all the same.
    assert (back.status_code, back.headers["RateLimit"][:8]) in {(202, '"ip";r=2'), (202, '"ip";r=3')}
    assert told(stream) == ["quotas.store_away", "quotas.store_back"]
