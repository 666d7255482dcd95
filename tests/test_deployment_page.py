"""What docs/deployment.md tells operators to type and to write names what deploy/ has, and fits the settings."""

import re
from pathlib import Path

import documents
import kubernetes_validate
import pytest
import yaml

from email_service.settings import Expose, MailMode, load
from tests import manifests, units
from tests.deployment import known_variables

ROOT = Path(__file__).parent.parent
PAGE = documents.Page("docs/deployment.md", (ROOT / "docs/deployment.md").read_text(encoding="utf-8"))
FILES = {block.title: block.content for block in PAGE.blocks if block.title}
COMMANDS = [command.words for command in PAGE.commands]
SECRETS = "/run/secrets/email-service"
NEWEST = "1.37"


@pytest.fixture(scope="module")
def overlay(tmp_path_factory):
    """The folder of an operator, beside a checkout."""
    folder = tmp_path_factory.mktemp("operator")
    (folder / "email_service").symlink_to(ROOT)
    (folder / "mail").mkdir()
    (folder / "mail" / "ingress.yaml").write_text(FILES["ingress.yaml"])
    (folder / "mail" / "kustomization.yaml").write_text(FILES["kustomization.yaml"] + FILES["migrate-job"])
    return manifests.read(folder / "mail")


@pytest.fixture(scope="module")
def settings(overlay, tmp_path_factory):
    """Those of web, with the secrets that the page has one write."""
    secrets = tmp_path_factory.mktemp("secrets")
    for name, text in written().items():
        (secrets / name).write_text(text)
    data = overlay.of("ConfigMap")["email-service"]["data"]
    return load({name: value.replace(SECRETS, str(secrets)) for name, value in data.items()}, None)


def written():
    """The secrets that are written before the first Secret is made, by their names."""
    [block] = [block for block in PAGE.blocks if "> secrets/secret_key" in block.content]
    told = dict(re.findall(r"printf '%s' '(.+)' > secrets/(\w+)", block.content))
    return {name: text for text, name in told.items()} | {"secret_key": "k" * 43}


def test_an_operators_own_folder_is_taken(overlay):
    for each in overlay.objects:
        assert kubernetes_validate.validate(each, NEWEST, strict=True) == NEWEST
        assert each["kind"] == "Namespace" or each["metadata"]["namespace"] == "email-service"
    images = {container["image"] for _, container in overlay.containers()}
    assert images == {"registry.acme.example/mail/email-service:0.1.0"}
    assert "email-service-migrate" in overlay.of("Job")


def test_an_operators_settings_send_mail_and_leave_the_probes_their_host(settings, overlay):
    assert settings.mail_mode is MailMode.SMTP
    assert settings.mail_password == "what-the-provider-gave-you"
    hosts = set(settings.trusted_hosts)
    probed = {
        header["value"]
        for _, container in overlay.containers()
        for probe in ("startupProbe", "readinessProbe", "livenessProbe")
        for header in container.get(probe, {}).get("httpGet", {}).get("httpHeaders", ())
    }
    [ingress] = overlay.of("Ingress").values()
    reached = {rule["host"] for rule in ingress["spec"]["rules"]} | {"email-service-web.email-service"}
    assert probed | reached == hosts
    assert settings.public_url == f"https://{ingress['spec']['rules'][0]['host']}"


def test_the_ingress_leads_to_the_public_half(overlay):
    [ingress] = overlay.of("Ingress").values()
    [path] = ingress["spec"]["rules"][0]["http"]["paths"]
    service = overlay.of("Service")[path["backend"]["service"]["name"]]
    assert path["backend"]["service"]["port"]["name"] in {each["name"] for each in service["spec"]["ports"]}
    [name] = [
        name
        for name, each in overlay.of("Deployment").items()
        if manifests.matches(
            {"matchLabels": service["spec"]["selector"]}, each["spec"]["template"]["metadata"]["labels"]
        )
    ]
    [container] = overlay.templates()[name]["spec"]["containers"]
    assert {"name": "EXPOSE", "value": Expose.PUBLIC.value} in container["env"]


