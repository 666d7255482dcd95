"""The description of the API: unchanged unless somebody means it, and complete for every operation.

To renew the snapshot after a change that is meant: `RENEW_OPENAPI=1 make test ARGS=tests/http/test_openapi.py`, then
read the difference.
"""

import json
import os
import re
from pathlib import Path

import pytest

from email_service.clients.service import SCOPES

SNAPSHOT = Path(__file__).with_name("openapi.json")
RENEW = (
    "If this change is meant, run RENEW_OPENAPI=1 make test ARGS=tests/http/test_openapi.py and read the difference."
)


@pytest.fixture
def described(house, reopen):
    """As a fresh process describes itself."""
    response = reopen().app.test_client().get("/openapi.json")
    assert response.status_code == 200
    return response.json


@pytest.fixture
def operations(described):
    return {
        f"{method.upper()} {path}": operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    }


def test_the_description_is_the_one_that_was_agreed_on(described):
    written = json.dumps(described, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    # Python 3.13 gave 422 another name; what a component is called is no part of the contract.
    written = written.replace("UNPROCESSABLE_CONTENT", "UNPROCESSABLE_ENTITY")
    written = written.replace("Unprocessable Content", "Unprocessable Entity")
    if os.environ.get("RENEW_OPENAPI"):
        SNAPSHOT.write_text(written, encoding="utf-8")
    assert SNAPSHOT.exists(), f"There is no snapshot yet. {RENEW}"
    assert written == SNAPSHOT.read_text(encoding="utf-8"), RENEW


def test_it_is_openapi_3_1(described):
    assert described["openapi"].startswith("3.1.")
    assert described["components"]["securitySchemes"]["ApiKey"] == {"type": "http", "scheme": "bearer"}


def _described(rule: str) -> str:
    """A route's path as OpenAPI writes it."""
    return re.sub(r"<(?:[a-z]+:)?([a-z_]+)>", r"{\1}", rule)


def _is_public(operation: str) -> bool:
    return " /public/v1/" in operation


def test_every_route_of_the_api_is_described(house, operations):
    routes = [rule for rule in house.app.url_map.iter_rules() if rule.rule.startswith(("/v1/", "/public/v1/"))]
    served = {f"{method} {_described(rule.rule)}" for rule in routes for method in rule.methods - {"HEAD", "OPTIONS"}}
    assert set(operations) == served


def test_every_operation_says_what_it_does_and_which_scope_it_needs(operations):
    """T24"""
    for name, operation in operations.items():
        assert operation["summary"], name
        if _is_public(name):
            assert "security" not in operation, name
        else:
            assert operation["security"] == [{"ApiKey": []}], name
            assert any(f"`{scope}`" in operation["description"] for scope in SCOPES), name


def test_every_operation_describes_its_problems(described, operations):
    for name, operation in operations.items():
        told = {"429", "default"} if _is_public(name) else {"401", "403", "429", "default"}
        assert told <= set(operation["responses"]), name
        takes_input = "requestBody" in operation or "parameters" in operation
        assert "422" in operation["responses"] or not takes_input, name
    for response in described["components"]["responses"].values():
        schema = response["content"]["application/problem+json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ProblemOut"}


def test_a_real_problem_has_the_members_that_are_described(described, api):
    schema = described["components"]["schemas"]["ProblemOut"]
    problem = api.post("/v1/messages", json={}).json
    assert set(problem) == set(schema["properties"])
    assert set(schema["required"]) == set(problem) - {"errors"}


def test_a_real_message_has_the_members_that_are_described(described, api):
    schemas = described["components"]["schemas"]
    message = api.send().json
    assert set(message) == set(schemas["MessageOut"]["properties"])
    detail = api.get(f"/v1/messages/{message['id']}").json
    assert set(detail) == set(schemas["MessageDetailOut"]["properties"])


def test_it_names_no_server_and_loads_nothing_from_elsewhere(described):
    """T17, T30"""
    assert "servers" not in described
    assert "cdn" not in json.dumps(described).lower()
