"""`email-service template`: see, check and render what mail is made from."""

import json
import tempfile
import webbrowser
from pathlib import Path

import click

from email_service.app import create_brand
from email_service.cli import house
from email_service.cli.variables import parse_variables
from email_service.rendering import checks
from email_service.rendering.catalog import Catalog
from email_service.rendering.renderer import Renderer
from email_service.settings import load, resource


@click.group()
def template() -> None:
    """The templates that messages are made from."""


@template.command("list")
def list_() -> None:
    """Show every template with its lane and locales."""
    for each in house.parts(house.build()).get(Catalog):
        print(f"{each.name:20} {each.lane:14} {each.description} ({', '.join(each.locales)})")


@template.command()
def check() -> None:
    """Render every template in every locale and report what is wrong with it."""
    # Without the application, which refuses to start on a template that is wrong.
    findings = checks.check(resource("templates") / "email", create_brand(load()))
    for finding in findings:
        print(f"{finding.file}: {finding.message}")
    if findings:
        raise click.ClickException(f"{len(findings)} to mend; each line above names the template and the file.")
    print("All templates are right.")


@template.command()
@click.argument("name")
@click.option("--locale", help="Such as pt-BR; the template's own language if left out.")
@click.option("--var", "pairs", multiple=True, metavar="NAME=VALUE", help="A variable; without any, the samples.")
@click.option("--open", "is_opened", is_flag=True, help="Show the html in a browser.")
def render(name: str, locale: str | None, pairs: tuple[str, ...], is_opened: bool) -> None:
    """Print a rendered template as JSON, or open it in a browser."""
    parts = house.parts(house.build())
    found = parts.get(Catalog).get(name)
    variables = parse_variables(pairs) if pairs else found.sample_variables
    found.check_variables(variables)
    rendered = parts.get(Renderer).render(name, variables, locale)
    if not is_opened:
        print(json.dumps({"subject": rendered.subject, "html": rendered.html, "text": rendered.text}, indent=2))
        return
    page = Path(tempfile.mkdtemp()) / f"{name}.html"
    page.write_text(rendered.html, encoding="utf-8")
    webbrowser.open(page.as_uri())
    print(f"Opened {page}")
