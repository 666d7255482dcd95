"""The list of decisions, from the files in docs/adr/. Knows their titles and no content."""

from pathlib import Path


def decisions(root: Path) -> list[Path]:
    """The files of all decisions, oldest first."""
    return sorted((root / "docs" / "adr").glob("[0-9]*.md"))


def markdown(root: Path) -> str:
    """A table of all decisions."""
    rows = ["| number | decision |", "|---:|---|"]
    for path in decisions(root):
        number, _, title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").partition(". ")
        rows.append(f"| {number} | [{title}]({path.name}) |")
    return "\n".join(rows)
