"""The pods of deploy/kubernetes begin, are looked at, scale, reach each other and end as the service can bear it."""

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import documents
import flask_migrate
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from email_service.app import create_app
from email_service.cli import server
from email_service.delivery import runner
from email_service.kernel import heartbeat
from email_service.kernel.lanes import LANES
from email_service.settings import load
from tests import manifests, monitoring, prometheus
from tests.deployment import parse, read
from tests.journeys.processes import wait_until
from tests.manifests import containers, matches
from tests.monitoring import Told

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy/kubernetes"
MANIFESTS = manifests.read(FOLDER)
TEMPLATES = MANIFESTS.templates()
WEB = ["email-service-web", "email-service-web-public"]
WORKERS = {f"email-service-worker-{lane}": lane for lane in LANES}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
GUNICORN_SECONDS = 90  # after which it replaces a process that hangs
ADAPTER = FOLDER / "prometheus-adapter/rules.yaml"
SCRAPING = ROOT / "deploy/prometheus/kubernetes.yml"
PAGE = documents.Page("docs/deployment.md", (ROOT / "docs/deployment.md").read_text(encoding="utf-8"))
NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"


def work(name):
    [container] = TEMPLATES[name]["spec"]["containers"]
    return container


def patience_seconds(probe):
    return probe["periodSeconds"] * probe["failureThreshold"]


@pytest.fixture(params=WEB)
def pod(request, tmp_path):
    """A web process as its pod has it, on a database that is there; whoever takes the database away brings it back."""
    variables = {each["name"]: each["value"] for each in work(request.param).get("env", ())}
    url = f"sqlite:///{tmp_path}/pod.db"
    # Whoever restricts the names of hosts has to leave the probes theirs.
    app = create_app(load({**variables, "DATABASE_URL": url, "TRUSTED_HOSTS": "mail.acme.example,localhost"}, None))
    with app.app_context():
        flask_migrate.upgrade()
    return SimpleNamespace(container=work(request.param), app=app, sessions=app.extensions["email_service"].sessions)


def ask(pod, name):
    probe = pod.container[name]["httpGet"]
    headers = {each["name"]: each["value"] for each in probe["httpHeaders"]}
    return pod.app.test_client().get(probe["path"], headers=headers).status_code


def test_a_pod_takes_part_once_its_database_is_there_and_stays_when_it_goes(pod):
    """F4: an outage of all is not one of each; callers are told 503 by the service itself."""
    assert [ask(pod, name) for name in PROBES] == [200, 200, 200]
    with pod.sessions.begin() as session:
        session.connection().exec_driver_sql("DROP TABLE alembic_version")
    assert [ask(pod, name) for name in PROBES] == [503, 200, 200]


def test_a_probe_by_another_name_of_the_host_would_be_refused(pod):
    assert pod.app.test_client().get("/healthz", headers={"Host": "10.0.0.7:8000"}).status_code == 400


@pytest.mark.parametrize("name", WEB)
def test_a_web_pod_is_restarted_later_than_gunicorn_helps_itself(name):
    ports = {each["name"] for each in work(name)["ports"]}
    assert all(work(name)[each]["httpGet"]["port"] in ports for each in PROBES)
    assert patience_seconds(work(name)["livenessProbe"]) > GUNICORN_SECONDS
    source = (ROOT / "email_service/cli/server.py").read_text(encoding="utf-8")
    assert f'"timeout": {GUNICORN_SECONDS},' in source


@pytest.mark.parametrize("name", [*WORKERS, "email-service-beat"])
def test_a_pod_without_http_gives_a_sign_of_life_in_a_file(name):
    role = read(work(name)["args"])[0]
    for probe in (work(name)["startupProbe"], work(name)["livenessProbe"]):
        assert probe["exec"]["command"] == ["email-service", "health", role]
        assert parse(probe["exec"]["command"][1:]) == "health"
    assert patience_seconds(work(name)["livenessProbe"]) > heartbeat.STALE_SECONDS
    assert "readinessProbe" not in work(name)  # no Service asks it anything


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_stop_leaves_time_to_finish_what_is_in_flight(name):
    """F15"""
    before = work(name).get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
    assert before[0] == "sleep"
    finishing = max(server.GRACEFUL_SECONDS, runner.STOP_SECONDS)
    assert TEMPLATES[name]["spec"]["terminationGracePeriodSeconds"] >= finishing + int(before[1]) + 5
    assert (name in WEB) == (int(before[1]) >= 5)


