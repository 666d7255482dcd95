"""The client agrees with the description of the API: operations, parameters, bodies, answers and words."""

import asyncio
import inspect
import json
import re
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, get_args
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from samples import DESCRIBED, SCHEMAS, sample

import generate
from email_service_client import AsyncEmailService, EmailService, answers, problems
from email_service_client.decoding import decode
from email_service_client.rooms import Room
from tests.error_codes import error_codes

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
ID = "01a1fbc5-cf0f-71b6-8660-565e4b785ed7"
MESSAGE: dict[str, Any] = {
    "template": "welcome",
    "to": {"email": "ada@example.com", "name": "Ada"},
    "variables": {"name": "Ada"},
    "locale": "de",
    "cc": ["grace@example.com"],
    "bcc": [],
    "reply_to": "help@acme.example",
    "from_": "orders@acme.example",
    "lane": "bulk",
    "send_at": NOON,
    "expires_at": NOON,
    "tags": ["signup"],
    "metadata": {"order": "42"},
    "client_reference": "order-42",
    "headers": {"X-Order": "42"},
    "force": True,
    "attachments": [{"filename": "a.txt", "content_type": "text/plain", "content": b"a", "content_id": None}],
}
CREATED = {"created_after": NOON, "created_before": NOON}
FILTERS = {"status": "sent", "template": "a", "recipient": "b", "tag": "c", "client_reference": "d", **CREATED}
TOKEN = {
    "purpose": "magic_link",
    "subject": "u",
    "email": "a@b.example",
    "locale": "de",
    "variables": {},
    "context": {},
}
SHOWN = {"email": "a@b.example", "code": "123456"}
READER = {"reader_ip": "192.0.2.7"}
# An operation, and a call of it with everything that it takes.
CALLS = [
    ("POST /v1/messages", "messages.send", [], MESSAGE),
    ("POST /v1/messages/batch", "messages.send_batch", [[MESSAGE]], {"atomic": True}),
    ("GET /v1/messages", "messages.list", [], FILTERS),
    ("GET /v1/messages/{message_id}", "messages.get", [ID], {}),
    ("GET /v1/messages/{message_id}/events", "messages.events", [ID], {}),
    ("GET /v1/messages/{message_id}/explain", "messages.explain", [ID], {}),
    ("PATCH /v1/messages/{message_id}", "messages.reschedule", [ID], {"send_at": NOON, "expires_at": None}),
    ("POST /v1/messages/{message_id}/cancel", "messages.cancel", [ID], {}),
    ("POST /v1/messages/{message_id}/retry", "messages.retry", [ID], {}),
    ("GET /v1/templates", "templates.list", [], {}),
    ("GET /v1/templates/{name}", "templates.get", ["welcome"], {}),
    ("POST /v1/templates/{name}/render", "templates.render", ["welcome"], {"variables": {}, "locale": "de"}),
    (
        "GET /v1/suppressions",
        "suppressions.list",
        [],
        {"reason": "manual", "category": "news", "email": "a@b.example", **CREATED},
    ),
    ("GET /v1/suppressions/{email}", "suppressions.get", ["a/b@c.example"], {}),
    ("PUT /v1/suppressions/{email}", "suppressions.put", ["a@b.example"], {"reason": "manual", "category": "*"}),
    ("DELETE /v1/suppressions/{email}", "suppressions.delete", ["a@b.example"], {}),
    ("GET /v1/accounts/{subject}", "accounts.get", ["u"], {}),
    (
        "PUT /v1/accounts/{subject}",
        "accounts.put",
        ["u"],
        {"email": "a@b.example", "name": "Ada", "locale": "de", "email_verified": True, "disabled": False},
    ),
    ("DELETE /v1/accounts/{subject}", "accounts.delete", ["u"], {}),
    ("POST /v1/tokens", "tokens.issue", [], {**TOKEN, "ttl_seconds": 60, "deliver": False}),
    ("POST /v1/tokens/verify", "tokens.verify", ["magic_link", "x"], {}),
    ("POST /v1/tokens/consume", "tokens.consume", ["magic_link", "x"], {}),
    ("POST /v1/tokens/consume", "tokens.consume", ["magic_link"], SHOWN),
    ("DELETE /v1/tokens", "tokens.revoke", ["u", "magic_link"], {}),
    (
        "POST /v1/sessions",
        "sessions.create",
        [],
        {"subject": "u", "claims": {"role": "x"}, "ip": "192.0.2.7", "user_agent": "x"},
    ),
    ("GET /v1/sessions", "sessions.list", ["u"], {}),
    ("DELETE /v1/sessions", "sessions.sign_out", ["u"], {}),
    ("GET /v1/audit", "audit.list", [], {"name": "a", "actor": "b", "subject": "c", **CREATED}),
    ("POST /public/v1/tokens", "public.ask", ["magic_link", "a@b.example"], {"locale": "de", **READER}),
    ("POST /public/v1/tokens/verify", "public.verify", ["magic_link", "x"], READER),
    ("POST /public/v1/tokens/consume", "public.consume", ["magic_link", "x"], READER),
    ("POST /public/v1/tokens/consume", "public.consume", ["magic_link"], {**SHOWN, **READER}),
    ("POST /public/v1/sessions/refresh", "public.refresh", ["x"], READER),
    ("POST /public/v1/sessions/revoke", "public.revoke", ["x"], READER),
]
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DESCRIBED["paths"].items()
    for method, operation in methods.items()
    if method != "parameters"
}


