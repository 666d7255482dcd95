"""The parts of a template that docs/own-templates.md shows, made whole; and its pipeline, where there is a release."""

import json
import shutil
import subprocess
from pathlib import Path

import documents
import pytest

from tests.journeys.processes import COMMAND, House
from tests.stand_ins import ROOT

PAGE = next(page for page in documents.pages(ROOT) if page.path == "docs/own-templates.md")
PARTS = [block for block in PAGE.blocks if block.reason and block.reason.startswith("a part of a template")]
[PIPELINE] = [block for block in PAGE.blocks if "git worktree" in block.content]
# What the parts use and do not say themselves.
MANIFEST = """
[variables.properties.name]
type = "string"
maxLength = 40

[variables.properties.minutes]
type = "integer"
minimum = 1
"""
REST = {
    "subject.txt": '{{ say("subject", number=order_number) }}',
    "body.txt": '{{ say("heading", name=name) }}\n{{ say("lead", number=order_number, arrival=minutes | lifetime) }}\n',
}


@pytest.fixture
def shop(house) -> House:
    """A product's repository with the template of the page; its mail looks like that of the built-in templates."""
    made = house(TEMPLATES_DIR="templates")
    manifest, words, body = (block.content for block in PARTS)
    template = made.folder / "templates" / "order-confirmation"
    template.mkdir(parents=True)
    samples = manifest.replace('order_number = "A-1042"', 'order_number = "A-1042"\nname = "Ada"\nminutes = 60')
    samples = samples.replace('required = ["order_number"]', 'required = ["order_number", "name", "minutes"]')
    (template / "manifest.toml").write_text(samples + MANIFEST)
    (template / "body.html").write_text(f"<html><body>{body}</body></html>")
    for name, text in REST.items():
        (template / name).write_text(text)
    (made.folder / "templates" / "_words").mkdir()
    (made.folder / "templates" / "_words" / "en.toml").write_text(words)
    return made


def test_the_parts_of_the_page_make_a_mail(shop):
    rendered = shop.command("template", "render", "order-confirmation")
    assert rendered.returncode == 0, rendered.stderr
    mail = json.loads(rendered.stdout)
    assert mail["subject"] == "Your order A-1042"
    assert "Thank you, Ada</h1>" in mail["html"]
    assert "<strong" in mail["html"]
    assert "in 1 hour" in mail["text"]


def test_the_pipeline_of_the_page_passes_a_release_and_stops_what_would_break_callers(shop):
    repository = shop.folder / "shop"
    own = repository / "templates" / "welcome"
    shutil.copytree(ROOT / "templates" / "email" / "welcome", own)
    git(repository, "init", "--quiet")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "One")
    git(repository, "tag", "1.0")
    assert run_pipeline(shop).returncode == 0
    assert change(own, "maxLength = 100", "maxLength = 120", shop).returncode == 0
    broken = change(own, "maxLength = 120", "maxLength = 50", shop)
    assert broken.returncode == 1
    assert "breaking  welcome: name: maxLength was 100, and is 50" in broken.stdout


def change(template: Path, before: str, after: str, shop: House) -> subprocess.CompletedProcess[str]:
    """What the pipeline says of it."""
    manifest = (template / "manifest.toml").read_text()
    assert before in manifest
    (template / "manifest.toml").write_text(manifest.replace(before, after))
    return run_pipeline(shop)


def git(repository: Path, *arguments: str) -> None:
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run(["git", *who, *arguments], cwd=repository, check=True)


def run_pipeline(shop: House) -> subprocess.CompletedProcess[str]:
    """As a job of a pipeline: with the service's command on the PATH and nothing left of an earlier one."""
    subprocess.run(["rm", "-rf", shop.folder / "released"], check=True)
    git(shop.folder / "shop", "worktree", "prune")
    script = f'email-service() {{ "{COMMAND}" "$@"; }}\n{PIPELINE.content}'
    return subprocess.run(
        ["bash", "-euc", script],
        cwd=shop.folder / "shop",
        env=shop._environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
