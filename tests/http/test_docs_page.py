"""The documentation page: complete in itself, and held to that by its policy."""

import hashlib
import re
from pathlib import Path

import pytest

from email_service.docs_page import routes

ASSETS = Path(routes.__file__).parent / "assets"
# What the viewer's own text mentions. The fonts are switched off by an attribute and refused by the policy; the rest
# are notices, examples and a dialect's name. Whoever renews the viewer has to look at any host that is not here.
MENTIONED = {
    "example.com",
    "fonts.gstatic.com",
    "github.com",
    "marked.js.org",
    "spec.openapis.org",
    "swagger.io",
    "vladimirgorej.com",
}


@pytest.fixture
def client(house):
    return house.app.test_client()


def hosts_in(text: str) -> set[str]:
    return set(re.findall(r"(?:https?:|wss?:|[\"'(=])//([a-z0-9-]+(?:\.[a-z0-9-]+)+)", text.lower()))


def test_the_page_draws_our_description_of_the_interface(client):
    response = client.get("/docs")
    assert response.status_code == 200
    assert response.mimetype == "text/html"
    assert 'spec-url="/openapi.json"' in response.text


def test_the_page_and_our_own_files_name_no_host(client):
    """T10: what is loaded comes from here, without any CDN."""
    page = client.get("/docs").text
    assert hosts_in(page) == set()
    files = re.findall(r'<(?:script|link)[^>]+(?:src|href)="([^"]+)"', page)
    assert sorted(files) == [
        "/docs/assets/docs.css",
        "/docs/assets/docs.js",
        "/docs/assets/rapidoc-min.js",
        "data:,",
    ]
    for path in files[1:]:
        answer = client.get(path, buffered=True)
        assert answer.status_code == 200
        assert path.endswith("rapidoc-min.js") or hosts_in(answer.text) == set()


def test_the_viewer_mentions_no_host_that_nobody_looked_at(client):
    """T10"""
    assert hosts_in(client.get("/docs/assets/rapidoc-min.js", buffered=True).text) == MENTIONED
    assert 'load-fonts="false"' in client.get("/docs").text


def test_the_policy_lets_nothing_come_from_or_go_to_another_host(client):
    """T10"""
    for path in ("/docs", "/docs/assets/docs.js"):
        parts = client.get(path, buffered=True).headers["Content-Security-Policy"].split("; ")
        assert {name: value for name, _, value in (part.partition(" ") for part in parts)} == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self' 'unsafe-inline'",
            "connect-src": "'self'",
            "img-src": "'self' data:",
            "form-action": "'none'",
            "base-uri": "'none'",
            "frame-ancestors": "'none'",
        }


def test_the_viewer_is_the_release_that_the_readme_names():
    viewer = (ASSETS / "rapidoc-min.js").read_bytes()
    readme = (ASSETS / "README.md").read_text()
    [version] = re.findall(rb"RapiDoc (\d+\.\d+\.\d+) \|", viewer[:200])
    assert f"RapiDoc {version.decode()}," in readme
    assert hashlib.sha256(viewer).hexdigest() in readme
    assert (ASSETS / "LICENSE.txt").read_text().startswith("MIT License")
