"""Where the files that the service reads at run time are. Knows two places and nothing about their content."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def resource(name: str) -> Path:
    """The folder `templates` or `migrations`: inside the installed wheel, or at the root of a checkout."""
    packed = _PACKAGE / "_data" / name
    return packed if packed.is_dir() else _PACKAGE.parent / name
