"""Unsubscribing by one click of a mail program or of a person, choosing what to get, and nothing by anything less."""

import re

import pytest
from sqlalchemy import select

from email_service.audit.models import AuditEvent
from email_service.suppressions.models import Suppression
from tests import news
from tests.applications import RESET, Api
from tests.hosted import CHOOSE, HOSTILE, UNSUBSCRIBE, Document, post
from tests.log_capture import captured_logs, parsed
from tests.news import ONE_CLICK, PAGE, PREFERENCES, path_of
from tests.strangers import ADA, Stranger

OLD_KEY = "an-old-key-of-tests-with-more-than-32-characters"
SCANNERS = ["SafeLinks", "GoogleImageProxy", "Barracuda"]
BOUNDARY = "----MailProgram7MA4YWxk"
IN_PARTS = f"multipart/form-data; boundary={BOUNDARY}"


def parts(*fields: tuple[str, str]) -> bytes:
    """What a mail program sends that follows RFC 8058 3.2 to the letter."""
    each = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
    ]
    return "".join([*each, f"--{BOUNDARY}--\r\n"]).encode()


@pytest.fixture
def stranger(house) -> Stranger:
    return Stranger(house)


@pytest.fixture
def shop(house, news_templates):
    with news.opened_with_news(house, news_templates) as found:
        yield found


def rows(house) -> list[tuple[str, str, str]]:
    columns = (Suppression.email, Suppression.category, Suppression.reason)
    return [tuple(row) for row in house.execute(select(*columns).order_by(Suppression.key, Suppression.category))]


def test_only_looking_changes_nothing(house, stranger):
    """T33: GET and HEAD, also by what follows each link of a mail."""
    for path in (UNSUBSCRIBE, CHOOSE):
        for agent in SCANNERS:
            for method in ("GET", "HEAD") * 5:
                response = stranger.request(method, path, headers={"User-Agent": agent})
                assert response.status_code == 200
    for method in ("PUT", "DELETE", "PATCH"):
        assert stranger.request(method, UNSUBSCRIBE, data=ONE_CLICK).status_code == 405
    assert rows(house) == []
    assert house.execute(select(AuditEvent.id)) == []


def test_one_click_of_a_mail_program_unsubscribes(either):
    """T33: RFC 8058 3.2: no cookie, no key, no referrer, no redirect, and again is no error."""
    program = Stranger(either, "192.0.2.7")
    for _ in range(2):
        answer = program.request("POST", UNSUBSCRIBE, data=b"List-Unsubscribe=One-Click", content_type=PLAIN)
        assert answer.status_code == 200
        assert not {"Location", "Set-Cookie", "WWW-Authenticate"} & set(answer.headers.keys())
    assert rows(either) == [(ADA, "onboarding", "unsubscribe")]
    with either.sessions() as session:
        [event] = session.scalars(select(AuditEvent)).all()
    assert (event.name, event.actor, event.subject, event.ip) == ("suppression.added", "recipient", ADA, "192.0.2.7")
    assert event.data == {"reason": "unsubscribe", "category": "onboarding"}
    assert event.request_id
    api = Api(either, either.add_client())
    assert [api.send().json["status"], api.send(**RESET).json["status"]] == ["suppressed", "queued"]
    assert api.send(to="eve@example.com").json["status"] == "queued"


