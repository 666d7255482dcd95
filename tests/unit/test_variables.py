"""How variables are judged and made harmless, and the colours of a brand."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import ValidationError

from email_service.kernel.errors import SettingsError
from email_service.rendering.colors import BLACK, COMFORTABLE, INK, NIGHT, READABLE, READABLE_LARGE, WHITE, contrast
from email_service.rendering.variables import (
    ONE_LINE,
    SIZE_LIMIT_BYTES,
    Brand,
    clean,
    compile_schema,
    find_faults,
    harden,
    is_web_link,
    unlink,
)

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "link"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 10, "pattern": ONE_LINE},
        "link": {"type": "string", "format": "uri"},
        "email": {"type": "string", "format": "email"},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "kind": {"enum": ["a", "b"]},
        "rows": {"type": "array", "items": {"type": "object", "properties": {"link": {"format": "uri"}}}},
        "a/b~c": {"type": ["string", "null"]},
    },
}
VALIDATOR = compile_schema(SCHEMA)
FINE = {"name": "Ada", "link": "https://example.com/"}


def faults(**changed: object) -> dict[str, str]:
    return {each.pointer: each.message for each in find_faults({**FINE, **changed}, VALIDATOR, SCHEMA)}


def test_fitting_variables_have_no_faults():
    assert faults(email="ada@example.com", count=9, kind="a", rows=[{"link": "http://localhost:3000/x"}]) == {}


def test_missing_mistyped_and_unknown_variables_are_named_together():
    found = {each.pointer: each.message for each in find_faults({"count": "1", "foo": 1}, VALIDATOR, SCHEMA)}
    assert found == {
        "/variables/name": "is required",
        "/variables/link": "is required",
        "/variables/count": "has to be a whole number",
        "/variables/foo": ("is not a variable of this template; known: name, link, email, count, kind, rows, a/b~c"),
    }


@pytest.mark.parametrize(
    ("name", "value", "pointer", "sentence"),
    [
        ("name", "", "name", "may not be empty"),
        ("name", "x" * 11, "name", "may have at most 10 characters"),
        ("name", "Ada\r\nBcc: x", "name", "may not hold line breaks or control characters"),
        ("name", "Ada\u2028", "name", "may not hold line breaks or control characters"),
        ("name", None, "name", "has to be a string"),
        ("link", "/path", "link", "has to be an absolute http or https link"),
        ("link", "javascript:alert(1)", "link", "has to be an absolute http or https link"),
        ("email", "ada", "email", "has to be an email address"),
        ("count", 10, "count", "may be at most 9"),
        ("count", True, "count", "has to be a whole number"),
        ("kind", "c", "kind", 'has to be one of "a", "b"'),
        ("rows", [{}, {"link": "x"}], "rows/1/link", "has to be an absolute http or https link"),
        ("a/b~c", 1, "a~1b~0c", "has to be null or a string"),
    ],
)
def test_each_fault_is_a_sentence_without_the_value(name, value, pointer, sentence):
    assert faults(**{name: value}) == {f"/variables/{pointer}": sentence}


PINNED = {
    "type": "object",
    "properties": {"link": {"type": "string", "format": "uri", "hosts": ["app.example.com", "example.org"]}},
}


@pytest.mark.parametrize(
    "link", ["https://app.example.com/x", "HTTPS://App.Example.Com:8443", "http://example.org/#a@b"]
)
def test_a_link_may_lead_to_the_hosts_that_it_is_pinned_to(link):
    assert find_faults({"link": link}, compile_schema(PINNED), PINNED) == []


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/",
        "https://evil.example/app.example.com",
        "https://app.example.com.evil.example/",
        "https://xapp.example.com/",
        "https://app.example.com./",
        "https://\uff41pp.example.com/",
        "https://evil.example#app.example.com",
    ],
)
def test_a_pinned_link_leads_nowhere_else(link):
    """T18, T22."""
    (fault,) = find_faults({"link": link}, compile_schema(PINNED), PINNED)
    assert (fault.pointer, fault.message) == ("/variables/link", "has to lead to app.example.com or example.org")


def test_a_pinned_link_that_is_none_has_one_fault():
    (fault,) = find_faults({"link": "javascript://app.example.com"}, compile_schema(PINNED), PINNED)
    assert fault.message == "has to be an absolute http or https link"


@pytest.mark.parametrize("hosts", [[], "example.com", ["https://example.com"], ["Example.com"], [1, ""]])
def test_hosts_that_are_none_are_refused(hosts):
    with pytest.raises(ValidationError, match="hosts is a list of names"):
        compile_schema({"properties": {"link": {"hosts": hosts}}})


def test_variables_that_are_too_large_are_refused():
    """T22: a template is no relay for somebody's own text."""
    schema = {"type": "object", "additionalProperties": False, "required": [], "properties": {"text": {}}}
    validator = compile_schema(schema)
    frame = len('{"text": ""}')
    assert find_faults({"text": "x" * (SIZE_LIMIT_BYTES - frame)}, validator, schema) == []
    (fault,) = find_faults({"text": "x" * (SIZE_LIMIT_BYTES - frame + 1)}, validator, schema)
    assert (fault.pointer, fault.message) == ("/variables", "may be at most 256 kB in all, as JSON")
    assert find_faults({"text": "\u00e9" * (SIZE_LIMIT_BYTES // 2)}, validator, schema)


def test_what_no_mail_can_carry_is_refused():
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    assert "surrogate" in faults(name="\ud800")["/variables"]
    assert "nested" in faults(name=deep)["/variables"]
    assert "JSON" in faults(count=float("nan"))["/variables"]
    assert "JSON" in faults(name=b"Ada")["/variables"]


def test_the_faults_of_hostile_variables_are_bounded():
    found = find_faults({"x" * 5_000 + str(number): 1 for number in range(40)} | {"y/~" * 9: 1}, VALIDATOR, SCHEMA)
    assert len(found) <= 50
    assert max(len(each.pointer) for each in found) < 200
    many = {f"x{number}": 1 for number in range(1_000)}
    assert len(find_faults(many, VALIDATOR, SCHEMA)) == 50


@pytest.mark.parametrize(
    "link",
    [
        "https://example.com",
        "HTTP://example.com:8080/a?b=c&d=%20#e",
        "https://app.example.com/reset?token={token}",
        "https://[::1]:8000/",
        "https://m\u00fcnchen.example/",
    ],
)
def test_web_links_are_taken(link):
    assert is_web_link(link)


@pytest.mark.parametrize(
    "link",
    [
        "",
        "//example.com",
        "example.com",
        "javascript:alert(1)",
        "JaVaScRiPt://example.com/%0aalert(1)",
        "data:text/html,x",
        "ftp://example.com",
        "https:example.com",
        "https:///path",
        "https://good.example@evil.example/",
        "https://evil.example\\@good.example/",
        "https://example.com:99999/",
        "https://[::1/",
        'https://example.com/"onclick="x',
        "https://example.com/<b>",
        "https://exa mple.com/",
        "https://example.com/\r\nX: y",
        "https://example.com/\u202egpj",
        " https://example.com/",
        "https://example.com/\n",
        "https://example.com/" + "x" * 5_000,
    ],
)
def test_what_parsers_disagree_about_is_no_web_link(link):
    """T22, T18."""
    assert not is_web_link(link)


def test_controls_and_direction_overrides_do_not_survive_cleaning():
    """T22."""
    hostile = "a\x00b\x1bc\x7f\x85d\u202ee\u2066f\u2069g\r\nh\ri\tj"
    assert clean({"name": hostile, "x": [hostile]}, SCHEMA) == {"name": "abcdefg\nh\ni\tj", "x": ["abcdefg\nh\ni\tj"]}
    assert clean("a\x00b\x1bc\x7f\r\nd\re\tf", {}) == "abc\nd\ne\tf"


@given(
    st.recursive(st.text() | st.integers() | st.none(), lambda each: st.lists(each) | st.dictionaries(st.text(), each))
)
def test_both_forms_together_are_what_each_of_them_is(value):
    """T22."""
    values = {"name": value, "email": "ada@b.example", "link": "https://a.example/x.y", "rows": [{"x": value}]}
    assert harden(values, SCHEMA) == (clean(values, SCHEMA), unlink(values, SCHEMA))


@pytest.mark.parametrize(
    "name",
    [
        "evil.example",
        "http://evil.example/x",
        "x@evil.example",
        "https://1.2.3.4/",
        "www.evil.example",
        "evil\u3002com",
        "http://localhost",
        "ada@localhost",
        "localhost.localdomain",
    ],
)
def test_a_display_name_cannot_become_a_link(name):
    """T22."""
    told = unlink({"name": name}, SCHEMA)["name"]
    assert told.replace("\u200c", "") == name != told
    assert "://" not in told
    assert ".e" not in told
    assert not re.search("@[a-z]", told)
    assert "\u3002c" not in told
    assert clean({"name": name}, SCHEMA)["name"] == name


@pytest.mark.parametrize("name", ["Ada", "12.50", "3.11 - 4", "Dr. Who", "a: b", "Zo\u00eb"])
def test_ordinary_words_stay_as_they_are(name):
    assert unlink(name, {}) == name


def test_declared_links_and_addresses_stay_whole():
    values = {"link": "https://a.example/x.y", "email": "ada@b.example", "rows": [{"link": "https://c.example/"}]}
    assert unlink(values, SCHEMA) == values


def test_only_json_and_only_web_links_reach_a_template():
    with pytest.raises(TypeError, match="object"):
        clean({"name": object()}, SCHEMA)
    with pytest.raises(ValueError, match="link"):
        clean({"link": "javascript:alert(1)"}, SCHEMA)


@pytest.mark.parametrize(
    ("color", "ink", "link"),
    [("#2563eb", "#ffffff", "#2563eb"), ("#fbbf24", "#111827", "#111827"), ("#000000", "#ffffff", "#000000")],
)
def test_words_on_the_brands_colour_are_readable(color, ink, link):
    seen = Brand(name="Acme", color=color, frontend_url="https://example.com").as_variables()
    assert (seen["on_color"], seen["link_color"]) == (ink, link)


@pytest.mark.parametrize("end", [None, "#000000", "#ffffff", "#7c3aed", "#fbbf24", "#777777"])
@pytest.mark.parametrize("color", ["#2563eb", "#fbbf24", "#000000", "#ffffff", "#777777", "#7c8691", "#1f4fd8"])
def test_every_brand_can_be_read_by_day_and_by_night_or_is_refused(color, end):
    """WCAG 2.2, 1.4.3."""
    try:
        seen = Brand(name="Acme", color=color, color_end=end, frontend_url="https://example.com").as_variables()
    except SettingsError:
        best = max(min(contrast(ink, color), contrast(ink, end)) for ink in (WHITE, INK, BLACK))
        assert best < READABLE_LARGE
        return
    assert contrast(seen["on_color"], seen["color"]) >= READABLE
    assert min(contrast(seen["on_colors"], seen[each]) for each in ("color", "color_end")) >= READABLE_LARGE
    assert contrast(seen["link_color"], WHITE) >= READABLE
    assert contrast(seen["night_link_color"], NIGHT) >= COMFORTABLE


@pytest.mark.parametrize(
    ("one", "other", "ratio"), [("#000000", "#ffffff", 21), ("#777777", "#ffffff", 4.48), ("#ffffff", "#ffffff", 1)]
)
def test_contrast_is_the_one_of_the_standard(one, other, ratio):
    assert contrast(one, other) == contrast(other, one) == pytest.approx(ratio, abs=0.005)


@pytest.mark.parametrize("color", ["red", "#fff", "#12345g", "#123456;x", "#123456\n"])
def test_a_colour_that_is_none_is_refused(color):
    with pytest.raises(SettingsError, match="#2563eb"):
        Brand(name="Acme", color=color, frontend_url="https://example.com")
    with pytest.raises(SettingsError, match="#2563eb"):
        Brand(name="Acme", color_end=color, frontend_url="https://example.com")
