"""`email-service template check`: what is wrong with the templates, for a person or for a machine."""

import sys

import click

from email_service.app import create_brand, find_templates
from email_service.authoring import checks
from email_service.authoring.checks import Scope
from email_service.authoring.findings import Finding, as_json, count_errors
from email_service.settings import load


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--locale", "locales", multiple=True, help="One that your readers have; repeat it. All if left out.")
@click.option("--strict", "is_strict", is_flag=True, help="Fail for warnings too.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON document instead of lines.")
def check(names: tuple[str, ...], locales: tuple[str, ...], is_strict: bool, is_json: bool) -> None:
    """Try the templates out in every locale, with and without each variable, and say what to change.

    Errors break mail for somebody and make the command fail; warnings do not, unless it is --strict.
    """
    # Without the application, which refuses to start on a template that is wrong.
    settings = load()
    files = find_templates(settings)
    count = len(names) or sum(not name.startswith("_") for name in files.folders())
    with click.progressbar(length=count, label="Checking", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        scope = Scope(names=names, locales=locales, on_template=lambda _: bar.update(1))
        findings = checks.check(files, create_brand(settings), scope)
    print(as_json(findings) if is_json else "\n".join(map(str, findings)) or "All templates are right.")
    _fail(findings, is_strict=is_strict)


def _fail(findings: list[Finding], *, is_strict: bool) -> None:
    errors = count_errors(findings)
    if errors or (findings and is_strict):
        sys.stdout.flush()
        raise click.ClickException(
            f"{errors} errors and {len(findings) - errors} warnings; each line says where, what and what to change."
        )