PLAIN = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"List-Unsubscribe=One-Click", PLAIN),
        (b"List-Unsubscribe=One-Click", f"{PLAIN}; charset=UTF-8"),
        (parts(("List-Unsubscribe", "One-Click")), IN_PARTS),
        (b"List-Unsubscribe=One-Click&utm=1", PLAIN),
    ],
)
@pytest.mark.parametrize("site", [None, "cross-site", "none"])
def test_mail_programs_post_in_their_own_ways(house, stranger, content, content_type, site):
    """T33: from wherever they are, for no other site knows a reader's link."""
    headers = {"Sec-Fetch-Site": site} if site else {}
    answer = stranger.request("POST", UNSUBSCRIBE, data=content, content_type=content_type, headers=headers)
    assert answer.status_code == 200
    assert rows(house) == [(ADA, "onboarding", "unsubscribe")]


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"", PLAIN, 400),
        (b"List-Unsubscribe=", PLAIN, 400),
        (b"list-unsubscribe=one-click", PLAIN, 400),
        (b"List-Unsubscribe=One-Click&List-Unsubscribe=One-Click", PLAIN, 400),
        (b'{"List-Unsubscribe": "One-Click"}', "application/json", 415),
        (b"List-Unsubscribe=One-Click", "text/plain", 415),
        (parts(), IN_PARTS, 400),
        (parts(("List-Unsubscribe", "One-Click"), ("List-Unsubscribe", "One-Click")), IN_PARTS, 400),
        (parts(*((f"f{number}", "1") for number in range(9))), IN_PARTS, 400),
        (parts(('f"; filename="a', "x")), IN_PARTS, 400),
        (parts(("List-Unsubscribe", "One-Click")), "multipart/form-data", 400),
        (b"not in parts", IN_PARTS, 400),
        (parts(("List-Unsubscribe", "One-Click")) + b"x" * 4096, IN_PARTS, 413),
        (b"List-Unsubscribe=One-Click&x=" + b"x" * 4096, PLAIN, 413),
    ],
)
def test_anything_else_unsubscribes_nobody(house, stranger, content, content_type, status):
    """T28, T33"""
    answer = stranger.request("POST", UNSUBSCRIBE, data=content, content_type=content_type)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert rows(house) == []


@pytest.mark.parametrize(
    "token",
    [
        "",
        "A",
        "A" * 43,
        "A" * 5000,
        HOSTILE,
        "\0",
        "é" * 50,
        ADA,
        UNSUBSCRIBE.partition("=")[2][:-2],
        UNSUBSCRIBE.partition("=")[2] + "A",
        UNSUBSCRIBE.partition("=")[2].swapcase(),
        path_of(key=OLD_KEY).partition("=")[2],
    ],
)
def test_a_link_that_nobody_made_gets_a_page_that_says_so(house, stranger, token):
    """T33, T18: whatever stands in it."""
    for page in (PAGE, PREFERENCES):
        for method, fields in (("GET", None), ("POST", ONE_CLICK)):
            answer = stranger.request(method, page, query_string={"token": token}, data=fields)
            assert (answer.status_code, answer.mimetype) == (400, "text/html")
            document = Document(answer.text)
            assert (document.all("form"), document.all("script")) == ([], [])
            assert "This link does not work" in answer.text
    assert rows(house) == []


def test_a_link_outlives_the_key_that_made_it(house, reopen):
    """F16"""
    path = path_of(key=OLD_KEY)
    assert Stranger(house).request("POST", path, data=ONE_CLICK).status_code == 400
    rotated = Stranger(reopen(SECRET_KEY_FALLBACKS=OLD_KEY))
    assert rotated.request("POST", path, data=ONE_CLICK).status_code == 200
    assert rows(house) == [(ADA, "onboarding", "unsubscribe")]


def test_a_person_presses_a_button_and_may_take_it_back(house, stranger):
    """T33"""
    page = stranger.request("GET", UNSUBSCRIBE).text
    assert "“<bdi>Getting started</bdi>”" in page
    assert "<bdi>a***@e***.com</bdi>" in page
    path, fields = Document(page).form
    assert (path, fields) == (UNSUBSCRIBE, ONE_CLICK)
    done = post(stranger, path, fields)
    assert (done.status_code, "You are unsubscribed" in done.text) == (200, True)
    [link] = [each["href"] for each in Document(done.text).all("a")]
    assert link == CHOOSE
    boxes = [each for each in Document(stranger.request("GET", link).text).all("input") if each["type"] == "checkbox"]
    assert [each["name"] for each in boxes if "checked" in each] == ["receive.notification"]
    back = post(stranger, link, {"shown": "onboarding", "receive.onboarding": "yes", "choice": "these"})
    assert (back.status_code, "Your choice is saved" in back.text, " checked" in back.text) == (200, True, True)
    assert rows(house) == []


def test_each_category_is_switched_by_itself(shop):
    stranger = Stranger(shop)
    path, fields = Document(stranger.request("GET", CHOOSE).text).form
    assert fields["shown"] == "news,notification,onboarding"
    assert {"receive.news", "receive.notification", "receive.onboarding"} < set(fields)
    others = {"shown": fields["shown"], "receive.notification": "yes", "choice": "these"}
    post(stranger, path, {**others, "receive.news": "yes"})
    assert rows(shop) == [(ADA, "onboarding", "unsubscribe")]
    post(stranger, path, {"shown": fields["shown"], "choice": "none"})
    assert rows(shop) == [(ADA, "onboarding", "unsubscribe"), (ADA, "optional", "unsubscribe")]
    post(stranger, path, {**others, "receive.onboarding": "yes"})
    assert rows(shop) == [(ADA, "news", "unsubscribe")]
    text = stranger.request("GET", CHOOSE).text
    boxes = [each for each in Document(text).all("input") if each["type"] == "checkbox"]
    assert [(each["name"], "checked" in each) for each in boxes] == [
        ("receive.news", False),
        ("receive.notification", True),
        ("receive.onboarding", True),
    ]
    assert "<bdi>News</bdi>" in text


