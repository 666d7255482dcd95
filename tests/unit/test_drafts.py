"""The first draft of a template: that it is sound, and that it is written over nothing."""

from pathlib import Path

import pytest

from email_service.authoring import checks, drafts
from email_service.authoring.checks import Scope
from email_service.kernel.errors import InvalidInputError
from email_service.rendering.files import Files
from email_service.rendering.variables import Brand
from email_service.settings import resource

BUILTIN = resource("templates") / "email"
BRAND = Brand(name="Acme", frontend_url="https://app.example.com")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_drafts_are_sound_and_share_one_file_of_words(tmp_path):
    for name in ("order-shipped", "order-late"):
        written = drafts.write(tmp_path / "own", name)
        assert all(path.is_file() for path in written)
    words = (tmp_path / "own" / "_words" / "en.toml").read_text()
    assert words.index("[order-shipped]") < words.index("[order-late]")
    assert checks.check(Files(BUILTIN, tmp_path / "own"), BRAND, Scope(locales=("en",))) == []


def test_a_draft_teaches(tmp_path):
    for path in drafts.write(tmp_path / "own", "offer"):
        assert "#" in path.read_text(), path
        assert "order-shipped" not in path.read_text()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("order-shipped", "exists already and is left as it is"),
        ("order-late", "has a table [order-late] already"),
        ("Order_Shipped", "is no name of a template"),
        ("builtin", "is no name of a template"),
        ("../escape", "is no name of a template"),
        ("/etc/offer", "is no name of a template"),
        ("", "is no name of a template"),
        ("welcome", 'begins with {% extends "builtin/welcome/body.html" %}'),
    ],
)
def test_nothing_is_written_over_and_nothing_outside(tmp_path, name, told):
    """T22: a name is no path."""
    own = tmp_path / "own"
    drafts.write(own, "order-shipped")
    with (own / "_words" / "en.toml").open("a") as words:
        words.write('[order-late]\nsubject = "x"\n')
    before = contents(tmp_path)
    with pytest.raises(InvalidInputError) as caught:
        drafts.write(own, name, ("welcome",))
    assert told in caught.value.detail
    assert contents(tmp_path) == before
