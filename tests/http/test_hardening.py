"""The edge: which hosts, which half of the API, which origins, which headers, and whether the instance is well."""

import pytest

from tests.applications import Api

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
INTERNAL = [
    "/v1/messages",
    "/v1/templates",
    "/v1/templates/welcome",
    "/openapi.json",
    "/docs",
    "/inbox",
    "/inbox/messages",
]
EVIL = "https://evil.example"
GOOD = "https://app.example.com"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/templates"),
        ("GET", "/v1/messages"),
        ("GET", "/nothing"),
        ("PUT", "/v1/messages"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/openapi.json"),
        ("POST", "/v1/messages"),
        ("OPTIONS", "/v1/messages"),
    ],
)
def test_every_answer_carries_the_security_headers(api, method, path):
    """T10"""
    response = api.request(method, path)
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS


def test_no_answer_sets_a_cookie_or_names_its_software(api):
    """T12, CVE-2023-30861"""
    for response in (api.get("/v1/templates"), api.get("/nothing"), api.send(), api.get("/docs"), api.get("/inbox")):
        assert "Set-Cookie" not in response.headers
        assert "X-Powered-By" not in response.headers


@pytest.mark.parametrize("host", ["evil.example", "api.example.com.evil.example", "", "api.example.com@evil.example"])
def test_a_host_that_is_not_ours_is_400(house, reopen, host):
    """T17"""
    api = Api(reopen(TRUSTED_HOSTS="api.example.com"), house.add_client(), environ={"HTTP_HOST": host})
    response = api.get("/v1/templates")
    assert (response.status_code, response.content_type) == (400, "application/problem+json")
    assert response.json["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize("host", ["api.example.com", "api.example.com:8443", "eu.sub.example.net"])
def test_our_own_hosts_are_served(house, reopen, host):
    """T17"""
    trusted = reopen(TRUSTED_HOSTS="api.example.com,.sub.example.net")
    assert Api(trusted, house.add_client(), environ={"HTTP_HOST": host}).get("/v1/templates").status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-Host", "X-Host", "Forwarded", "X-Original-URL", "X-Rewrite-URL"])
def test_no_header_turns_the_host_or_the_path(house, reopen, header):
    """T17: even behind a trusted proxy the host is only what the Host header says."""
    proxied = reopen(TRUSTED_HOSTS="api.example.com", TRUSTED_PROXY_COUNT="1")
    api = Api(proxied, house.add_client(), environ={"HTTP_HOST": "api.example.com"})
    response = api.get("/v1/templates", headers={header: "evil.example"})
    assert (response.status_code, "evil.example" in response.text) == (200, False)


def test_the_host_header_reaches_no_mail(api):
    """T17"""
    Api(api.house, api.key, environ={"HTTP_HOST": "evil.example"}).send()
    api.house.deliver()
    assert b"evil.example" not in api.house.captured()[0].source


@pytest.mark.parametrize("path", INTERNAL)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_public_instance_serves_nothing_internal(house, reopen, path, method):
    """T30: with a good key too, and without telling that it would exist elsewhere."""
    api = Api(reopen(EXPOSE="public"), house.add_client())
    response = api.request(method, path)
    assert (response.status_code, response.json["code"]) == (404, "not_found")


@pytest.mark.parametrize("expose", ["all", "internal"])
def test_another_instance_serves_the_internal_api(house, reopen, expose):
    """T30"""
    api = Api(reopen(EXPOSE=expose), house.add_client())
    assert {path: api.get(path).status_code for path in INTERNAL} == dict.fromkeys(INTERNAL, 200)


@pytest.mark.parametrize("expose", ["all", "internal", "public"])
def test_every_instance_says_whether_it_is_well(house, reopen, expose):
    api = Api(reopen(EXPOSE=expose), "")
    assert api.get("/healthz").json == {"status": "ok"}
    ready = api.get("/readyz")
    assert (ready.status_code, ready.json["status"], ready.json["checks"]["database"]) == (200, "ok", "ok")


def test_an_instance_without_its_database_is_alive_and_not_ready(house, reopen):
    """F4"""
    api = Api(reopen(database_url="postgresql://nobody@127.0.0.1:1/nothing"), "")
    assert api.get("/healthz").status_code == 200
    ready = api.get("/readyz")
    assert (ready.status_code, ready.json["checks"]["database"]) == (503, "unavailable")


def test_an_instance_whose_database_was_never_migrated_is_not_ready(house, reopen, tmp_path):
    api = Api(reopen(database_url=f"sqlite:///{tmp_path / 'empty.db'}"), "")
    assert api.get("/readyz").status_code == 503


@pytest.mark.parametrize("path", ["/v1/templates", "/v1/messages", "/healthz", "/inbox/messages"])
@pytest.mark.parametrize("origin", [GOOD, EVIL, "null"])
def test_no_page_of_another_origin_reads_the_internal_api(house, reopen, path, origin):
    api = Api(reopen(CORS_ALLOWED_ORIGINS=GOOD), house.add_client())
    response = api.get(path, headers={"Origin": origin})
    assert [name for name, _ in response.headers if name.startswith("Access-Control-")] == []


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [(GOOD, True), (EVIL, False), ("null", False), (f"{GOOD}.evil.example", False), ("http://app.example.com", False)],
)
def test_only_the_origins_on_the_list_read_the_public_api(house, reopen, origin, is_allowed):
    cors = Api(reopen(CORS_ALLOWED_ORIGINS=f"{GOOD},https://other.example.com"), "")
    response = cors.get("/public/v1/tokens", headers={"Origin": origin})
    assert response.headers.get("Access-Control-Allow-Origin") == (origin if is_allowed else None)
    assert "Access-Control-Allow-Credentials" not in response.headers


def test_without_a_list_no_origin_reads_anything(api):
    response = api.get("/public/v1/tokens", headers={"Origin": GOOD})
    assert "Access-Control-Allow-Origin" not in response.headers


def test_the_inbox_is_there_only_while_mail_is_captured(house, reopen):
    """T30"""
    sending = reopen(MAIL_SERVER="127.0.0.1", MAIL_DEFAULT_SENDER="shop@example.com")
    for path in ("/inbox", "/inbox/messages"):
        assert Api(sending, "").get(path).status_code == 404
        assert Api(house, "").get(path).status_code == 200