@pytest.mark.parametrize("name", [*WEB, *WORKERS])
def test_a_rollout_migrates_first_and_takes_nobody_away_before_another_is_there(name):
    deployment = MANIFESTS.of("Deployment")[name]
    assert deployment["spec"]["strategy"] == {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    [first] = TEMPLATES[name]["spec"]["initContainers"]
    assert first["args"] == ["migrate"]


def test_beat_is_alone_and_asks_no_database():
    beat = MANIFESTS.of("Deployment")["email-service-beat"]["spec"]
    assert (beat["replicas"], beat["strategy"]) == (1, {"type": "Recreate"})
    assert "initContainers" not in TEMPLATES["email-service-beat"]["spec"]


@pytest.fixture(scope="module")
def told(sqlite_house):
    with sqlite_house.app.test_client() as client:
        families = list(text_string_to_metric_families(client.get("/metrics").get_data(as_text=True)))
    found = Told.of(families)
    for labels in found.labels.values():
        labels["namespace"] = None  # Prometheus adds it to each
    return found


@pytest.mark.parametrize("name", WORKERS)
def test_workers_scale_on_an_age_that_is_told_and_handed_over(name, told):
    [metric] = MANIFESTS.of("HorizontalPodAutoscaler")[name]["spec"]["metrics"]
    assert metric["type"] == "External"
    # The age does not shrink by being divided among pods, so its value is what counts.
    assert metric["external"]["target"]["type"] == "Value"
    wanted = metric["external"]["metric"]
    assert wanted["selector"] == {"matchLabels": {"lane": WORKERS[name]}}
    [rule] = yaml.safe_load(ADAPTER.read_text(encoding="utf-8"))["rules"]["external"]
    assert rule["seriesQuery"].startswith(wanted["name"] + "{")
    query = rule["metricsQuery"].replace("<<.Series>>", wanted["name"])
    query = query.replace("<<.LabelMatchers>>", f'lane="{WORKERS[name]}"')
    assert "<<" not in query
    assert list(monitoring.complaints(query, told)) == []


@pytest.mark.parametrize(("up", "age"), [((1, 0), 42), ((0, 0), 0)], ids=["one-way-is-open", "none"])
def test_more_workers_are_started_only_while_mail_can_leave(up, age, tmp_path):
    """F9: the query as the adapter asks it, evaluated by Prometheus over two processes and another installation."""
    [rule] = yaml.safe_load(ADAPTER.read_text(encoding="utf-8"))["rules"]["external"]
    query = rule["metricsQuery"].replace("<<.Series>>", "email_service_oldest_due_seconds")
    query = query.replace("<<.LabelMatchers>>", 'namespace="a",lane="bulk"')
    series = {
        'email_service_oldest_due_seconds{namespace="a",lane="bulk",pod="1"}': 41,
        'email_service_oldest_due_seconds{namespace="a",lane="bulk",pod="2"}': 42,
        'email_service_oldest_due_seconds{namespace="a",lane="token",pod="1"}': 90,
        'email_service_oldest_due_seconds{namespace="b",lane="bulk",pod="1"}': 99,
        'email_service_route_up{namespace="b",route="smtp",pod="1"}': 1,
        'email_service_route_up{namespace="a",route="ses",pod="1"}': up[0],
        'email_service_route_up{namespace="a",route="backup",pod="1"}': up[1],
    }
    sample = {"labels": '{namespace="a", lane="bulk"}', "value": age}
    asked = {"expr": query, "eval_time": "1m", "exp_samples": [sample]}
    inputs = [{"series": name, "values": f"{value} {value}"} for name, value in series.items()]
    tests = {"tests": [{"interval": "1m", "input_series": inputs, "promql_expr_test": [asked]}]}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(tests))
    ran = subprocess.run(
        [prometheus.find("promtool"), "test", "rules", str(tmp_path / "tests.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_token_mail_gets_help_before_its_promise_is_broken():
    autoscalers = MANIFESTS.of("HorizontalPodAutoscaler")
    targets = {
        lane: int(autoscalers[name]["spec"]["metrics"][0]["external"]["target"]["value"])
        for name, lane in WORKERS.items()
    }
    assert targets["token"] < 30 < targets["transactional"] < targets["bulk"]


@pytest.mark.parametrize("name", WEB)
def test_web_scales_on_cpu(name):
    [metric] = MANIFESTS.of("HorizontalPodAutoscaler")[name]["spec"]["metrics"]
    assert metric["resource"]["name"] == "cpu"


def test_the_page_says_how_many_connections_all_of_it_may_open():
    """As docs/operations.md counts them: 8 for each web process, 6 for each worker; a rollout adds its surge."""
    most = 0
    for name, autoscaler in MANIFESTS.of("HorizontalPodAutoscaler").items():
        command, context = read(work(name)["args"])
        each = context.params["workers"] * context.params["threads"] if command == "run" else 6
        surge = MANIFESTS.of("Deployment")[name]["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
        most += (autoscaler["spec"]["maxReplicas"] + surge) * each
    assert f"at most {most} connections" in " ".join(PAGE.prose.split())


@pytest.mark.parametrize(
    ("component", "ports", "caller"),
    [("web", ["http"], "email-service-caller"), ("web-public", ["http"], "email-service-ingress")],
)
def test_only_who_is_meant_reaches_a_web_pod(component, ports, caller):
    """T30"""
    policies = [each["spec"] for each in _policies_of(component) if "ingress" in each["spec"]]
    opened = {
        (label, port["port"])
        for spec in policies
        for rule in spec["ingress"]
        for caller_of in rule["from"]
        for label in caller_of["namespaceSelector"]["matchLabels"].items()
        for port in rule["ports"]
    }
    assert opened == {((caller, "true"), port) for port in ports} | {(("email-service-monitoring", "true"), "metrics")}
    assert f"{caller}=true" in PAGE.text


def test_every_pod_is_shut_and_reaches_what_it_needs_alone():
    shut = MANIFESTS.of("NetworkPolicy")["email-service"]["spec"]
    assert set(shut["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in shut
    every = {53, 6379, 6380, 5672, 5671, 443, 4318}
    mail = {25, 465, 587, 2525}
    for name, template in TEMPLATES.items():
        component = template["metadata"]["labels"][COMPONENT]
        assert matches(shut["podSelector"], template["metadata"]["labels"])
        rules = [rule for each in _policies_of(component) for rule in each["spec"].get("egress", ())]
        reached = {port["port"] for rule in rules for port in rule["ports"]}
        assert reached == every | (set() if component == "beat" else {5432}) | (mail if name in WORKERS else set())


def discovered(number, name, container, port, phase="Running"):
    """What Prometheus learns of one port of a pod; nobody answers there."""
    labels = {
        f"pod_label_{re.sub('[^a-z]', '_', key)}": value for key, value in TEMPLATES[name]["metadata"]["labels"].items()
    }
    found = {**labels, "namespace": "mail", "pod_name": f"{name}-0", "pod_phase": phase}
    found |= {"pod_container_name": container, "pod_container_port_name": port}
    return {
        "targets": [f"127.0.0.1:{number + 1}"],
        "labels": {f"__meta_kubernetes_{key}": value for key, value in found.items()},
    }


def test_prometheus_finds_every_pod_that_tells_figures_and_names_it_as_the_alerts_do(tmp_path):
    """By a Prometheus that is told of the pods, for Debian's cannot ask a cluster."""
    [scrape] = yaml.safe_load(SCRAPING.read_text(encoding="utf-8"))["scrape_configs"]
    assert scrape.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    ports = [
        (name, container["name"], port["name"])
        for name, template in TEMPLATES.items()
        for container in containers(template)
        for port in container.get("ports", [{"name": ""}])
    ]
    told = [discovered(number, *port) for number, port in enumerate(ports)]
    for number, phase in enumerate(["Pending", "Succeeded", "Failed"], len(ports)):
        told.append(discovered(number, "email-service-worker-bulk", "worker", "metrics", phase))
    with prometheus.scraping(tmp_path, "groups: []\n", [{**scrape, "static_configs": told}]) as watcher:
        targets = wait_until(lambda: watcher.ask("targets")["activeTargets"])
    labels = [{key: each["labels"][key] for key in ("job", "namespace", "pod")} for each in targets]
    assert sorted(labels, key=lambda each: each["job"]) == [
        {"job": name, "namespace": "mail", "pod": f"{name}-0"} for name in sorted([*WEB, *WORKERS])
    ]
    assert 'job=~"email-service.*"' in (ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8")


def _policies_of(component):
    labels = {NAME: "email-service", COMPONENT: component}
    return [each for each in MANIFESTS.of("NetworkPolicy").values() if matches(each["spec"]["podSelector"], labels)]
