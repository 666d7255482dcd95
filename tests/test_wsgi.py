"""The entry for WSGI servers other than the command's own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CALL = "import wsgi; print(wsgi.application.test_client().get('/healthz').status_code)"


def test_any_wsgi_server_finds_the_application(tmp_path):
    settings = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/mail.db",
        "SECRET_KEY": "a key for tests of 32 characters, or more",
    }
    done = subprocess.run(
        [sys.executable, "-c", CALL],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.returncode) == ("200\n", 0), done.stderr
