"""Templates over HTTP: what there is, and how it looks with given variables, without sending anything."""

import pytest

SHOWN = {
    "name",
    "description",
    "category",
    "lane",
    "version",
    "locales",
    "variables_schema",
    "sample_variables",
    "unsubscribe",
}


def test_the_list_shows_every_template_with_what_it_needs(api):
    listed = api.get("/v1/templates").json
    assert listed["next_cursor"] is None
    names = [template["name"] for template in listed["data"]]
    assert names == sorted(names)
    assert {"welcome", "password-reset", "email-verification", "user-invitation"} <= set(names)
    assert all(set(template) == SHOWN for template in listed["data"])


def test_one_template_is_shown_as_in_the_list(api):
    for template in api.get("/v1/templates").json["data"]:
        assert api.get(f"/v1/templates/{template['name']}").json == template


def test_every_template_renders_and_sends_with_its_own_samples(api):
    for template in api.get("/v1/templates").json["data"]:
        variables = template["sample_variables"]
        rendered = api.post(f"/v1/templates/{template['name']}/render", json={"variables": variables})
        assert rendered.status_code == 200, rendered.text
        assert set(rendered.json) == {"subject", "html", "text", "version"}
        assert rendered.json["version"] == template["version"]
        assert api.send(template=template["name"], variables=variables).status_code == 202


def test_a_rendering_says_what_the_mail_will_say(api):
    rendered = api.post("/v1/templates/welcome/render", json={"variables": {"name": "Ada"}}).json
    api.send()
    api.house.deliver()
    [mail] = api.house.captured()
    assert mail.subject == rendered["subject"]
    said = rendered["text"].split()
    # A rendering is for nobody yet, so nobody can unsubscribe by it.
    assert (mail.text.split()[: len(said)], mail.text.split()[len(said)]) == (said, "Unsubscribe:")


def test_every_template_is_there_in_every_language(api):
    locales = ["en", "ar", "de", "es", "fr", "it", "ja", "nl", "pl", "pt-BR", "tr", "zh-Hans"]
    assert {tuple(each["locales"]) for each in api.get("/v1/templates").json["data"]} == {tuple(locales)}


@pytest.mark.parametrize(
    ("locale", "subject"),
    [
        ("de", "Willkommen bei Example App, Ada"),
        ("pt", "Boas-vindas a Example App, Ada"),
        ("zh-CN", "Ada\uff0c欢迎使用 Example App"),
        ("sw", "Welcome to Example App, Ada"),
        (None, "Welcome to Example App, Ada"),
    ],
)
def test_a_message_speaks_the_language_that_it_was_sent_with(api, locale, subject):
    body = {"variables": {"name": "Ada"}, "locale": locale}
    assert api.post("/v1/templates/welcome/render", json=body).json["subject"] == subject
    assert api.send(**body).status_code == 202
    api.house.deliver()
    assert [mail.subject for mail in api.house.captured()] == [subject]


def test_rendering_sends_nothing_and_keeps_nothing(api):
    api.post("/v1/templates/welcome/render", json={"variables": {"name": "Ada"}})
    assert api.house.deliver() == 0
    assert api.house.execute("SELECT count(*) FROM messages") == [(0,)]


def test_html_in_a_variable_stays_text(api):
    """T22"""
    name = '<a href="javascript:alert(1)">x</a>'
    rendered = api.post("/v1/templates/welcome/render", json={"variables": {"name": name}}).json
    assert '<a href="javascript' not in rendered["html"]
    assert "&lt;a href" in rendered["html"]


def test_a_variable_is_never_a_template(api):
    """T21"""
    rendered = api.post("/v1/templates/welcome/render", json={"variables": {"name": "{{ 7 * 7 }}{% raw %}"}}).json
    assert "49" not in rendered["subject"] + rendered["text"]
    assert "{{ 7 * 7 }}" in rendered["text"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/variables/name"),
        ({"variables": {"name": 7}}, "/variables/name"),
        ({"variables": {"name": "Ada", "x/y": 1}}, "/variables/x~1y"),
        ({"variables": []}, "/variables"),
        ({"variables": {"name": "Ada"}, "locale": 7}, "/locale"),
        ({"variables": {"name": "Ada"}, "to": "ada@example.com"}, "/to"),
    ],
)
def test_what_cannot_be_rendered_is_named_by_its_place(api, body, pointer):
    response = api.post("/v1/templates/welcome/render", json=body)
    assert response.status_code == 422
    assert {error["pointer"] for error in response.json["errors"]} == {pointer}


@pytest.mark.parametrize("path", ["/v1/templates/wellcome", "/v1/templates/_layout", "/v1/templates/..%2fwelcome"])
def test_a_template_that_is_not_there_is_404(api, path):
    for response in (api.get(path), api.post(f"{path}/render", json={})):
        assert (response.status_code, response.json["code"]) == (404, "not_found")


def test_a_404_suggests_the_name_that_comes_close(api):
    assert "'welcome'" in api.get("/v1/templates/wellcome").json["detail"]