def described_answer(operation: str) -> dict[str, Any] | None:
    """The schema of a success; None where the answer is empty."""
    [success, *_] = [told for status, told in OPERATIONS[operation]["responses"].items() if status.startswith("2")]
    if "content" not in success:
        return None
    schema: dict[str, Any] = success["content"]["application/json"]["schema"]
    return schema


def make(operation: str, method: str, arguments: list[Any], members: dict[str, Any]) -> tuple[httpx2.Request, Any]:
    """What the client sends for a call, and what it makes of an answer as it is described."""
    sent = []
    schema = described_answer(operation)
    document = {} if schema is None else sample(schema)
    if "next_cursor" in document:
        document["next_cursor"] = None

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(204) if schema is None else httpx2.Response(200, json=document)

    with EmailService(
        "https://mail.acme.example", "esk_1", http=httpx2.Client(transport=httpx2.MockTransport(answer))
    ) as service:
        room, _, name = method.partition(".")
        found = getattr(getattr(service, room), name)(*arguments, **members)
        found = list(found) if inspect.isgenerator(found) else found
    [request] = sent
    return request, found


def test_the_types_are_made_from_the_description_as_it_is():
    for name, text in generate.write(DESCRIBED).items():
        assert (generate.PACKAGE / name).read_text(encoding="utf-8") == text, "Run python clients/python/generate.py."


def test_a_word_that_nobody_named_stops_the_types():
    changed = json.loads(json.dumps(DESCRIBED))
    changed["components"]["schemas"]["AccountOut"]["properties"]["name"]["enum"] = ["new"]
    with pytest.raises(KeyError):
        generate.write(changed)


def test_there_is_a_call_for_every_operation_and_an_example_of_every_call():
    assert {operation for operation, *_ in CALLS} == set(OPERATIONS)
    with EmailService("https://mail.acme.example") as service:
        methods = {
            f"{room}.{name}"
            for room, found in vars(service).items()
            if isinstance(found, Room)
            for name in vars(type(found))
            if not name.startswith("_")
        }
    assert {method for _, method, *_ in CALLS} == methods


