"""Dockerfile, compose.yaml and .dockerignore agree with the settings, the command line and each other."""

import json
import re
import shlex
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from email_service.cli import server
from email_service.settings import Expose, MailMode, Settings, load
from tests.deployment import known_variables, parse

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
SERVING = ["web", "web-public", "worker", "worker-token", "beat"]


def instructions(name: str) -> list[str]:
    """What follows this word in the Dockerfile's last stage, continued lines joined."""
    last = DOCKERFILE.rsplit("\nFROM ", 1)[1].replace("\\\n", " ")
    return [line.split(maxsplit=1)[1] for line in last.splitlines() if line.startswith(f"{name} ")]


def seconds(span: str) -> int:
    return sum(int(number) * {"s": 1, "m": 60, "h": 3600}[unit] for number, unit in re.findall(r"(\d+)([smh])", span))


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """What compose makes of `${NAME:-default}`."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: environ.get(found[1]) or found[2], text)


def settings_of(name: str, tmp_path: Path, **environ: str) -> Settings:
    """Of a service, with these lines in `.env`."""
    environment = {key: interpolate(value, environ) for key, value in OURS[name]["environment"].items()}
    for secret in ("DATABASE_URL", "SECRET_KEY"):
        path = Path(environment[f"{secret}_FILE"])
        assert path == Path("/run/secrets") / secret.lower()
        (tmp_path / path.name).write_text("postgresql://user:pass@postgres/name\n" if "URL" in secret else "k" * 43)
        environment[f"{secret}_FILE"] = str(tmp_path / path.name)
    return load({**environ, **environment}, None)


def locked(name: str) -> set[tuple[str, str]]:
    """Each package of this lock and its version."""
    return set(re.findall(r"(?m)^([\w-]+)(?:\[.+\])?==([^ ]+)", (ROOT / name).read_text(encoding="utf-8")))


def test_the_processes_of_the_distributed_shape_are_there():
    assert set(OURS) == {"migrate", *SERVING}
    assert set(SERVICES) - set(OURS) == {"postgres", "redis", "rabbitmq"}
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert profiles == {"web-public": ["public"], "rabbitmq": ["rabbitmq"]}


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_a_service_is_a_setting(name):
    variables = {variable.removesuffix("_FILE") for variable in OURS[name]["environment"]}
    assert variables
    assert variables <= known_variables()


@pytest.mark.parametrize("name", OURS)
def test_every_command_of_a_service_exists(name):
    words = [str(word) for word in OURS[name]["command"]]
    assert parse(words) == words[0]


def test_the_images_own_command_exists_and_is_what_the_entrypoint_runs():
    (entrypoint,), (command,) = instructions("ENTRYPOINT"), instructions("CMD")
    assert json.loads(entrypoint) == ["tini", "--", "email-service"]
    assert parse(json.loads(command)) == json.loads(command)[0]


def test_a_command_that_does_not_exist_is_noticed():
    with pytest.raises(Exception, match="No such"):
        parse(["run", "--hosts", "0.0.0.0"])
    with pytest.raises(Exception, match="No such"):
        parse(["workers"])


def test_the_environment_of_a_service_is_a_whole_set_of_settings(tmp_path):
    settings = settings_of("web", tmp_path)
    assert settings.database_url.startswith("postgresql+psycopg://")
    assert settings.celery_broker_url != settings.redis_url
    assert (settings.expose, settings.mail_mode) == (Expose.ALL, MailMode.CAPTURE)


def test_all_processes_have_the_same_settings_and_the_same_image():
    own = {"environment": OURS["web"]["environment"]}
    assert {**own["environment"], "EXPOSE": "public"} == OURS["web-public"]["environment"]
    for key in ("environment", "env_file", "image", "secrets"):
        services = [{**OURS["web-public"], **own}, *(each for name, each in OURS.items() if name != "web-public")]
        assert len({json.dumps(service[key], sort_keys=True) for service in services}) == 1, key


def test_a_public_instance_stands_beside_one_that_serves_no_stranger(tmp_path):
    exposed = {name: settings_of(name, tmp_path, EXPOSE="internal").expose for name in SERVING}
    assert exposed == {**dict.fromkeys(SERVING, Expose.INTERNAL), "web-public": Expose.PUBLIC}


def test_the_rabbitmq_of_its_profile_is_what_the_page_for_operators_points_to(tmp_path):
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    [url] = re.findall(r"(?m)^CELERY_BROKER_URL=(amqp://rabbitmq\S+|amqp://\S+@rabbitmq\S+)$", page)
    environment = SERVICES["rabbitmq"]["environment"]
    user, password = (interpolate(environment[f"RABBITMQ_DEFAULT_{name}"], {}) for name in ("USER", "PASS"))
    assert url == f"amqp://{user}:{password}@rabbitmq:5672//"
    assert settings_of("worker", tmp_path, CELERY_BROKER_URL=url).celery_broker_url == url
    assert settings_of("worker", tmp_path).celery_broker_url == "redis://redis:6379/1"


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "cap_add" not in service
    assert not service.get("privileged")
    assert service["tmpfs"]
    assert service["restart"]
    assert service["healthcheck"] if not name.startswith("web") else instructions("HEALTHCHECK")


@pytest.mark.parametrize("name", SERVING)
def test_a_stop_leaves_time_to_finish_what_is_in_flight(name):
    """F15"""
    assert seconds(OURS[name]["stop_grace_period"]) > server.GRACEFUL_SECONDS
    assert instructions("STOPSIGNAL") == ["SIGTERM"]


@pytest.mark.parametrize("name", SERVING)
def test_nothing_starts_before_the_database_is_migrated(name):
    conditions = {other: after["condition"] for other, after in OURS[name]["depends_on"].items()}
    assert conditions["migrate"] == "service_completed_successfully"
    assert conditions["postgres"] == conditions["redis"] == "service_healthy"


def test_only_web_services_are_published_and_only_on_this_machine():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["web", "web-public"]
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert published["web"] != published["web-public"]
    assert [name for name, network in COMPOSE["networks"].items() if network and network.get("internal")] == ["inside"]
    assert SERVICES["postgres"]["networks"] == SERVICES["redis"]["networks"] == ["inside"]
    assert SERVICES["rabbitmq"]["networks"] == ["inside"]


def test_every_secret_comes_from_a_file_and_every_volume_is_declared():
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert used == set(COMPOSE["secrets"])
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    mounted = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert mounted == set(COMPOSE["volumes"])


def test_the_image_runs_as_a_fixed_user_without_rights():
    assert instructions("USER") == ["10001:10001"]
    assert instructions("VOLUME") == ["/srv/var"]
    assert instructions("EXPOSE") == ["8000"]


def test_the_builder_gets_all_that_it_copies_and_nothing_else():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        source for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", DOCKERFILE) for source in shlex.split(line)[:-1]
    }
    assert ignored[1] == "*"
    assert allowed == copied | {"Dockerfile"}
    assert all((ROOT / source).exists() for source in copied)
    assert not any(fnmatch(name, pattern) for name in (".env", "secrets", "var", ".git") for pattern in allowed)


def test_the_wheel_carries_what_the_image_needs_at_run_time():
    """The build itself asks `resource` for them; this holds the Dockerfile to asking."""
    assert "email_service.settings import resource" in DOCKERFILE
    assert all(f"COPY {folder} {folder}" in DOCKERFILE for folder in ("email_service", "migrations", "templates"))
    assert "--require-hashes" in DOCKERFILE


def test_the_image_has_every_extra_and_nothing_that_the_tests_did_not_run():
    runtime, image, development = (locked(f"requirements{kind}.lock") for kind in ("", "-image", "-dev"))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    wanted = {re.match(r"[\w-]+", requirement)[0] for requirements in extras.values() for requirement in requirements}
    assert f'"email-service[{",".join(extras)}]"' in DOCKERFILE
    assert runtime < image < development
    assert wanted <= {name for name, _ in image - runtime}
