"""`email-service template`: see, render, begin and compare what mail is made from; checking is in `template_check`."""

import json
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

import click

from email_service.authoring import comparison, drafts, releases, samples
from email_service.authoring.themes import Theme, show
from email_service.cli import house
from email_service.cli.gallery import serve
from email_service.cli.template_check import check
from email_service.cli.variables import parse_variables, read_variables
from email_service.kernel.errors import SettingsError
from email_service.rendering.files import Files
from email_service.settings import load, resource


@click.group()
def template() -> None:
    """The templates that messages are made from."""


template.add_command(check)
template.add_command(serve)


@template.command("list")
def list_() -> None:
    """Show every template with its lane, whose it is, and its locales."""
    bench = house.workbench(load())
    for each in bench.templates:
        origin, locales = bench.files.origin(each.name), ", ".join(each.locales)
        print(f"{each.name:20} {each.lane:14} {origin:9} {each.description} ({locales})")


@template.command()
@click.argument("name")
@click.option("--locale", help="Such as pt-BR; the template's own language if left out.")
@click.option("--var", "pairs", multiple=True, metavar="NAME=VALUE", help="A variable; without any, the samples.")
@click.option(
    "--vars", "source", type=click.File(encoding="utf-8"), help="A file of JSON with variables; - reads stdin."
)
@click.option(
    "--theme",
    type=click.Choice([theme.value for theme in Theme]),
    help="The html as it looks in this theme; both if left out.",
)
@click.option("--open", "is_opened", is_flag=True, help="Show the html in a browser.")
def render(
    name: str, *, locale: str | None, pairs: tuple[str, ...], source: Any, theme: str | None, is_opened: bool
) -> None:
    """Print a rendered template as JSON, or open it in a browser."""
    bench = house.workbench(load())
    found = bench.templates.get(name)
    given = (read_variables(source) if source else {}) | parse_variables(pairs)
    variables = given if pairs or source else found.sample_variables
    found.check_variables(variables)
    rendered = bench.renderer.render(name, variables, locale, samples.find_link(found))
    html = show(rendered.html, Theme(theme)) if theme else rendered.html
    if not is_opened:
        print(json.dumps({"subject": rendered.subject, "html": html, "text": rendered.text}, indent=2))
        return
    page = Path(tempfile.mkdtemp()) / f"{name}.html"
    page.write_text(html, encoding="utf-8")
    print(f"Opened {page}" if webbrowser.open(page.as_uri()) else f"No browser was found; open {page} in one.")


@template.command()
@click.argument("name")
@click.option("--dir", "folder", type=click.Path(path_type=Path, file_okay=False), help="TEMPLATES_DIR if left out.")
def new(name: str, folder: Path | None) -> None:
    """Begin a template of your own: files that pass the check, with comments that say what to change."""
    configured = load().templates_dir
    home = folder or configured
    if home is None:
        raise click.UsageError(
            "No folder for your own templates is known: set TEMPLATES_DIR in .env to one that exists, "
            "or name one here, as in --dir templates."
        )
    built_in = Files(resource("templates") / "email").folders()
    for path in drafts.write(home, name, tuple(built_in)):
        print(f"Wrote {path}")
    print("\nNext:")
    if configured is None or configured != home.absolute():
        print(f"  put TEMPLATES_DIR={home} into .env, so that the service and these commands read it")
    print("  email-service template serve            see it while you write; it reloads when you save")
    print(f"  email-service template check {name}")


@template.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--json", "is_json", is_flag=True, help="Print one JSON document instead of lines.")
def diff(old: Path, new: Path, is_json: bool) -> None:
    """Say what changed for those who send these templates; exit 1 when something breaks them.

    OLD and NEW are folders of templates, such as a `git worktree` of the last release and your own, or one template
    each.
    """
    for place in (old, new):
        if "@" in place.name and not place.exists():
            raise click.UsageError(
                f"{place} is no folder. Versions are hashes, and only files are kept: "
                "check out the release that you compare with, as in `git worktree add ../released v1.4`."
            )
    try:
        changes = comparison.compare(*releases.read_pair(old, new))
    except SettingsError as error:
        raise click.UsageError(error.detail) from None
    breaking = sum(each.is_breaking for each in changes)
    if is_json:
        listed = [
            {name: getattr(each, name) for name in ("template", "place", "message", "is_breaking")} for each in changes
        ]
        print(json.dumps({"breaking": breaking, "changes": listed}, indent=2, ensure_ascii=False))
    else:
        print("\n".join(map(str, changes)) or "Nothing changed for those who send these templates.")
    if breaking:
        sys.stdout.flush()
        raise click.ClickException(
            f"{breaking} of {len(changes)} break who sends the old variables: keep the old way beside the new one, "
            "or change every caller first."
        )
