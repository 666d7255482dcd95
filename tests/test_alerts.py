"""Rules, dashboard and documentation name what is told, and all that is told is documented."""

import json
import re
import subprocess
from pathlib import Path

import documents
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import monitoring, prometheus
from tests.applications import Api, empty
from tests.monitoring import Told

ROOT = Path(__file__).parent.parent
RULES = ROOT / "deploy/prometheus/alerts.yml"
CONFIG = ROOT / "deploy/prometheus/prometheus.yml"
DASHBOARD = ROOT / "deploy/grafana/email-service.json"
OPERATIONS = documents.Page("docs/operations.md", (ROOT / "docs/operations.md").read_text(encoding="utf-8"))
ALERTS = [rule for rule in monitoring.rules(RULES) if "alert" in rule]
QUERIES = [rule["expr"] for rule in monitoring.rules(RULES)]
QUERIES += [query for panel in monitoring.panels(DASHBOARD) for query in monitoring.queries(panel)]


@pytest.fixture(scope="module")
def families(sqlite_house):
    """What a scrape tells after a call that was answered, one that was refused, and one that failed."""
    empty(sqlite_house)
    api = Api(sqlite_house, sqlite_house.add_client(rate_limit="2/minute"))
    assert [api.send().status_code for _ in range(3)] == [202, 202, 429]
    sqlite_house.execute("ALTER TABLE clients RENAME TO elsewhere")
    try:
        assert Api(sqlite_house, "esk_0123456789ab_x").get("/v1/templates").status_code == 503
    finally:
        sqlite_house.execute("ALTER TABLE elsewhere RENAME TO clients")
    with sqlite_house.app.test_client() as client:
        return list(text_string_to_metric_families(client.get("/metrics").get_data(as_text=True)))


@pytest.fixture(scope="module")
def told(families):
    return Told.of(families, [rule["record"] for rule in monitoring.rules(RULES) if "record" in rule])


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_asks_for_what_is_told(query, told):
    assert list(monitoring.complaints(query, told)) == []


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("sum(email_service_invented)", "nobody tells email_service_invented"),
        ('email_service_messages_total{event="invented"}', "has no event invented"),
        ('email_service_messages_total{event=~"sent|invented"}', "has no event invented"),
        ('email_service_messages_total{invented="x"}', "has no label invented"),
        ("sum by (invented) (email_service_messages_total)", "nothing has the label invented"),
        ("sum(email_service_messages_total", "sum(email_service_messages_total: "),
    ],
)
def test_a_query_for_what_nobody_tells_is_noticed(query, complaint, told):
    [found] = monitoring.complaints(query, told)
    assert complaint in found


def test_all_that_is_told_is_documented(families):
    metrics = {
        sample.name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        for family in families
        for sample in family.samples
    }
    labels = {label for family in families for sample in family.samples for label in sample.labels} - {"le"}
    assert len(metrics) > 8
    assert documents.missing(metrics | labels, OPERATIONS) == set()


def test_each_alert_says_how_urgent_it_is_and_what_to_do():
    headings = set(re.findall(r"(?m)^#### (.+)$", OPERATIONS.text))
    for alert in ALERTS:
        assert alert["labels"]["severity"] in {"page", "ticket"}
        assert {"summary", "description", "runbook"} == set(alert["annotations"])
        assert alert["annotations"]["runbook"] == f"docs/operations.md#{alert['alert'].lower()}"
        assert re.fullmatch(r"\d+m", alert["for"])
    assert headings == {alert["alert"] for alert in ALERTS}


def test_each_alert_is_made_to_ring():
    journey = (ROOT / "tests/journeys/test_monitoring.py").read_text(encoding="utf-8")
    assert [alert["alert"] for alert in ALERTS if f'"{alert["alert"]}"' not in journey] == []


def test_the_dashboard_can_be_drawn():
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 15
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert {panel["datasource"]["uid"] for panel in monitoring.panels(DASHBOARD)} == {"${datasource}"}
    assert [each["name"] for each in dashboard["templating"]["list"]] == ["datasource"]


@pytest.mark.parametrize("words", [["rules", str(RULES)], ["config", str(CONFIG)]], ids=["rules", "config"])
def test_prometheus_takes_the_files(words):
    checked = subprocess.run(
        [prometheus.find("promtool"), "check", *words], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_quickened_rules_differ_in_their_spans_alone():
    quick = prometheus.quickened(RULES, 60)
    assert "ratio_rate5m" in quick
    assert "[5000ms]" in quick
    assert "[72000s]" not in quick
    assert not re.search(r"\[\d+[mhd]\]|for: \d+m\b", quick)
