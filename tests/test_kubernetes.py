"""deploy/kubernetes is what a cluster takes, agrees with the settings and the command line, and holds together."""

from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from email_service.kernel.errors import SettingsError
from email_service.settings import Expose, MailMode, load
from tests import manifests
from tests.deployment import known_variables, parse, read
from tests.manifests import containers, matches

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy/kubernetes"
MANIFESTS = manifests.read(FOLDER)
JOB = manifests.documents(FOLDER / "migrate-job/job.yaml")[0]
TEMPLATES = {**MANIFESTS.templates(), "email-service-migrate": JOB["spec"]["template"]}
SETTINGS = MANIFESTS.of("ConfigMap")["email-service"]["data"]
SECRETS = "/run/secrets/email-service"
OBJECTS = {f"{each['kind']} {each['metadata']['name']}": each for each in [*MANIFESTS.objects, JOB]}
CLUSTERS = ("1.31", "1.37")  # the oldest that is looked after, and the newest that is known
SERVED = {"email-service-web": Expose.INTERNAL, "email-service-web-public": Expose.PUBLIC}


def work(name):
    """The container that does the work, beside those that come first."""
    [container] = TEMPLATES[name]["spec"]["containers"]
    return container


def environment(name, folder=None):
    """The settings of the pods of this name; with a folder, their secrets lie there."""
    own = {each["name"]: each["value"] for each in work(name).get("env", ())}
    found = SETTINGS | own
    return {key: value.replace(SECRETS, str(folder)) for key, value in found.items()} if folder else found


def whole_settings(name, folder):
    texts = {"database_url": "postgresql://user:pass@postgres/name\n", "secret_key": "k" * 43 + "\n"}
    texts |= {"redis_url": "redis://redis:6379/0\n", "celery_broker_url": "redis://redis:6379/1\n"}
    for key, text in texts.items():
        (folder / key).write_text(text)
    return load(environment(name, folder), None)


@pytest.mark.parametrize("version", CLUSTERS)
@pytest.mark.parametrize("name", OBJECTS)
def test_a_cluster_takes_it(name, version):
    assert kubernetes_validate.validate(OBJECTS[name], version, strict=True) == version


def test_what_a_cluster_does_not_know_is_noticed():
    wrong = yaml.safe_load(yaml.safe_dump(OBJECTS["Deployment email-service-beat"]))
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessProbes"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenessProbes"):
        kubernetes_validate.validate(wrong, CLUSTERS[-1], strict=True)


def test_every_file_is_part_of_it():
    apart = {FOLDER / "migrate-job", FOLDER / "prometheus-adapter"}
    files = {path for path in FOLDER.rglob("*") if path.is_file() and not apart & set(path.parents)}
    assert files == MANIFESTS.files
    assert manifests.read(FOLDER / "migrate-job").objects == [JOB]


def test_every_process_of_the_distributed_shape_is_there():
    started = {name: " ".join(work(name)["args"]) for name in TEMPLATES}
    assert started == {
        "email-service-web": "run --host 0.0.0.0 --workers 2",
        "email-service-web-public": "run --host 0.0.0.0 --workers 2",
        "email-service-worker-token": "worker --lanes token",
        "email-service-worker-transactional": "worker --lanes transactional",
        "email-service-worker-bulk": "worker --lanes bulk",
        "email-service-beat": "beat",
        "email-service-migrate": "migrate",
    }


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_command_and_every_variable_exists(name):
    for container in containers(TEMPLATES[name]):
        assert "command" not in container  # the image's own entry point is tini
        assert parse(container["args"]) == container["args"][0]
    variables = {variable.removesuffix("_FILE") for variable in environment(name)}
    assert variables <= known_variables()


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_environment_of_a_pod_is_a_whole_set_of_settings(name, tmp_path):
    settings = whole_settings(name, tmp_path)
    assert settings.database_url.startswith("postgresql+psycopg://")
    assert settings.celery_broker_url
    assert settings.celery_broker_url != settings.redis_url
    assert settings.mail_mode is MailMode.CAPTURE
    assert settings.expose is SERVED.get(name, Expose.ALL)
    assert settings.trusted_proxy_count == (1 if settings.expose is Expose.PUBLIC else 0)


