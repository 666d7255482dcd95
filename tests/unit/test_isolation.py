"""Shows that unit tests have no network, and that a developer's own settings reach no test."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

TESTS = Path(__file__).parent.parent


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_a_unit_test_cannot_connect(family):
    with socket.socket(family) as client, pytest.raises(AssertionError, match="move it out of tests/unit"):
        client.connect(("127.0.0.1", 5432) if family != socket.AF_UNIX else "/var/run/postgresql/.s.PGSQL.5432")


def test_a_unit_test_cannot_reach_the_network_through_a_library():
    with pytest.raises(AssertionError, match="move it out of tests/unit"):
        requests.get("http://localhost:1/", timeout=1)


def test_settings_of_the_environment_do_not_reach_the_tests(tmp_path):
    names = ["MAIL_SERVER", "DATABASE_URL", "SECRET_KEY_FILE", "REDIS_URL", "CELERY_BROKER_URL", "SMTP_PASSWORD"]
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (tmp_path / "test_seen.py").write_text(
        f"import os\ndef test_seen(): assert [name for name in {names} if name in os.environ] == []\n"
    )
    environment = {**os.environ, **dict.fromkeys(names, "x"), "PYTHONPATH": str(TESTS), "TEST_SERVERS": "none"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "1 passed" in result.stdout
