"""compose.yaml as it is, in a Docker engine: started, used, hurt and stopped."""

import os
import signal
from pathlib import Path

import pytest

from tests.engine.project import IN_COMPOSE, PUBLIC, WEB, Project, call, next_month, send, wait_for_status
from tests.journeys.processes import wait_until

OURS = {"web", "worker", "worker-token", "beat"}
WITH_PROFILES = """
COMPOSE_PROFILES=public,rabbitmq
EXPOSE=internal
PUBLIC_URL=https://mail.acme.example
CELERY_BROKER_URL=amqp://email_service:email_service@rabbitmq:5672//
"""
NO_ROUTE = {"postgres", "redis", "rabbitmq"}  # these reach nobody outside
FIGURES = "import sys, urllib.request as r; print(r.urlopen(f'http://{sys.argv[1]}:9464/metrics').read().decode())"

pytestmark = pytest.mark.timeout(1200)


def start(project: Project, folder: Path, settings: str = "") -> None:
    """Secrets as the docs make them, in short, and everything up and healthy."""
    secrets = {
        "secret_key": "k" * 43,
        "database_password": "p" * 43,
        "database_url": f"postgresql://email_service:{'p' * 43}@postgres:5432/email_service",
    }
    (folder / "secrets").mkdir(mode=0o700, exist_ok=True)
    for name, value in secrets.items():
        (folder / "secrets" / name).write_text(f"{value}\n")
        (folder / "secrets" / name).chmod(0o444)
    (folder / ".env").write_text(settings)
    project.up()


def assert_delivered(project: Project) -> str:
    """The key that the mail was sent with."""
    key = project.key(*IN_COMPOSE)
    wait_for_status("sent", send(key), key)
    return key


def test_mail_goes_out_also_after_a_worker_was_killed(project, tmp_path):
    start(project, tmp_path)
    assert set(project.containers()) == {*OURS, "migrate", "postgres", "redis"}
    key = assert_delivered(project)
    before = project.containers()["worker"]
    # A kill by docker would be its owner's wish, and stay.
    os.kill(before["State"]["Pid"], signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{before['State']['Pid']}").exists())
    wait_for_status("sent", send(key), key)
    after = project.containers()["worker"]
    assert after["RestartCount"] == before["RestartCount"] + 1
    assert after["State"]["Pid"] != before["State"]["Pid"]


def test_nothing_has_rights_or_a_way_out_that_it_does_not_need(project, tmp_path):
    start(project, tmp_path, WITH_PROFILES)
    containers = project.containers()
    assert set(containers) == {*OURS, "web-public", "migrate", *NO_ROUTE}
    for name, container in containers.items():
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert all(key not in str(container["Config"]["Env"]) for key in ("k" * 43, "p" * 43)), name
    running = containers.keys() - {"migrate"}
    for name in running:
        status = _shell(project, name, "cat /proc/1/status")
        assert "Uid:\t0\t" not in status, name
        assert "CapEff:\t0000000000000000" in status, name
        # The second column of the kernel's table is where a route leads to: this one leads anywhere.
        routes = [line.split()[1] for line in _shell(project, name, "cat /proc/net/route").splitlines()]
        assert ("00000000" in routes) == (name not in NO_ROUTE), name
    published = {
        (name, binding["HostIp"], binding["HostPort"])
        for name, container in containers.items()
        for bindings in container["NetworkSettings"]["Ports"].values()
        for binding in bindings or []
    }
    assert published == {("web", "127.0.0.1", "8080"), ("web-public", "127.0.0.1", "8001")}


def test_with_both_profiles_strangers_have_a_port_of_their_own_and_rabbitmq_wakes_the_workers(project, tmp_path):
    """T30"""
    start(project, tmp_path, WITH_PROFILES)
    assert_delivered(project)
    asked = {"purpose": "password_reset", "email": "ada@example.com"}
    answers = {at: call("/public/v1/tokens", body=asked, at=at).status_code for at in (WEB, PUBLIC)}
    assert answers == {WEB: 404, PUBLIC: 202}
    assert call("/v1/messages", at=PUBLIC).status_code == 404
    queues = _shell(project, "rabbitmq", "rabbitmqctl --quiet list_queues name consumers")
    assert "transactional" in queues
    for name in ("web", "web-public", "worker", "worker-token"):
        figures = project.compose("exec", "--no-TTY", "web", "python", "-c", FIGURES, name)
        assert "email_service_" in figures, name


def test_everything_stops_in_order_and_starts_again_with_what_it_had(project, tmp_path):
    start(project, tmp_path)
    key = project.key(*IN_COMPOSE)
    waiting = send(key, send_at=next_month())
    project.compose("stop")
    codes = {name: container["State"]["ExitCode"] for name, container in project.containers().items()}
    assert {codes[name] for name in (*OURS, "migrate", "postgres")} == {0}
    project.compose("down")
    project.up()
    wait_for_status("scheduled", waiting, key)


def test_more_workers_are_one_option(project, tmp_path):
    start(project, tmp_path)
    project.compose("up", "--detach", "--wait", "--scale", "worker=3")
    listed = project.compose("ps", "--quiet", "worker").split()
    assert len(listed) == 3
    assert_delivered(project)


def _shell(project: Project, service: str, script: str) -> str:
    return project.compose("exec", "--no-TTY", service, "sh", "-c", script)
