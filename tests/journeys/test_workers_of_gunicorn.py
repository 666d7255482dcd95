"""`gunicorn wsgi:application` with several workers: they count together, or the scrape says that they do not."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.journeys.processes import LEASH, Process, Web, free_port
from tests.stand_ins import ROOT

GUNICORN = str(Path(sys.executable).with_name("gunicorn"))
COUNT = "email_service_http_request_seconds_count"
FOLDERS = "email-service-figures-*"
CALLS = 60
SECRET_KEY = "a key for tests of 32 characters, or more"


@pytest.fixture
def serve(house, tmp_path) -> Iterator[Callable[..., Web]]:
    """Start gunicorn with two workers; by default where `wsgi.py` is, and `gunicorn.conf.py` with it."""
    installation = house(DATABASE_URL=f"sqlite:///{tmp_path}/mail.db", SECRET_KEY=SECRET_KEY)
    assert installation.command("migrate").returncode == 0
    port, log_path = free_port(), tmp_path / "gunicorn.log"
    with ExitStack() as stack:

        def start(*options: str, folder: Path = ROOT) -> Web:
            served = ["--workers", "2", "--threads", "4", "--no-control-socket", "--bind", f"127.0.0.1:{port}"]
            with log_path.open("wb") as log:
                popen = subprocess.Popen(
                    [*LEASH, GUNICORN, *served, *options, "wsgi:application"],
                    cwd=folder,
                    env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
                    | installation.settings,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            process = Process(popen, log_path)
            stack.callback(process.kill)
            return installation.await_web(process, port)

        yield start


def count(web: Web) -> float:
    """How many calls of a path that does not exist were counted."""
    scraped = web.call("GET", "/metrics")
    assert (scraped.status_code, scraped.headers["Content-Type"][:10]) == (200, "text/plain")
    samples = [each for family in text_string_to_metric_families(scraped.text) for each in family.samples]
    return sum(each.value for each in samples if each.name == COUNT and each.labels["status"] == "4xx")


def call(web: Web) -> None:
    """From a connection of its own each time, so that any worker may take it."""
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: requests.get(f"{web.url}/nowhere", timeout=30).status_code, range(CALLS))
        assert set(answers) == {404}


def test_its_workers_count_together_and_one_that_dies_loses_nothing(serve, tmp_path):
    """F3"""
    web = serve()
    call(web)
    assert [count(web) for _ in range(8)] == [CALLS] * 8
    os.kill(web.process.children()[0], signal.SIGKILL)
    call(web)
    assert [count(web) for _ in range(8)] == [2 * CALLS] * 8
    [folder] = tmp_path.glob(FOLDERS)
    # One for each worker; the third goes on in that of the first.
    assert len(list(folder.glob("histogram_*.db"))) == 2
    assert web.process.terminate() == 0
    assert list(tmp_path.glob(FOLDERS)) == []


@pytest.mark.parametrize("way", ["another folder", "another configuration", "preloaded"])
def test_the_share_of_one_worker_is_never_told_as_the_whole(serve, tmp_path, way):
    own = tmp_path / "gunicorn.conf.py"
    own.write_text("keepalive = 5\n")
    web = {
        "another folder": lambda: serve(folder=tmp_path),
        "another configuration": lambda: serve("--config", str(own)),
        "preloaded": lambda: serve("--preload"),
    }[way]()
    refused = web.call("GET", "/metrics")
    assert (refused.status_code, refused.json()["code"]) == (501, "figures_apart")
    assert "email-service run" in refused.json()["detail"]


def test_a_single_worker_is_the_whole(serve, tmp_path):
    web = serve("--workers", "1", folder=tmp_path)
    call(web)
    assert count(web) == CALLS