def test_all_pods_have_the_same_image_settings_and_secrets():
    for _, container in [*MANIFESTS.containers(), ("", {**work("email-service-migrate"), "image": _image()})]:
        assert container["image"] == _image()
        assert container["envFrom"] == [{"configMapRef": {"name": "email-service"}}]
        assert container["volumeMounts"][0] == {"name": "secrets", "mountPath": SECRETS, "readOnly": True}
    assert work("email-service-migrate")["image"] == _image().partition(":")[0]
    files = {key: value for key, value in SETTINGS.items() if key.endswith("_FILE")}
    assert files == {f"{key}_FILE": f"{SECRETS}/{key.lower()}" for key in _secrets()}
    for template in TEMPLATES.values():
        volumes = {each["name"]: each for each in template["spec"]["volumes"]}
        assert volumes["secrets"]["secret"] == {"secretName": "email-service", "defaultMode": 0o440}
        for container in containers(template):
            assert {each["name"] for each in container["volumeMounts"]} == set(volumes)


def test_no_secret_is_shipped():
    """T27"""
    assert "Secret" not in {each["kind"] for each in OBJECTS.values()}
    assert not {variable for variable in SETTINGS if variable in _secrets()}


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_pod_is_hardened(name):
    spec = TEMPLATES[name]["spec"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert "USER 10001:10001" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert spec["serviceAccountName"] in MANIFESTS.of("ServiceAccount")
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    for container in containers(TEMPLATES[name]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {each["mountPath"] for each in container["volumeMounts"]} == {SECRETS, "/tmp", "/srv/var"}
        assert set(container["resources"]["requests"]) == set(container["resources"]["limits"]) == {"cpu", "memory"}


def test_a_service_of_an_unlucky_name_would_be_a_setting(tmp_path):
    """Why no pod gets service links."""
    whole_settings("email-service-web", tmp_path)
    linked = {
        "MAIL_SERVER": "smtp.acme.example",
        "MAIL_DEFAULT_SENDER": "a@acme.example",
        "MAIL_PORT": "tcp://10.0.0.1",
    }
    with pytest.raises(SettingsError) as refused:
        load({**environment("email-service-web", tmp_path), **linked}, None)
    assert [fault.pointer for fault in refused.value.faults] == ["MAIL_PORT"]


@pytest.mark.parametrize("name", MANIFESTS.of("Deployment"))
def test_a_deployment_finds_its_own_pods_and_no_others(name):
    deployment = MANIFESTS.of("Deployment")[name]
    found = [other for other, each in TEMPLATES.items() if matches(deployment["spec"]["selector"], _labels(each))]
    assert found == [name]
    for spread in TEMPLATES[name]["spec"].get("topologySpreadConstraints", ()):
        assert spread["labelSelector"] == deployment["spec"]["selector"]


def test_services_budgets_and_autoscalers_are_each_of_one_deployment():
    deployments = MANIFESTS.of("Deployment")
    scaled = set(deployments) - {"email-service-beat"}
    assert set(MANIFESTS.of("PodDisruptionBudget")) == set(MANIFESTS.of("HorizontalPodAutoscaler")) == scaled
    for name, budget in MANIFESTS.of("PodDisruptionBudget").items():
        assert budget["spec"]["selector"] == deployments[name]["spec"]["selector"]
    for name, autoscaler in MANIFESTS.of("HorizontalPodAutoscaler").items():
        assert autoscaler["spec"]["scaleTargetRef"]["name"] == name
        assert "replicas" not in deployments[name]["spec"]
    assert set(MANIFESTS.of("Service")) == set(SERVED)
    for name, service in MANIFESTS.of("Service").items():
        assert service["spec"]["selector"] == deployments[name]["spec"]["selector"]["matchLabels"]
        assert {each["targetPort"] for each in service["spec"]["ports"]} <= {
            each["name"] for each in work(name)["ports"]
        }


def test_processes_listen_where_the_manifests_say(tmp_path):
    for name in set(TEMPLATES) - {"email-service-beat", "email-service-migrate"}:
        ports = {each["name"]: each["containerPort"] for each in work(name)["ports"]}
        metrics = whole_settings(name, tmp_path).metrics_bind
        assert metrics == ("0.0.0.0", ports.pop("metrics"))
        command, context = read(work(name)["args"])
        assert ports == ({"http": context.params["port"]} if command == "run" else {})


def _labels(template):
    return template["metadata"]["labels"]


def _secrets():
    return {"DATABASE_URL", "SECRET_KEY", "REDIS_URL", "CELERY_BROKER_URL"}


def _image():
    version = next(
        line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("version = ")
    ).split('"')[1]
    return f"registry.acme.example/email-service:{version}"
