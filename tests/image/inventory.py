"""Runs inside the image and prints as JSON what it holds that the service does not need, and what it lacks."""

# ruff: noqa: T201 - a script answers with what it prints: the report

import json
import os
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def needed(name: str) -> set[str]:
    """The distribution and all that it requires here, extras included."""
    found, waiting = set(), [Requirement(name)]
    while waiting:
        requirement = waiting.pop()
        for extra in ("", *requirement.extras):
            key = (canonicalize_name(requirement.name), extra)
            if key not in found:
                found.add(key)
                required = map(Requirement, metadata.requires(requirement.name) or [])
                waiting += [each for each in required if not each.marker or each.marker.evaluate({"extra": extra})]
    return {distribution for distribution, _ in found}


wanted = needed("email-service[otel,sentry]")
installed = {canonicalize_name(each.name) for each in metadata.distributions()}
sources = [path for path in Path(sys.prefix).rglob("*.py") if "site-packages" in path.parts]
report = {
    "unneeded": sorted(installed - wanted),
    "missing": sorted(wanted - installed),
    "leftovers": [
        *(name for name in ("pip", "setuptools", "hatchling") if find_spec(name)),
        *(path for path in ("/etc/pip.conf", "/build", "/srv/requirements-image.lock") if Path(path).exists()),
        *(name for name in os.environ if name.startswith("PIP_")),
    ],
    "uncompiled": sum(not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc")) for path in sources),
}
print(json.dumps(report))