def test_a_category_newer_than_the_page_stays_as_it_is(shop):
    post(Stranger(shop), CHOOSE, {"shown": "onboarding,security,*", "choice": "these"})
    assert rows(shop) == [(ADA, "onboarding", "unsubscribe")]


def test_a_form_of_another_site_chooses_nothing(house, stranger):
    refused = post(stranger, CHOOSE, {"choice": "none"}, **{"Sec-Fetch-Site": "cross-site"})
    assert (refused.status_code, rows(house)) == (400, [])


def test_a_reader_of_a_blocked_address_is_told(house, stranger):
    Api(house, house.add_client()).request("PUT", f"/v1/suppressions/{ADA}", json={})
    assert "sends no mail at all to this address" in stranger.request("GET", CHOOSE).text
    assert "sends no mail at all" not in stranger.request("GET", path_of("eve@example.com", page=PREFERENCES)).text


@pytest.mark.parametrize("name", ["List-Unsubscribe", "list-unsubscribe-post", "LIST-UNSUBSCRIBE", "List-Help"])
def test_a_caller_sets_none_of_these_headers(api, name):
    """T19, T33"""
    refused = api.send(headers={name: "<https://evil.example/>"})
    assert (refused.status_code, refused.json["errors"][0]["pointer"]) == (422, f"/headers/{name}")


def test_every_call_counts_against_its_network(reopen):
    """T16: one household of IPv6 is one network; another one is not held up."""
    limited = reopen(PUBLIC_RATE_LIMIT="3/minute")
    told = [
        Stranger(limited, f"2001:db8::{number}").request(method, path, data=fields)
        for number, (method, path, fields) in enumerate(
            [("GET", UNSUBSCRIBE, None), ("HEAD", CHOOSE, None), ("GET", f"{PAGE}?token=a", None)]
            + [("POST", UNSUBSCRIBE, ONE_CLICK)] * 2
        )
    ]
    assert [each.status_code for each in told] == [200, 200, 400, 429, 429]
    assert (told[-1].mimetype, int(told[-1].headers["Retry-After"]) > 0) == ("text/html", True)
    assert rows(limited) == []
    assert Stranger(limited, "2001:db8:1::1").request("POST", UNSUBSCRIBE, data=ONE_CLICK).status_code == 200


def test_only_instances_for_the_public_serve_it(reopen):
    """T30"""
    public, internal = Stranger(reopen(EXPOSE="public")), Stranger(reopen(EXPOSE="internal"))
    for method, path, fields in (("GET", UNSUBSCRIBE, None), ("GET", CHOOSE, None), ("POST", UNSUBSCRIBE, ONE_CLICK)):
        assert public.request(method, path, data=fields).status_code == 200
        assert internal.request(method, path, data=fields).status_code == 404


def test_neither_the_link_nor_its_reader_is_logged(house, stranger):
    """T27"""
    api = Api(house, house.add_client())
    with captured_logs(level="DEBUG") as stream:
        stranger.request("GET", UNSUBSCRIBE)
        post(stranger, UNSUBSCRIBE, ONE_CLICK)
        post(stranger, f"{UNSUBSCRIBE}A", ONE_CLICK)
        post(stranger, CHOOSE, {"choice": "none"})
        api.send()
        assert house.deliver() == 0
    told = stream.getvalue()
    assert [each for each in (ADA, UNSUBSCRIBE.partition("=")[2]) if each in told] == []
    assert not re.search(r"\bada\b", told)  # an id may hold these letters
    answered = {line["path"] for line in parsed(stream) if line["event"] == "request.answered"}
    assert answered == {PAGE, PREFERENCES, "/v1/messages"}


def test_no_header_turns_the_link_elsewhere(stranger):
    """T17"""
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    for path in (UNSUBSCRIBE, CHOOSE):
        assert "evil.example" not in stranger.request("GET", path, headers=headers).text