@pytest.mark.parametrize(("operation", "method", "arguments", "members"), CALLS)
def test_a_call_sends_what_is_described(operation, method, arguments, members):
    request, _ = make(operation, method, arguments, members)
    verb, path = operation.split(" ")
    url = urlsplit(str(request.url))
    assert request.method == verb
    assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), url.path)
    parameters = OPERATIONS[operation].get("parameters", [])
    told = {each["name"] for each in parameters if each["in"] == "query"}
    assert set(parse_qs(url.query)) == told - {"cursor"}
    assert ("Idempotency-Key" in request.headers) == ("Idempotency-Key" in {each["name"] for each in parameters})
    assert ("Authorization" in request.headers) == ("security" in OPERATIONS[operation])
    assert ("X-Forwarded-For" in request.headers) == path.startswith("/public/")


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_all_members_of_a_body_can_be_sent(operation):
    bodies = [make(*call)[0].content for call in CALLS if call[0] == operation]
    sent = {name for body in bodies if body for name in json.loads(body)}
    told = OPERATIONS[operation].get("requestBody")
    schema = told["content"]["application/json"]["schema"] if told else {}
    properties = SCHEMAS[schema["$ref"].rpartition("/")[2]]["properties"] if schema else {}
    assert sent == set(properties)
    if operation == "POST /v1/messages/batch":
        [message] = json.loads(bodies[0])["messages"]
        assert set(message) == set(SCHEMAS["MessageIn"]["properties"])


@pytest.mark.parametrize(("operation", "method", "arguments", "members"), CALLS)
def test_an_answer_is_read_as_it_is_described(operation, method, arguments, members):
    _, found = make(operation, method, arguments, members)
    schema = described_answer(operation)
    if schema is None or schema["$ref"].endswith("/NothingOut"):
        assert found is None
        return
    name = schema["$ref"].rpartition("/")[2]
    if isinstance(found, list):
        name, found = SCHEMAS[name]["properties"]["data"]["items"]["$ref"].rpartition("/")[2], found[0]
    assert type(found).__name__ == generate.answer_name(name)
    assert {field.name for field in fields(found)} == set(SCHEMAS[name]["properties"])
    assert all(getattr(found, field.name) is not None for field in fields(found))


def test_words_in_signatures_are_those_that_are_described():
    described = {
        "tokens.verify": "LinkIn.purpose",
        "tokens.consume": "RedemptionIn.purpose",
        "public.ask": "MailWishIn.purpose",
        "public.verify": "LinkIn.purpose",
        "public.consume": "RedemptionIn.purpose",
        "suppressions.put": "SuppressionIn.reason",
    }
    with EmailService("https://mail.acme.example") as service:
        for method, place in described.items():
            room, name = method.split(".")
            schema, member = place.split(".")
            annotation = inspect.signature(getattr(getattr(service, room), name)).parameters[member].annotation
            literal = next((each for each in get_args(annotation) if get_args(each)), annotation)
            values = set(SCHEMAS[schema]["properties"][member]["enum"]) - {None}
            assert set(get_args(literal)) == values, method


def test_every_code_of_the_service_has_the_class_that_its_status_promises():
    promised = {
        401: problems.Unauthenticated,
        403: problems.ScopeMissing,
        404: problems.NotFound,
        409: problems.Conflict,
        422: problems.InvalidInput,
        429: problems.RateLimited,
        503: problems.Unavailable,
    }
    codes = error_codes()
    assert set(problems.CODES) <= set(codes)
    for code, status in codes.items():
        if not code.startswith("token_"):
            assert problems.CODES.get(code) is promised.get(status), code
    assert {problems.CODES[code] for code in codes if code.startswith("token_")} == {
        problems.TokenInvalid,
        problems.TokenExpired,
        problems.TokenUsed,
    }


def test_both_clients_have_the_same_rooms():
    async def rooms() -> set[str]:
        async with AsyncEmailService("https://mail.acme.example") as service:
            return set(vars(service))

    with EmailService("https://mail.acme.example") as service:
        assert set(vars(service)) == asyncio.run(rooms())


def test_what_a_newer_service_tells_besides_does_no_harm():
    told = {**sample(SCHEMAS["SuppressionOut"]), "reason": "brand_new", "another": 1}
    assert decode(answers.Suppression, told).reason == "brand_new"
