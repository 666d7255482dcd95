"""Reads what rules and dashboards ask Prometheus for, and names each metric, label and value that nobody tells.

Knows PromQL by a parser's tree; what is told is for `test_monitoring.py` to find out.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import promql_parser
import yaml
from prometheus_client.metrics_core import Metric

# What Prometheus itself adds to each scrape.
_ITS_OWN = {"up": {"job": None, "instance": None}}
_VARIABLES = {"$__rate_interval": "1m", "$__interval": "1m", "$__range": "1h"}


@dataclass
class Told:
    """Each metric that is told, with its labels and the values that they have; None: any."""

    labels: dict[str, dict[str, set[str] | None]] = field(default_factory=lambda: defaultdict(dict))

    @classmethod
    def of(cls, families: Iterable[Metric], recorded: Iterable[str] = ()) -> "Told":
        told = cls()
        told.labels.update({name: dict(labels) for name, labels in _ITS_OWN.items()})
        told.labels.update({name: {} for name in recorded})
        for sample in (sample for family in families for sample in family.samples):
            for label, value in {"job": "", "instance": "", **sample.labels}.items():
                values = told.labels[sample.name].setdefault(label, set())
                if label in {"job", "instance"}:
                    told.labels[sample.name][label] = None
                elif values is not None:
                    values.add(value)
        return told


def rules(path: Path) -> list[Mapping[str, Any]]:
    """Every rule of a file, in order."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels(path: Path) -> list[Mapping[str, Any]]:
    """The panels of a dashboard that show something."""
    found = json.loads(path.read_text(encoding="utf-8"))["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def queries(panel: Mapping[str, Any]) -> list[str]:
    """What a panel asks, with a value for each of Grafana's own variables."""
    asked = []
    for target in panel["targets"]:
        text = target["expr"]
        for name, value in _VARIABLES.items():
            text = text.replace(name, value)
        asked.append(text)
    return asked


def complaints(query: str, told: Told) -> Iterator[str]:
    """What is wrong with a query: that it cannot be read, or what of it nobody tells."""
    try:
        tree = promql_parser.parse(query)
    except ValueError as error:
        yield f"{query}: {error}"
        return
    nodes: list[Any] = []
    promql_parser.walk(tree, nodes.append)
    selectors = [node for node in nodes if isinstance(node, promql_parser.VectorSelector)]
    known = {label for selector in selectors for label in told.labels.get(selector.name, ())}
    for selector in selectors:
        yield from _selector_complaints(selector, told)
    for node in nodes:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            for label in node.modifier.labels:
                if label not in known:
                    yield f"{query}: nothing has the label {label}"


def _selector_complaints(selector: Any, told: Told) -> Iterator[str]:
    if selector.name not in told.labels:
        yield f"nobody tells {selector.name}"
        return
    labels = told.labels[selector.name]
    for matcher in selector.matchers.matchers:
        if matcher.name not in labels:
            yield f"{selector.name} has no label {matcher.name}"
            continue
        values = labels[matcher.name]
        if values is not None:
            for wanted in re.split(r"\|", matcher.value):
                if wanted not in values:
                    yield f"{selector.name} has no {matcher.name} {wanted}"
