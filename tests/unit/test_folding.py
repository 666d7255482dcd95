"""Templates made short when they are loaded: what they write is what plain inheritance and plain values write."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinja2 import nodes
from jinja2.exceptions import TemplateError

from email_service.rendering.files import Files
from email_service.rendering.sandbox import Sandbox, SwiftSandbox

BRAND = {"name": "Acme & Sons", "logo_url": None, "color": "#2563eb"}
VALUES = {"name": "<Ada>", "rows": ["x", "y"], "brand": BRAND, "locale": "en"}

FATHER = """{% set word = 'father' %}{% from 'words.EXT' import say %}
{% block one %}one {{ word }}{% endblock %}{% if brand.logo_url %}logo {% block two %}2{% endblock %}{% endif %}
{% block three %}<{% block four %}four{% endblock %}>{% endblock %}{{ title|default('none') }}{{ say(word) }}
{% if brand.name %}{{ brand.name }}{% set chosen = 1 %}{% else %}{% set chosen = 2 %}{% endif %}{{ chosen }}"""

CHILDREN = [
    "{% extends 'father.EXT' %}",
    "{% extends 'father.EXT' %}{% block one %}{{ name }} {{ brand.color }} {{ word }}{% endblock %} lost",
    "{% extends 'father.EXT' %}{% set title = name %}{% set word = 'child' %}{% block four %}{{ word }}{% endblock %}",
    "{% extends 'father.EXT' %}{% block one %}{% set word = 'own' %}{{ word }}{% endblock %}",
    "{% extends 'father.EXT' %}{% block three %}{% block four %}inner{% endblock %}{% endblock %}",
    "{% extends 'father.EXT' %}{% from 'words.EXT' import say as tell %}{% block one %}{{ tell(name) }}{% endblock %}",
    "{% extends 'son.EXT' %}{% block one %}grandchild{% endblock %}{% block four %}{{ deep }}{% endblock %}",
    "{% extends 'son.EXT' %}{% set deep = 'deeper' %}{% block five %}five{% endblock %}",
    "{% set brand = {'name': 'mine'} %}{{ brand.name }}{% if brand.name %}yes{% endif %}",
    "{% for brand in rows %}{{ brand }}{% endfor %}{{ brand.name }}",
    "{{ brand.name }}{{ brand.logo_url }}{{ 1 }}{{ none }}{{ '<' }}{{ 1.5 }}{{ brand['name'] }}{{ brand.name ~ name }}",
    "{% if not brand.logo_url %}a{% elif brand.name %}b{% endif %}{% if brand.logo_url %}c{% elif name %}d{% endif %}",
    "{% if brand.logo_url %}{% set x = 1 %}{% endif %}{{ x is defined }}{% if brand.name %}{% endif %}",
    "{% from 'words.EXT' import branded %}{{ branded() }}",
    "{{ locale }}{{ direction }}{{ locale[:1] }}{% if direction == 'ltr' %}left{% endif %}{% if locale %}x{% endif %}",
    "{% set locale = name %}{{ locale }}{% for direction in rows %}{{ direction }}{% endfor %}{{ direction }}",
    "{% from 'words.EXT' import say as brand %}{{ brand(name) }}",
    "{% macro locale(x) %}{{ x }}{% endmacro %}{{ locale(1) }}",
    "{% from 'words.EXT' import branded as locale %}{{ locale() }}",
]
# What would not be the same, or is not plain to see to be.
REFUSED = [
    "{% extends 'father.EXT' %}{% block three %}{% block one %}twice{% endblock %}{% endblock %}",
    "{% extends 'father.EXT' %}{% block one %}{{ super() }}!{% endblock %}",
    "{% extends 'father.EXT' %}{% block one %}{{ self.three() }}{% endblock %}",
    "{% extends 'father.EXT' %}{% macro m(brand) %}{{ brand }}{% endmacro %}{% block one %}{{ m(1) }}{% endblock %}",
    "{% extends 'father.EXT' %}{{ name.nothing }}",
    "{% extends 'father.EXT' %}{% include 'words.EXT' %}",
    "{% if name %}{% extends 'father.EXT' %}{% endif %}{% block one %}maybe{% endblock %}",
    "before {% extends 'father.EXT' %}",
    "{% extends 'fa' ~ 'ther.EXT' %}{% block one %}x{% endblock %}",
    "{% extends 'looped.EXT' %}{% block each %}[{{ row }}]{% endblock %}",
    "{% extends 'turned.EXT' %}{% block each %}[{{ row|default('not seen') }}]{% endblock %}",
    "{% extends 'looped.EXT' %}{% block scoped %}[{{ row }}]{% endblock %}",
    "{% extends 'own.EXT' %}",
    "{% extends 'father.ELSE' %}",
    "{% extends 'nowhere.EXT' %}",
]


def write_files(folder: Path, extension: str, child: str) -> str:
    other = {"html": "txt", "txt": "html"}[extension]
    files = {
        "father": FATHER,
        "son": "{% extends 'father.EXT' %}{% set deep = 'deep' %}"
        "{% block three %}son {% block five %}5{% endblock %}{% block four %}4{% endblock %}{% endblock %}",
        "looped": "{% for row in rows %}{% block each %}{% endblock %}"
        "{% block scoped scoped %}{{ row }}{% endblock %}{% endfor %}",
        "turned": "{% for row in rows %}{% block each %}{% endblock %}{% endfor %}",
        "words": "{% macro say(x) %}({{ x }}){% endmacro %}{% macro branded() %}{{ brand.name }}{% endmacro %}",
        "own": "{% extends 'own.EXT' %}",
        "child": child,
    }
    for name, source in files.items():
        (folder / f"{name}.{extension}").write_text(source.replace("EXT", extension).replace("ELSE", other))
    (folder / f"father.{other}").write_text("other")
    return f"child.{extension}"


def written(sandbox: Sandbox, path: str, values: Mapping[str, Any]) -> str | None:
    sandbox.meter.steps = sandbox.meter.work = 0
    try:
        return sandbox.get_template(path).render(values)
    except (TemplateError, RecursionError):
        return None


@pytest.mark.parametrize("extension", ["html", "txt"])
@pytest.mark.parametrize(
    ("child", "is_short"), [*((each, True) for each in CHILDREN), *((each, False) for each in REFUSED)]
)
def test_a_short_template_writes_what_the_long_one_writes_or_nothing(tmp_path, child, is_short, extension):
    path = write_files(tmp_path, extension, child)
    for values in (VALUES, {**VALUES, "title": "T"}):
        plain = written(Sandbox(Files(tmp_path), BRAND), path, values)
        assert written(SwiftSandbox(Files(tmp_path), BRAND), path, values) == (plain if is_short else None)


def test_blocks_and_constants_are_gone(tmp_path):
    trees: list[nodes.Template] = []
    path = write_files(tmp_path, "html", CHILDREN[2].replace("{% set title = name %}", ""))
    SwiftSandbox(Files(tmp_path), BRAND, trees.append).get_template(path)
    names = {each.name for each in trees[-1].find_all(nodes.Name)}
    assert not list(trees[-1].find_all((nodes.Block, nodes.Extends)))
    assert "brand" not in names
    assert "word" in names


STATEMENTS = [
    "{% set a = name %}",
    "{% set a = a|default('d') ~ '.' %}",
    "{{ a|default('-') }}",
    "{% block x %}x{{ a|default('-') }}{% endblock %}",
    "{% block x %}{% set a = 'in x' %}{{ a }}{% endblock %}",
    "{% block y %}y{% endblock %}",
    "{% block y %}{% block z %}z{% endblock %}{% endblock %}",
    "{% block z %}{{ super() }}{% endblock %}",
    "{% if brand.name %}{{ brand.name }}{% set a = 'b' %}{% endif %}",
    "{% if brand.logo_url %}{% block w %}w{% endblock %}{% endif %}",
    "{% for a in rows %}{{ a }}{% endfor %}",
    "{% from 'words.html' import say as a %}",
    "{% include 'words.html' %}",
    "{% include 'shown.html' %}",
    "{% macro a() %}m{% endmacro %}",
    "words ",
]
SOURCES = st.lists(st.sampled_from(STATEMENTS), max_size=5).map("".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(SOURCES, SOURCES, SOURCES)
def test_any_inheritance_writes_what_it_would_have_written(tmp_path, eldest, middle, youngest):
    folder = Path(mkdtemp(dir=tmp_path))
    write_files(folder, "html", "")
    (folder / "shown.html").write_text("[{{ a|default('-') }}]")
    (folder / "eldest.html").write_text(eldest)
    (folder / "middle.html").write_text("{% extends 'eldest.html' %}" + middle)
    (folder / "youngest.html").write_text("{% extends 'middle.html' %}" + youngest)
    swift, plain = SwiftSandbox(Files(folder), BRAND), Sandbox(Files(folder), BRAND)
    for path in ("youngest.html", "middle.html", "eldest.html"):
        expected = written(plain, path, VALUES)
        assert written(swift, path, VALUES) in {expected, None}


def test_the_files_are_read_from_the_folder_only(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret.html").write_text("secret")
    (tmp_path / "inner" / "child.html").write_text("{% extends '../secret.html' %}")
    assert written(SwiftSandbox(Files(tmp_path / "inner"), BRAND), "child.html", VALUES) is None
