"""What a template may not do: reach Python, switch escaping off, or make much out of little (T21)."""

import time
from concurrent.futures import ThreadPoolExecutor
from resource import RUSAGE_SELF, getrusage

import pytest
from test_renderer import build, render

from email_service.kernel.errors import RenderingError

REACHING = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ name['__class__'] }}",
    "{{ brand.__class__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ config }}",
    "{{ request.environ }}",
    "{{ lipsum.__globals__['os'].environ }}",
    "{{ lipsum }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ cycler }}",
    "{{ joiner }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ range.__globals__ }}",
    "{{ dict(a=1) }}",
    "{{ get_flashed_messages }}",
    "{{ name.format(1) }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '{0.__class__}'.format_map({}) }}",
    "{{ ''|attr('__class__') }}",
    "{{ ['a']|map(attribute='__class__')|list }}",
    "{{ ['a', 'b']|sort(attribute='__class__')|first }}",
    "{{ ['{0.__class__}']|map('format', 1)|list }}",
    "{{ name|safe }}",
    "{{ name|tojson }}",
    "{{ name|xmlattr }}",
    "{% autoescape false %}{{ name }}{% endautoescape %}",
    "{% import 'os' as os %}{{ os }}",
    "{{ caller() }}",
    "{{ (1).to_bytes(9, 'big') }}",
    "{{ name.encode() }}",
    "{{ [].append(1) }}",
    "{{ brand.update({'name': 'x'}) }}",
    "{% set x = [] %}{{ x.extend([1]) }}",
    "{{ loop }}",
    "{% for x in [1] %}{{ loop.__init__.__globals__ }}{% endfor %}",
    "{% macro m() %}{% endmacro %}{{ m.__call__.__globals__ }}",
    "{{ (name ~ name).__html__.__globals__ }}",
    "{% debug %}",
    "{% do [].append(1) %}",
]

GROWING = [
    "{{ 'a' * 10**9 }}",
    "{{ 'a' * 1000000000 }}",
    "{{ 1000000000 * 'a' }}",
    "{{ [0] * 1000000000 }}",
    "{{ 10 ** 1000000000 }}",
    "{{ 2 ** 2 ** 2 ** 2 ** 2 ** 2 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ name.ljust(1000000000) }}",
    "{{ name.center(1000000000) }}",
    "{{ name|center(1000000000) }}",
    "{{ name|indent(1000000000) }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ name|replace('', name) }}",
    "{{ name.replace('', 'a' ~ name) }}",
    "{{ name.join(name) }}",
    "{{ 1|round(1000000000, 'ceil') }}",
    "{{ range(1000000000)|list }}",
    "{% for x in range(1000000000) %}x{% endfor %}",
    "{% for a in range(999) %}{% for b in range(999) %}{% for c in range(999) %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in range(999) %}{% for b in range(99) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
    "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "{% set ns = namespace(x=9) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}",
    "{% set ns = namespace(x='aa') %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x]|join(ns.x) %}{% endfor %}",
    "{% set ns = namespace(x='<') %}{% for i in range(99) %}{% set ns.x = ns.x|urlencode ~ ns.x|e %}{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% block b %}{{ self.b() }}{{ self.b() }}{% endblock %}",
    "{% for x in [[[]]] recursive %}{{ loop([[]]) }}{{ loop([[]]) }}{% endfor %}",
    "{% for a in range(900) recursive %}{% if loop.depth == 1 %}{{ loop(range(900)) }}{% endif %}{% endfor %}",
    "{% for a in range(900) %}{% for b in range(900)|unique %}{% endfor %}{% endfor %}",
    "{% for x in name %}{% for y in name %}{{ name }}{% endfor %}{% endfor %}",
]


@pytest.mark.parametrize("part", ["subject_txt", "body_html", "body_txt"])
@pytest.mark.parametrize("source", REACHING)
def test_a_template_cannot_reach_python_or_switch_escaping_off(tmp_path, source, part):
    """T21, CVE-2016-10745, CVE-2019-10906, CVE-2025-49136."""
    with pytest.raises(RenderingError) as caught:
        render(tmp_path, "<b>", **{part: "x" + source})
    assert f"hello/{part.replace('_', '.')}, line 1: " in caught.value.detail


@pytest.mark.parametrize("source", GROWING)
def test_a_template_cannot_make_much_out_of_little(tmp_path, source):
    """T21: the plain sandbox renders `{{ 'a' * 10**9 }}` into a gigabyte."""
    renderer = build(tmp_path, subject_txt="x", body_html=source)
    started, highest = time.thread_time(), getrusage(RUSAGE_SELF).ru_maxrss
    with pytest.raises(RenderingError, match=r"hello/body.html, line 1: "):
        renderer.render("hello", {"name": "x" * 2_000})
    assert time.thread_time() - started < 3
    assert getrusage(RUSAGE_SELF).ru_maxrss - highest < 64 * 1024  # kB


@pytest.mark.parametrize(("part", "limit"), [("body_html", 500_000), ("body_txt", 200_000)])
def test_a_part_ends_at_its_limit(tmp_path, part, limit):
    """T21."""
    other = {"body_html": "body_txt", "body_txt": "body_html"}[part]
    renderer = build(tmp_path, **{"subject_txt": "x", other: "x", part: "{% for x in name %}{{ x }}\n{% endfor %}"})
    row = "y" * 9_999
    rows = limit // 10_000
    found = renderer.render("hello", {"name": [row] * (rows - 1)})
    assert row in (found.html if part == "body_html" else found.text)
    with pytest.raises(RenderingError, match=f"writes more than {limit} characters"):
        renderer.render("hello", {"name": [row] * (rows + 1)})


def test_the_limit_counts_bytes(tmp_path):
    """T21."""
    with pytest.raises(RenderingError, match="bytes and may have 200000"):
        render(tmp_path, "\u20ac" * 70_000, body_txt="{{ name }}", body_html="", subject_txt="x")


def test_each_part_and_each_thread_has_its_own_bounds(tmp_path):
    renderer = build(
        tmp_path, body_txt="{% for x in range(900) %}{% for y in range(9) %}{% endfor %}{% endfor %}{{ name }}"
    )
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: renderer.render("hello", {"name": number}).text, range(40)))
    assert found == [str(number) for number in range(40)]


def test_what_a_mail_needs_still_works(tmp_path):
    source = (
        "{% macro row(x) %}[{{ x|upper }}]{% endmacro %}{% set total = namespace(sum=0) %}"
        "{% for each in name.rows %}{{ loop.index }}/{{ loop.length }}{{ row(each.title) }}"
        "{% set total.sum = total.sum + each.price * 2 %}{{ loop.cycle('a', 'b') }}{% endfor %}"
        "{{ total.sum }} {{ total.sum % 2 }} {{ name.rows|length }} {{ name.nothing|default('none') }} "
        "{{ ['x', 'y']|join(', ') }} {{ 'a' ~ 1 ~ 'b' }} {{ 'abc'.upper() }} {{ name.items }} {{ range(3)|join }} "
        "{% for key, value in name.map.items() %}{{ key }}={{ value }}{% endfor %}"
    )
    values = {"rows": [{"title": "one", "price": 2}, {"title": "two", "price": 3}], "items": "mine", "map": {"k": "v"}}
    assert render(tmp_path, values, body_txt=source).text == ("1/2[ONE]a2/2[TWO]b10 0 2 none x, y a1b ABC mine 012 k=v")
