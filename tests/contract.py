"""The published description of the API as what makes up requests and judges answers (schemathesis).

Knows no pytest. Requests that fit the description are led to what exists, for chance finds no message by its id.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.core.parameters import ParameterLocation
from schemathesis.openapi import from_path

from email_service.delivery.transport import Outcome, Phase, Report
from email_service.kernel import clock
from email_service.kernel.errors import NotFoundError
from tests import fuzzing
from tests.applications import Api, House

SNAPSHOT = Path(__file__).parent / "http" / "openapi.json"
_QUOTAS = ("API_RATE_LIMIT", "PUBLIC_RATE_LIMIT", "PUBLIC_ISSUE_LIMIT_PER_IP", "PUBLIC_ISSUE_LIMIT_PER_EMAIL")
NO_QUOTAS = dict.fromkeys((*_QUOTAS, "PUBLIC_REDEEM_FAILURE_LIMIT"), "1000000/minute")
# What any call may answer to a request that is none, or in a bad moment; the description says `default` to it.
ANYWHERE = {"malformed_body", "unsupported_media_type", "body_too_large", "unavailable"}
# What is said where there is no route: a line break or a slash in a path may lead there, before anybody asks for a key.
NOWHERE = NotFoundError().detail
ADA, SUPPRESSED, SUBJECT = "ada@example.com", "eve@example.com", "ada"
REFUSED = Report(outcome=Outcome.REFUSED, phase=Phase.MAIL, code=550, reply="no")

_ADDRESSES = {"to", "from", "reply_to", "email", "recipient"}
# What has rules that no description says; it stays as it is in every third request.
_INTRICATE = {"attachments", "bcc", "cc", "claims", "context", "force", "headers", "ip", "lane", "locale", "variables"}


@dataclass
class Door:
    """The application that is asked at present: schemathesis wants one before there is any."""

    house: House | None = None

    def __call__(self, environ: Any, start_response: Any) -> Any:
        assert self.house is not None
        return self.house.app(environ, start_response)


@dataclass
class Known:
    """What exists in a house, for requests to be about."""

    api: Api  # of a client that may do everything
    count: int = 0
    later: str = ""
    messages: list[str] = field(default_factory=list)
    tokens: list[tuple[str, str]] = field(default_factory=list)  # purpose and secret
    refresh_tokens: list[str] = field(default_factory=list)

    def renew(self) -> None:
        """Let there be one of everything again, whatever became of the ones before."""
        for path, body in ((f"/v1/accounts/{SUBJECT}", {"email": ADA}), (f"/v1/suppressions/{SUPPRESSED}", {})):
            self.api.request("PUT", path, json=body)
        self.later = clock.written(clock.now() + timedelta(days=1))
        self.messages = [self.api.send(**times).json["id"] for times in ({}, {"send_at": self.later}) * 2]
        for lease in self.api.house.claim():
            self.api.house.conclude(lease, REFUSED)
        orders = [
            {"purpose": each, "subject": SUBJECT, "deliver": False} for each in ("password_reset", "email_change")
        ]
        self.tokens = [(each["purpose"], self.api.post("/v1/tokens", json=each).json["token"]) for each in orders]
        starts = [self.api.post("/v1/sessions", json={"subject": SUBJECT}) for _ in range(3)]
        self.refresh_tokens = [each.json["refresh_token"] for each in starts]

    def lead(self, case: schemathesis.Case) -> None:
        """Turn two of three requests that fit the description to what exists; the third stays as chance made it."""
        self.count += 1
        if not case.meta.is_negative_at(ParameterLocation.HEADER) and "Idempotency-Key" in case.headers:
            case.headers["Idempotency-Key"] = f"key-{self.count}"
        number = zlib.crc32(repr((case.path_parameters, case.query, case.body)).encode(errors="replace"))
        if case.meta.generation.mode.is_negative or number % 3 == 0:
            return
        which = number // 3
        _replace(case.path_parameters, {"message_id": _pick(self.messages, which), "subject": SUBJECT})
        _replace(case.path_parameters, {"name": "welcome", "email": SUPPRESSED})
        _replace(case.query, {**dict.fromkeys(_ADDRESSES, ADA), "subject": SUBJECT, "category": "*"})
        if which % 2:
            case.query.pop("cursor", None)
        if isinstance(case.body, dict):
            case.body = self._led(case.body, which)
            if case.operation.path.endswith("/render"):
                case.body["variables"] = {"name": "Ada"}

    def _led(self, body: Mapping[str, Any], which: int) -> dict[str, Any]:
        led = {name: value for name, value in body.items() if name not in _INTRICATE}
        purpose, token = _pick(self.tokens, which)
        _replace(led, {**dict.fromkeys(_ADDRESSES, ADA), "subject": SUBJECT, "purpose": purpose, "token": token})
        _replace(led, {"refresh_token": _pick(self.refresh_tokens, which), "send_at": self.later, "expires_at": None})
        if "token" in led:
            led = {"purpose": purpose, "token": token}
        if "template" in led:
            led |= {"template": "welcome", "variables": {"name": "Ada"}}
        if "messages" in led:
            led["messages"] = [self._led(each, which) for each in led["messages"]]
        return led


DOOR = Door()


def read(phases: Sequence[str], examples: int, mode: str = "all") -> Any:
    """The description, to be tried in these phases with this many examples for each call."""
    generation = {
        "mode": mode,
        "deterministic": not fuzzing.IS_LONG,
        "max-examples": fuzzing.EXAMPLES or examples,
        "database": "none",
        "with-security-parameters": False,
    }
    config = schemathesis.Config.from_dict(
        {
            "seed": fuzzing.SEED,
            "generation": generation,
            "phases": {phase: {"enabled": phase in phases} for phase in ("examples", "coverage", "fuzzing")},
            # A description cannot say which cursor a page gave, nor which variables a template takes.
            "checks": {"positive_data_acceptance": {"enabled": False}},
        }
    )
    description = from_path(SNAPSHOT, config=config)
    description.app = DOOR
    return description


def ask(case: schemathesis.Case, key: str | None) -> schemathesis.Response:
    """The answer to this request with this key; AssertionError unless the description has it for this call."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    response = case.call(app=DOOR, headers=headers)
    if case.operation.path == "/v1/messages/batch" and response.status_code == HTTPStatus.OK:
        # Each of its messages is judged by itself: what is wrong with one is an answer, not a refusal.
        case.meta.generation.mode = schemathesis.GenerationMode.POSITIVE
    case.validate_response(response, headers=headers, transport_kwargs={"app": DOOR, "headers": headers})
    if response.status_code >= HTTPStatus.BAD_REQUEST and case.method == case.operation.method.upper():
        problem = response.json()
        is_named = str(response.status_code) in case.operation.responses.status_codes or problem["code"] in ANYWHERE
        assert is_named or problem["detail"] == NOWHERE, f"{case.operation.label} does not say {problem}"
    return response


def _replace(given: dict[str, Any], known: Mapping[str, Any]) -> None:
    given.update({name: known[name] for name in known.keys() & given.keys()})


def _pick(choices: Sequence[Any], which: int) -> Any:
    return choices[which % len(choices)]
