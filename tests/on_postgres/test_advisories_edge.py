"""What other systems' edges got wrong, tried against ours: quotas, networks, hosts, redirects, methods and clocks.

Which advisories there are, and which concern nothing here, is said in `advisories.py`.
"""

import re
import time
from collections import Counter
from functools import partial

import pytest
import redis

from tests.applications import Api, House
from tests.races import together
from tests.strangers import ADA, TOKENS, Stranger, answer_requests, issue, put_account

UNKNOWN = "A" * 43
FRONTEND = "https://app.example.com"
REDIRECTS = ["redirect", "redirect_to", "redirect_uri", "callbackURL", "return_to", "next", "url", "action_url"]
ELSEWHERE = [
    pytest.param("https://evil.example/", id="CVE-2024-56734"),
    pytest.param("//evil.example", id="CVE-2025-27143"),
    pytest.param("https://app.example.com.evil.example/*", id="CVE-2025-71403"),
    pytest.param("/\\evil.example", id="CVE-2021-32618"),
    pytest.param("https:evil.example", id="CVE-2023-49438"),
    pytest.param("https://app.example.com@evil.example", id="GHSA-w2j7-f3c6-g8cw"),
    "%2f%2fevil.example",
    "/\t/evil.example",
    "javascript:alert(1)",
    "https://2130706433/",
    "https://app.example.com:8443/",
    "https://app\u3002example\u3002com.evil.example",
]
# What turned the links of others: the names of headers, as a WSGI server passes them on.
HOSTS = ["HTTP_HOST", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_SERVER", "HTTP_X_ORIGINAL_URL", "HTTP_ORIGIN"]
SCANNER = {"User-Agent": "Mozilla/5.0 (compatible; SafeLinks; BingPreview/1.0b)", "Purpose": "prefetch"}


def link_in(house: House) -> str:
    """The link of the one mail that goes out now."""
    answer_requests(house)
    house.deliver()
    [mail] = house.captured()
    return re.search(r"\S+\?token=[A-Za-z0-9_-]{43}", mail.text)[0]


@pytest.mark.parametrize(
    "is_shared", [pytest.param(True, id="CVE-2026-110861"), pytest.param(False, id="supabase #2333")]
)
def test_of_a_burst_exactly_as_many_pass_as_were_configured(reopen, redis_url, is_shared):
    """T13: better-auth looked and wrote in two steps, and GoTrue's bucket let 30 through where 5 were configured."""
    with redis.Redis.from_url(redis_url) as server:
        server.flushdb()
        house = reopen(**({"REDIS_URL": redis_url} if is_shared else {}))
        calls = [partial(Stranger(house).ask, f"ada{number}@example.com") for number in range(40)]
        assert Counter(answer.status_code for answer in together(calls)) == {202: 5, 429: 35}
        server.flushdb()
    assert house.execute("SELECT count(*) FROM token_requests") == [(5,)]


def test_a_success_takes_no_failure_back(house):
    """allauth 65.8.1: a login that succeeded cleared the network's failures; T13."""
    stranger = Stranger(house)
    for _ in range(2):
        assert [stranger.verify(UNKNOWN).status_code for _ in range(2)] == [400, 400]
        assert stranger.consume(token=issue(house)["token"]).status_code == 200
    assert [stranger.verify(UNKNOWN).status_code for _ in range(2)] == [400, 429]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "CF-Connecting-IP"])
def test_nobody_says_from_which_network_he_comes(house, header):
    """allauth 65.14.2: X-Forwarded-For was believed without a proxy; T16."""
    said = [
        Stranger(house).post(
            "/verify", json={"purpose": "magic_link", "token": UNKNOWN}, headers={header: f"192.0.2.{n}"}
        )
        for n in range(7)
    ]
    assert [answer.status_code for answer in said] == [400] * 5 + [429] * 2


def test_a_household_of_ipv6_fails_as_one(house):
    """better-auth #7470: each address of a /64 had a quota of its own; T16."""
    said = [Stranger(house, f"2001:db8:1:2:{n:x}::{n:x}").verify(UNKNOWN).status_code for n in range(1, 8)]
    assert said == [400] * 5 + [429] * 2


@pytest.mark.parametrize("variable", HOSTS)
@pytest.mark.parametrize("proxies", ["0", "1"])
def test_no_header_says_where_a_link_leads(house, reopen, variable, proxies):
    """better-auth #9134, GHSA-fqh6-6h6c-366m (CouchAuth): the host of the request stood in the reset's link; T17."""
    put_account(house)
    ours = reopen(FRONTEND_URL=FRONTEND, TRUSTED_PROXY_COUNT=proxies)
    assert Stranger(ours, environ={variable: "evil.example"}).ask().status_code == 202
    assert link_in(ours).startswith(f"{FRONTEND}/reset-password?token=")
    key = house.add_client()
    issued = Api(ours, key, environ={variable: "evil.example"}).post(
        "/v1/tokens", json={"purpose": "magic_link", "subject": "u-1"}
    )
    assert issued.status_code == 201
    ours.deliver()
    assert not [mail for mail in ours.captured() if b"evil.example" in mail.source]


