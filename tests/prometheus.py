"""A Prometheus of this machine's own, which scrapes processes and evaluates rules.

Knows no metric, and installs nothing.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import servers
import yaml

from tests import missing
from tests.journeys.processes import LEASH, free_port, wait_until

# Where `make prometheus` puts it.
_FETCHED = Path(sys.prefix) / "prometheus/usr/bin"
_SPAN = re.compile(r"\b(\d+)(ms|s|m|h|d)\b")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def find(program: str) -> str:
    """`prometheus` or `promtool`: from TEST_PROMETHEUS, from the PATH, or fetched; else the test ends here."""
    folders = [os.environ.get("TEST_PROMETHEUS", ""), os.environ.get("PATH", os.defpath), str(_FETCHED)]
    found = shutil.which(program, path=os.pathsep.join(filter(None, folders)))
    return found or missing.give_up(servers.PROMETHEUS)


def quickened(rules: Path, times: int) -> str:
    """The rules with each span of time so many times shorter; what they compare with stays as it is."""

    def shorten(found: re.Match[str]) -> str:
        return f"{max(1000, round(int(found[1]) * _SECONDS[found[2]] * 1000 / times))}ms"

    document = yaml.safe_load(rules.read_text(encoding="utf-8"))
    for rule in (rule for group in document["groups"] for rule in group["rules"]):
        # Only what stands in brackets: the names of recorded series hold spans too.
        rule["expr"] = re.sub(r"\[[^\]]+\]", lambda found: _SPAN.sub(shorten, found[0]), rule["expr"])
        if "for" in rule:
            rule["for"] = _SPAN.sub(shorten, rule["for"])
    return yaml.safe_dump(document)


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30)
        assert answer.ok, answer.text
        return answer.json()["data"]

    def value(self, query: str) -> float:
        """The one value of the query's answer; 0 when there is none."""
        result = self.ask("query", query=query)["result"]
        return float(result[0]["value"][1]) if result else 0.0

    def firing(self) -> set[str]:
        """The names of the alerts that would ring now."""
        alerts = self.ask("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def unhealthy(self) -> list[str]:
        """What could not be scraped or evaluated."""
        rules = [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]
        targets = self.ask("targets")["activeTargets"]
        wrong = [f"{rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] == "err"]
        return wrong + [f"{each['scrapeUrl']}: {each['lastError']}" for each in targets if each["health"] == "down"]


@contextmanager
def watching(folder: Path, rules: str, jobs: Mapping[str, Sequence[int]]) -> Iterator[Prometheus]:
    """One that scrapes these jobs' ports of this machine and looks at the rules once a second."""
    scrapes = [
        {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{each}" for each in ports]}]}
        for job, ports in jobs.items()
    ]
    with scraping(folder, rules, scrapes) as watcher:
        yield watcher


@contextmanager
def scraping(folder: Path, rules: str, scrapes: Sequence[Mapping[str, Any]]) -> Iterator[Prometheus]:
    """One with these `scrape_configs`, once a second."""
    program, port = find("prometheus"), free_port()
    (folder / "rules.yml").write_text(rules, encoding="utf-8")
    every = {"scrape_interval": "1s", "evaluation_interval": "1s", "scrape_timeout": "1s"}
    config = {"global": every, "rule_files": ["rules.yml"], "scrape_configs": list(scrapes)}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    options = [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("wb") as log:
        popen = subprocess.Popen(
            [*LEASH, program, f"--config.file={folder / 'prometheus.yml'}", *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    watcher = Prometheus(f"http://127.0.0.1:{port}")
    try:
        wait_until(lambda: _is_ready(watcher, popen, folder), 60)
        yield watcher
    finally:
        popen.kill()
        popen.wait(20)


def _is_ready(watcher: Prometheus, popen: "subprocess.Popen[bytes]", folder: Path) -> bool:
    assert popen.poll() is None, (folder / "prometheus.log").read_text(errors="replace")
    with suppress(requests.RequestException):
        return requests.get(f"{watcher.url}/-/ready", timeout=5).ok
    return False
