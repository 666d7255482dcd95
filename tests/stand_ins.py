"""Programs that a documentation page names, as a test can run them: curl, docker and make.

The commands that `desk.py` puts on the PATH run it as `python stand_ins.py curl ...`. `curl` speaks to the service of
the test and notes what it answered, `docker` runs here what a page runs in a container, `make` says what it would do.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import requests

LOCAL = "http://127.0.0.1:8000"
ROOT = Path(__file__).parent.parent


def read_curl(words: list[str]) -> argparse.Namespace:
    """The `method`, `url`, `headers` and `body` of a call of the local service."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("-X", dest="method")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="body")
    parser.add_argument("-sS", action="store_true")
    call = parser.parse_args(words)
    assert call.url.startswith(LOCAL), call.url
    call.method = call.method or ("GET" if call.body is None else "POST")
    return call


def curl(words: list[str]) -> int:
    """Send one request to DESK_URL in the place of LOCAL, print the answer, and note the call in DESK_CALLS."""
    call = read_curl(words)
    answer = requests.request(
        call.method,
        os.environ["DESK_URL"] + call.url.removeprefix(LOCAL),
        data=None if call.body is None else call.body.encode(),
        headers=dict(header.split(": ", 1) for header in call.headers),
        timeout=35,
    )
    is_json = answer.headers.get("Content-Type", "").endswith("json")
    noted = {"url": call.url, "status": answer.status_code, "body": answer.json() if is_json else None}
    with Path(os.environ["DESK_CALLS"]).open("a", encoding="utf-8") as calls:
        calls.write(json.dumps(noted) + "\n")
    print(answer.text)  # noqa: T201 - as curl does
    return 0


def docker(words: list[str]) -> int:
    """Run what is meant for a container; what is docker's own business is noted in DESK_LEFT_OUT."""
    desk = Path(os.environ["DESK"])
    match words:
        case ["exec", "email-service", *command]:
            code = _run(command, desk / "srv", DATABASE_URL="", SECRET_KEY="")
        case ["compose", "exec", "--no-TTY", "postgres", program, *options]:
            code = _run([f"{os.environ['DESK_POSTGRES']}/{program}", *options], desk)
        case ["compose", "exec", "web", *command]:
            code = _run(command, desk)
        case ["compose", "run", "--rm", "migrate"]:
            code = _run(["email-service", "migrate"], desk)
        case ["run", "--rm", "--interactive", "--volume", volume, "--entrypoint", "sh", "email-service", *command]:
            folder = desk / volume.partition(":")[0]
            (folder / "var").mkdir(parents=True, exist_ok=True)
            code = _run(["sh", *command], folder)
        case ["cp", source, target] if source.startswith("email-service:/srv/"):
            code = _run(["cp", str(desk / "srv" / source.removeprefix("email-service:/srv/")), target], Path.cwd())
        case _:
            code = 0
            if words[0] == "inspect":
                print("healthy")  # noqa: T201 - which a page waits for
            with Path(os.environ["DESK_LEFT_OUT"]).open("a", encoding="utf-8") as left_out:
                left_out.write(f"docker {' '.join(words)}\n")
    return code


def make(words: list[str]) -> int:
    """What the Makefile would do, without doing it; a target that it does not know fails."""
    return _run(["/usr/bin/env", f"PATH={os.defpath}", "make", "--dry-run", "-C", str(ROOT), *words], ROOT)


def _run(command: list[str], folder: Path, **environment: str) -> int:
    return subprocess.run(command, cwd=folder, env={**os.environ, **environment}, check=False).returncode


if __name__ == "__main__":
    sys.exit({"curl": curl, "docker": docker, "make": make}[sys.argv[1]](sys.argv[2:]))
