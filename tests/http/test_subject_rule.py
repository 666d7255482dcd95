"""One rule says what a subject is, for accounts, tokens and sessions, in paths, queries and bodies."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from email_service.kernel import subjects
from tests.applications import Api

ADA = {"email": "ada@example.com"}
WAYS: dict[str, Callable[[Api, str], Any]] = {
    "PUT account": lambda api, who: api.request("PUT", f"/v1/accounts/{quote(who, safe='')}", json=ADA),
    "GET account": lambda api, who: api.request("GET", f"/v1/accounts/{quote(who, safe='')}"),
    "DELETE account": lambda api, who: api.request("DELETE", f"/v1/accounts/{quote(who, safe='')}"),
    "POST token": lambda api, who: api.post(
        "/v1/tokens", json={"purpose": "password_reset", "subject": who, "deliver": False, **ADA}
    ),
    "DELETE tokens": lambda api, who: api.request("DELETE", "/v1/tokens", query_string={"subject": who}),
    "POST session": lambda api, who: api.post("/v1/sessions", json={"subject": who}),
    "GET sessions": lambda api, who: api.request("GET", "/v1/sessions", query_string={"subject": who}),
    "DELETE sessions": lambda api, who: api.request("DELETE", "/v1/sessions", query_string={"subject": who}),
}
GOOD = ["u 1", "ä\u00a0b", "\U0001f469\u200d\U0001f680", "\u202e", "x" * 255, "\U0001f469" * 255]
BAD = ["a\tb", "a\rb", "\x1f", "\x7f", "x" * 256]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("subject", GOOD, ids=ascii)
def test_a_subject_is_one_for_every_call(api, way, subject):
    assert WAYS["PUT account"](api, subject).status_code == 201
    answer = WAYS[way](api, subject)
    assert answer.status_code in {200, 201}, answer.text
    assert answer.json.get("subject", subject) == subject


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("subject", BAD, ids=ascii)
def test_what_is_none_is_one_for_no_call(api, way, subject):
    answer = WAYS[way](api, subject)
    assert (answer.status_code, answer.mimetype) == (422, "application/problem+json")
    assert answer.json["code"] == "invalid_input"
    assert [error["pointer"] for error in answer.json["errors"]] == ["/subject"]


@pytest.mark.parametrize("subject", ["a\0b", "a\nb", "a\n"], ids=ascii)
@pytest.mark.parametrize("way", WAYS)
def test_what_no_path_and_no_body_can_hold_is_refused_before_that(api, way, subject):
    """A path ends at a line break, so that there is nothing there; with NUL in it a body is malformed as a whole."""
    answer = WAYS[way](api, subject)
    assert (answer.status_code, answer.mimetype) in [(status, "application/problem+json") for status in (400, 404, 422)]
    assert api.get("/v1/audit").json["data"] == []


def test_the_description_says_the_same_everywhere(api):
    described = api.get("/openapi.json").json
    found = [described["components"]["schemas"][name]["properties"]["subject"] for name in ("TokenIn", "SessionIn")]
    for path in ("/v1/accounts/{subject}", "/v1/tokens", "/v1/sessions"):
        methods = dict(described["paths"][path])
        told = methods.pop("parameters", []) + [each for one in methods.values() for each in one.get("parameters", [])]
        found += [each["schema"] for each in told if each.get("name") == "subject"]
    rule = {"type": "string", "minLength": 1, "maxLength": subjects.LONGEST, "pattern": subjects.PATTERN}
    assert [{name: each.get(name) for name in rule} for each in found] == [rule] * 6
