"""The hosted pages as a browser reads them, and a call for every page that there is. Knows no pytest."""

from collections.abc import Iterator
from html.parser import HTMLParser

from werkzeug.test import TestResponse

from tests.applications import House
from tests.news import ONE_CLICK, PREFERENCES, path_of
from tests.strangers import ADA, Stranger

VERIFICATION, CHANGE = "/pages/email-verification", "/pages/email-change"
CODE, MAIL = f"{VERIFICATION}/code", f"{VERIFICATION}/mail"
PRODUCT = ["password-reset", "invitation", "magic-link", "login-code"]
HOSTILE = "\"'><script>alert(1)</script>{{ 7*7 }}"
VOID = {"br", "hr", "img", "input", "link", "meta"}
UNSUBSCRIBE, CHOOSE = path_of(), path_of(page=PREFERENCES)
# A call and its status, for every page that there is.
CALLS = [
    ("GET", "/", {}, 200),
    ("GET", f"{VERIFICATION}?token=a", {}, 200),
    ("GET", f"{CHANGE}?token=a", {}, 200),
    ("GET", VERIFICATION, {}, 400),
    ("POST", VERIFICATION, {"token": "a"}, 400),
    ("POST", CHANGE, {"token": "a"}, 400),
    ("GET", CODE, {}, 200),
    ("POST", CODE, {"email": ADA, "code": "123456"}, 400),
    ("POST", CODE, {"email": HOSTILE, "code": HOSTILE}, 422),
    ("POST", CODE, {"email": ADA, "code": "12"}, 422),
    ("POST", CODE, {"email": "", "code": ""}, 422),
    ("GET", MAIL, {}, 200),
    ("POST", MAIL, {"email": ADA}, 202),
    ("POST", MAIL, {"email": HOSTILE}, 422),
    ("POST", MAIL, {"email": ADA, "admin": "1"}, 422),
    ("POST", VERIFICATION, {"token": "a" * 5000}, 413),
    *(("GET", f"/pages/{each}?token=a", {}, 200) for each in PRODUCT),
    ("GET", UNSUBSCRIBE, {}, 200),
    ("POST", UNSUBSCRIBE, ONE_CLICK, 200),
    ("POST", UNSUBSCRIBE, {}, 415),
    ("POST", UNSUBSCRIBE, {"List-Unsubscribe": "yes"}, 400),
    ("GET", f"{UNSUBSCRIBE}A", {}, 400),
    ("POST", f"{UNSUBSCRIBE}A", ONE_CLICK, 400),
    ("GET", CHOOSE, {}, 200),
    ("POST", CHOOSE, {"shown": "onboarding", "choice": "these"}, 200),
    ("POST", CHOOSE, {"choice": "none"}, 200),
    ("GET", PREFERENCES, {}, 400),
]


class Document(HTMLParser):
    """What a page holds, while every element that begins also ends in its place."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def form(self) -> tuple[str, dict[str, str]]:
        """Where the one form goes, and what it sends as it stands."""
        [form] = self.all("form")
        assert form["method"] == "post"
        return form["action"], {each["name"]: each.get("value") or "" for each in self.all("input")}


def post(stranger: Stranger, path: str, fields: object, **headers: str):
    return stranger.request("POST", path, data=fields, headers=headers)


def call_all(house: House, **headers: str) -> Iterator[TestResponse]:
    """Every page, each asked for from a network of its own."""
    for number, (method, path, fields, status) in enumerate(CALLS):
        response = Stranger(house, f"192.0.2.{number}").request(method, path, data=fields or None, headers=headers)
        assert response.status_code == status, (method, path)
        yield response