def test_every_secret_file_that_a_pod_reads_is_one_that_the_page_writes(overlay):
    data = overlay.of("ConfigMap")["email-service"]["data"]
    read = {value for name, value in data.items() if name.endswith("_FILE")}
    assert read == {f"{SECRETS}/{name}" for name in written()}


def test_every_kubectl_command_names_what_the_manifests_have(overlay):
    used = [words for words in COMMANDS if words[0] == "kubectl"]
    kinds = {"deployment": "Deployment", "job": "Job"}
    for words in used:
        for kind, name in re.findall(r"\b(deployment|job)/(\S+)", " ".join(words)):
            assert name in overlay.of(kinds[kind]), words
        if "--namespace" in words:
            assert words[words.index("--namespace") + 1] in overlay.of("Namespace")
        if "secret" in words:
            assert words[words.index("generic") + 1] == "email-service"
        if "label" in words:
            key, _, value = words[-1].partition("=")
            policies = str(list(overlay.of("NetworkPolicy").values()))
            assert f"{{'{key}': '{value}'}}" in policies, words
        if "--selector" in words:
            assert list(selected(words[words.index("--selector") + 1], overlay)), words
    assert len(used) > 10


def selected(selector, overlay):
    """The names that have the labels of a selector, each of whose values some object must have."""
    key, values = re.fullmatch(r"(\S+?)(?:=| in )\(?([\w, -]+)\)?", selector).groups()
    for value in values.split(", "):
        found = [
            each["metadata"]["name"] for each in overlay.objects if each["metadata"].get("labels", {}).get(key) == value
        ]
        assert found, (key, value)
        yield from found


def test_the_migration_that_goes_alone_has_all_that_it_needs(overlay):
    [words] = [words for words in COMMANDS if "--selector" in words and "apply" in words]
    assert set(selected(words[-1], overlay)) == {"email-service", "email-service-migrate"}


def test_every_systemctl_command_names_what_the_units_have():
    text = "\n".join(" ".join(words) for words in COMMANDS)
    named = set(re.findall(r"\bemail-service[\w@-]*\.(?:service|target)\b", text))
    assert named >= {"email-service.target", "email-service-web.service", "email-service-worker@bulk.service"}
    there = {path.name.removesuffix(".d") for path in (ROOT / "deploy/systemd").iterdir()}
    assert {re.sub(r"@[^.]+", "@", name) for name in named} <= there
    program = {word for words in COMMANDS for word in words if word.endswith("/bin/email-service")}
    assert program == {"/opt/email-service/bin/email-service"}


def test_every_file_that_the_units_read_is_one_that_the_page_makes():
    unit = units.read(ROOT / "deploy/systemd", "email-service-web.service")
    text = "\n".join(" ".join(words) for words in COMMANDS)
    for path in [*unit.credentials().values(), unit.one("Service.EnvironmentFile")]:
        assert re.search(rf"(?:> |mv \S+ ){re.escape(path)}", text), path


def test_the_drop_in_for_one_more_secret_is_taken(tmp_path):
    [(place, text)] = [(title, text) for title, text in FILES.items() if title.endswith(".conf")]
    folder = units.install(ROOT / "deploy/systemd", tmp_path / "system", Path("/bin/true"))
    (folder / Path(place).parent.name / Path(place).name).write_text(text)
    unit = units.read(folder, "email-service-worker@token.service")
    told = unit.environment("", Path("/run/credentials"))
    assert {name.removesuffix("_FILE") for name in told} - {"LANES"} <= known_variables()
    assert told["MAIL_PASSWORD_FILE"] == f"/run/credentials/{list(unit.credentials())[-1]}"


def test_a_setting_of_the_page_that_does_not_exist_would_be_noticed(overlay):
    data = overlay.of("ConfigMap")["email-service"]["data"]
    assert {name.removesuffix("_FILE") for name in data} <= known_variables()
    assert "MAIL_INVENTED" not in known_variables()
    assert yaml.safe_load(FILES["kustomization.yaml"])["configMapGenerator"][0]["behavior"] == "merge"