@pytest.mark.parametrize("target", ELSEWHERE)
def test_there_is_nothing_to_redirect_with(house, reopen, target):
    """T18: three fixes for one check of better-auth's, three for Flask-Security-Too's; here no caller names a page."""
    put_account(house)
    ours = reopen(FRONTEND_URL=FRONTEND, PUBLIC_RATE_LIMIT="100000/minute")
    api, stranger = Api(ours, house.add_client()), Stranger(ours)
    bodies = {
        TOKENS: {"purpose": "password_reset", "email": ADA},
        f"{TOKENS}/verify": {"purpose": "password_reset", "token": UNKNOWN},
        f"{TOKENS}/consume": {"purpose": "password_reset", "token": UNKNOWN},
        "/v1/tokens": {"purpose": "password_reset", "subject": "u-1"},
        "/v1/tokens/consume": {"purpose": "password_reset", "token": UNKNOWN},
        "/v1/sessions": {"subject": "u-1"},
    }
    for path, body in bodies.items():
        for name in REDIRECTS:
            refused = api.post(path, json={**body, name: target})
            assert (refused.status_code, refused.json["errors"][0]["pointer"]) == (422, f"/{name}")
    own = {"purpose": "password_reset", "subject": "u-1", "variables": {"action_url": target}}
    assert api.post("/v1/tokens", json=own).status_code == 422
    asked = stranger.request("POST", TOKENS, query_string=dict.fromkeys(REDIRECTS, target), json=bodies[TOKENS])
    assert (asked.status_code, asked.headers.get("Location")) == (202, None)
    assert link_in(ours).startswith(f"{FRONTEND}/reset-password?token=")


@pytest.mark.parametrize("target", ELSEWHERE)
def test_no_page_leads_elsewhere(house, target):
    """T18: also the pages of our own, whatever stands in their address."""
    query = {"token": UNKNOWN, **dict.fromkeys(REDIRECTS, target)}
    for path in ("/pages/email-verification", "/pages/email-change", "/pages/magic-link"):
        answer = Stranger(house).request("GET", path, query_string=query)
        assert (answer.status_code, answer.headers.get("Location")) == (200, None)
        assert "evil" not in answer.text


@pytest.mark.parametrize(
    ("method", "count"),
    [
        pytest.param("GET", 1, id="GoTrue #1214"),
        pytest.param("HEAD", 1, id="NextAuth #1840"),
        pytest.param("GET", 5, id="Ghost #12347"),
        pytest.param("HEAD", 5, id="FusionAuth #629"),
        pytest.param("OPTIONS", 2, id="hasura-auth #189"),
        pytest.param("GET", 2, id="better-auth #9690"),
        pytest.param("GET", 3, id="Outline #9227"),
        pytest.param("HEAD", 2, id="EmDash #3298"),
        pytest.param("GET", 10, id="sourcelibrary #2640"),
    ],
)
def test_a_scanner_that_follows_a_link_uses_nothing_up(house, method, count):
    """T9: what scans mail opens every link and goes where it is led, and gets neither a token's worth nor a session."""
    made = issue(house, "email_verification")
    stranger = Stranger(house)
    for _ in range(count):
        opened_page = stranger.request(
            method, "/pages/email-verification", query_string={"token": made["token"]}, headers=SCANNER
        )
        assert (opened_page.status_code, opened_page.headers.get("Location")) == (200, None)
        assert not re.search(r"<script|http-equiv=.?refresh", opened_page.text, re.IGNORECASE)
    assert stranger.verify(made["token"], "email_verification").status_code == 200
    confirmed = stranger.request("POST", "/pages/email-verification", data={"token": made["token"]})
    assert confirmed.status_code == 200


def test_no_multipart_body_is_read(api):
    """CVE-2023-25577, CVE-2023-46136, Werkzeug: parts without number cost processor and memory; T28."""
    body = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n" * 10_000 + b"--x--"
    begun_at = time.perf_counter()
    for path in (TOKENS, f"{TOKENS}/consume", "/public/v1/sessions/refresh"):
        refused = Stranger(api.house).request("POST", path, data=body, content_type="multipart/form-data; boundary=x")
        assert refused.status_code == 415
    assert api.raw(body, "multipart/form-data; boundary=x").status_code == 415
    page = {"data": body, "content_type": "multipart/form-data; boundary=x"}
    assert Stranger(api.house).request("POST", "/pages/email-verification", **page).status_code in {413, 415}
    assert time.perf_counter() - begun_at < 2
