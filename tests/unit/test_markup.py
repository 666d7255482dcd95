"""Styles that are written into a template when it is loaded: each page is the one that css-inline would have made."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pages
import pytest
from css_inline import CSSInliner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_renderer import BRAND, build

from email_service.kernel.errors import RenderingError
from email_service.rendering.files import Files
from email_service.rendering.sandbox import Sandbox
from email_service.rendering.variables import unlink

CSS = """.a { color: #123456; margin: 0 }
i, u { padding: 1px 2px; color: green !important }
td.b, .b.c { border: 1px solid; font-family: "Two Words", serif }
/* a comment with div p {} in it */
"""
PAGE = "<!doctype html>\n<html>\n<head><title>{{ subject }}</title></head>\n<body>"
KEPT = '<style data-css-inline="keep">@media (max-width: 9px) {{ .a {{ color: red !important }} }}{}</style>'
NAME = 'Zo\u00eb "x" <b class=a>&amp; --> </title>{{ 1 }}'

# What stands in a page, and whether its styles can be known before any message is.
SHORT = [
    "<p class='a'>x</p>",
    "<P CLASS=a>{{ name }}",
    '<p class="a&#32;b  c" style="color: red; margin: 1px">x</p>',
    '<table><tr><td class="b">x<td class=a></table><tr><td class="a">',
    "<table><caption class=a>x</caption><colgroup class=a><col class=a></colgroup><thead class=a>",
    "<table><thead class=a><tr class=a><th class=a>x<tfoot class=a><tr><td class='c b'>y</table>",
    '<br class="a"/><img class=a alt=""><hr class="zzz">',
    '<a href="{{ name }}" class="a" title=\'{{ name|upper }}\'>{{ name }}</a>',
    '<em style="color: {{ name }}">no rule asks for it</em>',
    '<i class="a" style="color: {{ brand.color }}">{{ brand.nothing|default("x") }}</i>',
    "{% for x in name %}<p class=a>{{ loop.index }}</p>{% else %}<p>none</p>{% endfor %}",
    "{% if name %}<p class=a>{% else %}<p class=b>{% endif %}</p>",
    "{% macro m(x) %}<b class=a>{{ x }}</b>{% endmacro %}{{ m(name) }}{{ m('<p>') if name else m(1) }}",
    "{% macro m() %}<b class=a>{{ caller() }}</b>{% endmacro %}{% call m() %}<i class=a>{{ name }}</i>{% endcall %}",
    "{% set x %}{{ name }} and more{% endset %}<b class=a title='{{ x }}'>{{ x }}</b>",
    "{% include '_layout/part.html' %}",
    "{% from '_layout/part.html' import say %}{{ say(name) }}",
    "<!-- <p class=a> --><!--[if mso]><table><![endif]-->",
    "<p class=a>&nbsp;&#847;&amp;lt;p class=a&gt; &",
    KEPT.format(""),
    "{% raw %}<p class=a>{{ x }}</p>{% endraw %}",
    "<p class=a>{{ name }}</p><b title='<p class=a>'>",
    "</p></br><td></i>",
    "<p class=a><p class=a></b><b class=a><i class=a></b></i>",
    "",
]
LONG = [
    '<p class="{{ name }}">x</p>',
    '<p class="a{% if name %} b{% endif %}">x</p>',
    '<p{% if name %} class="a"{% endif %}>x</p>',
    '<p class="a" style="color: {{ name[:3] }}">x</p>',
    '<p class="a" {{ name }}>x</p>',
    "<{{ name }} class=a>x",
    '<p class="a" title={{ name }}>x</p>',
    '<p class="a" class="b">x</p>',
    "<p class=a data-css-inline=ignore>x</p>",
    "<style>p { left: 1px }</style><p>x",
    KEPT.format("p { top: 1px }") + "<p>",
    KEPT.format("p::after { content: '{'} .b { top: 1px } }") + "<p class=b>",
    '<style data-css-inline="keep">/* {{ name }} */</style><p>',
    '<link rel="stylesheet" href="x.css"><p class=a>',
    "<svg><p class=a></svg><p class=a>",
    "<textarea><p class=a></textarea><p class=a>",
    "<script>'<p class=a>'</script><p class=a>",
    "<noscript><p class=a></noscript>",
    "<template><p class=a></template>",
    "<pre class=a>\n\nx</pre>",
    "<body class=a><p>",
    "<!-- {{ name }} --><p class=a>",
    "<!-- <p class=a><p class=a>",
    "<p class=a><![CDATA[<p class=a>]]>",
    "<p class=a title='x",
    "<p class=a></p class=a><",
    "<p class=a>a < b",
    "<title><p class=a>{{ name }}</title>",
    "{% set x %}<b class=a>x</b>{% endset %}{{ x|length }}{{ x }}",
    "{% filter upper %}<b class=a>x</b>{% endfilter %}",
    "{% macro m() %}<b class=a>x</b>{% endmacro %}{{ m()|upper }}{{ m() ~ m() }}",
    "{% macro m() %}<b class=a>x</b>{% endmacro %}<p title='{{ m() }}'>",
    "{% macro m() %}<b class=a>x</b>{% endmacro %}{% set x = m() %}{{ x|length }}",
    "{% macro m(x) %}{{ x|length }}{% endmacro %}{% macro n() %}<b class=a>x</b>{% endmacro %}{{ m(n()) }}",
    "{% macro title() %}<b class=a>x</b>{% endmacro %}{% set x = title() %}{{ x|length }}",
    "{% macro m() %}<b class=a>x</b>{% endmacro %}{% set range = m %}{{ range()|length }}",
    "{% macro m() %}{{ caller()|length }}{% endmacro %}{% call m() %}<b class=a>x</b>{% endcall %}",
    "{% import '_layout/part.html' as part %}{{ part|string|length }}",
    "<p class=a>\U000f0000</p>",
    "<!-- \u2014 --><p class=a>",
]
COMPLEX = [
    "p { color: red }",
    "tbody, .a { color: red }",
    "body { margin: 0 }",
    "div p { color: red }",
    "div > p { color: red }",
    "p + p { color: red }",
    "* { color: red }",
    "#x { color: red }",
    "p[title] { color: red }",
    "p:first-child { color: red }",
    "@media all { p { color: red } }",
    ".a { color: red } @import 'x.css';",
]


def both_ways(folder: Path, source: str, css: str = CSS) -> tuple[str | None, str]:
    """The html that we make, or None if it fails, and what css-inline makes of what plain Jinja writes."""
    folder = Path(mkdtemp(dir=folder))
    (folder / "_layout").mkdir()
    (folder / "_layout" / "style.css").write_text(css)
    part = "{% macro say(x) %}<u class=a>{{ x }}</u>{% endmacro %}<p class='b c'>"
    (folder / "_layout" / "part.html").write_text(part)
    try:
        ours = build(folder, subject_txt="x", body_txt="x", body_html=source).render("hello", {"name": NAME}).html
    except RenderingError:
        return None, ""
    context = {"name": unlink(NAME, {}), "subject": "x", "locale": "en", "brand": BRAND.as_variables()}
    plain = Sandbox(Files(folder)).get_template("hello/body.html").render(context)
    return ours, CSSInliner(load_remote_stylesheets=False, extra_css=css).inline(plain)


def is_untouched(html: str) -> bool:
    """Whether css-inline, which writes a doctype in its own way, has not had this page."""
    return html.startswith(PAGE[:20])


@pytest.mark.parametrize(("source", "is_short"), [*((each, True) for each in SHORT), *((each, False) for each in LONG)])
def test_a_page_is_what_css_inline_makes_of_it(tmp_path, source, is_short):
    ours, theirs = both_ways(tmp_path, PAGE + source)
    assert ours is not None
    assert is_untouched(ours) == is_short
    assert pages.read(ours) == pages.read(theirs)


@pytest.mark.parametrize("css", COMPLEX)
def test_a_sheet_with_more_than_simple_selectors_is_inlined_for_each_message(tmp_path, css):
    source = PAGE + '<div><p class="a" id="x" title="y">x</p><p>y</p></div>'
    ours, theirs = both_ways(tmp_path, source, CSS + css)
    assert ours is not None
    assert not is_untouched(ours)
    assert pages.read(ours) == pages.read(theirs)


def test_less_than_a_page_is_completed(tmp_path):
    ours, theirs = both_ways(tmp_path, "<p class=a>x</p>")
    assert ours == theirs
    assert ours is not None
    assert ours.startswith("<html><head></head><body><p ")


def test_what_is_not_ascii_is_a_reference_where_that_is_no_longer_than_base64(tmp_path):
    ours, _ = both_ways(tmp_path, PAGE + "<p class=a>{{ name }}</p>")
    assert ours is not None
    assert ours.isascii()
    assert "Zo&#235;" in ours
    ours, _ = both_ways(tmp_path, PAGE + "\u65e5\u672c" * 500)
    assert ours is not None
    assert "\u65e5" in ours


def fragments() -> Iterator[str]:
    yield from (each for each in SHORT + LONG if "macro" not in each)
    yield from (
        "</p>",
        "</table>",
        "</div>",
        "<div class='a b'>",
        "{{ name }}",
        "\n",
        "</b></i>",
        "<select>",
        "</body>",
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.sampled_from(list(fragments())), max_size=6), st.sampled_from(["", *COMPLEX]))
def test_any_page_is_what_css_inline_makes_of_it(tmp_path, parts, css):
    ours, theirs = both_ways(tmp_path, PAGE + "".join(parts), CSS + css)
    if ours is not None:
        assert pages.read(ours) == pages.read(theirs)
