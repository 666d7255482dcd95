"""The example of a main app as real processes: the service, examples/main_app beside it, and people who use both.

Knows how to start both and how to read a mail; refuses to know what should happen.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.journeys.processes import LEASH, START_SECONDS, House, Process, Web, free_port, wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
PASSWORD = "analytical steam engine"
NEW_PASSWORD = "a jacquard loom weaves"
_ISSUED = iter(range(1, 250))


@dataclass
class Person:
    """Somebody with a browser of their own, at a network of their own."""

    url: str
    ip: str = ""
    http: requests.Session = field(default_factory=requests.Session)
    access_token: str = ""

    def post(self, path: str, **members: Any) -> requests.Response:
        """A call of /auth/*; the access token of a sign-in is kept."""
        answer = self.http.post(f"{self.url}/auth/{path}", json=members, headers=self._headers(), timeout=30)
        if answer.ok and "access_token" in answer.text:
            self.access_token = answer.json()["access_token"]
        return answer

    def me(self) -> requests.Response:
        return self.http.get(f"{self.url}/auth/me", headers=self._headers(), timeout=30)

    def refresh_token(self) -> str:
        return self.http.cookies.get("refresh") or ""

    def present(self, refresh_token: str) -> requests.Response:
        """Refresh with this token instead of the one at hand."""
        headers = {**self._headers(), "Cookie": f"refresh={refresh_token}"}
        return requests.post(f"{self.url}/auth/refresh", json={}, headers=headers, timeout=30)

    def _headers(self) -> dict[str, str]:
        return {"X-Forwarded-For": self.ip, "Authorization": f"Bearer {self.access_token}"}


@dataclass
class Example:
    """Both of them, and the installation of the service."""

    house: House
    service: Web
    url: str
    environment: dict[str, str]

    def person(self, ip: str = "") -> Person:
        return Person(self.url, ip or f"198.51.100.{next(_ISSUED)}")

    def signed_in(self, email: str, password: str = PASSWORD) -> Person:
        """Somebody who went all the way."""
        person = self.person()
        assert person.post("register", email=email, name="Ada", password=password).status_code == 202
        token = self.token(email, "Confirm")
        assert person.post("verify-email", token=token, password=password).status_code == 200
        assert person.post("login", email=email, password=password).status_code == 200
        return person

    def mails(self, email: str, about: str = "") -> list[dict[str, Any]]:
        """What was mailed to the address, newest first, with this in the subject."""
        listed = requests.get(f"{self.service.url}/inbox/messages", params={"to": email}, timeout=30).json()["data"]
        return [mail for mail in listed if about in mail["subject"]]

    def link(self, email: str, about: str, number: int = 1) -> str:
        """The link of the newest mail about this, once there are so many of them."""
        mails = wait_until(lambda: found if len(found := self.mails(email, about)) >= number else None)
        return next(link for link in mails[0]["links"] if "token=" in link)

    def token(self, email: str, about: str, number: int = 1) -> str:
        return self.link(email, about, number).partition("token=")[2]

    def subject(self, person: Person) -> str:
        return str(person.me().json()["subject"])

    def sessions(self, subject: str) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.service.get(f"/v1/sessions?subject={subject}")["data"]
        return listed

    def stop_service(self) -> None:
        self.service.process.terminate()

    def start_service(self) -> None:
        port = int(self.service.url.rpartition(":")[2])
        self.service = self.house.serve(port=port)

    def flask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the example, run to its end."""
        command = [sys.executable, "-m", "flask", "--app", "main_app.app:create_app", *words]
        return subprocess.run(
            command,
            env=self.environment,
            cwd=self.house.folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


@contextmanager
def running(folder: Path) -> Iterator[Example]:
    """The service in its embedded shape and the example beside it, until the end of the block."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with House(folder, {"FRONTEND_URL": url, "TRUSTED_PROXY_COUNT": "1"}) as house:
        service = house.serve()
        environment = {
            "PATH": str(Path(sys.executable).parent),
            "PYTHONPATH": str(EXAMPLES),
            "LC_ALL": "C.UTF-8",
            "MAIN_APP_URL": url,
            "MAIN_APP_DATABASE": str(folder / "main_app.db"),
            "MAIN_APP_PROXY_COUNT": "1",
            "EMAIL_SERVICE_URL": service.url,
            "EMAIL_API_KEY": _key(house),
        }
        _start(house, environment, port)
        yield Example(house, service, url, environment)


def _key(house: House) -> str:
    """A key with the scopes that `make example` gives, and no more."""
    listed = re.search(r"(?s)SCOPES = \((.*?)\)", (EXAMPLES / "start.py").read_text(encoding="utf-8"))
    assert listed
    scopes = [word for scope in re.findall(r'"(.+?)"', listed[1]) for word in ("--scope", scope)]
    made = re.search(r"esk_[\w-]+", house.command("client", "create", "main-app", *scopes, "--json").stdout)
    assert made
    return made.group()


def _start(house: House, environment: dict[str, str], port: int) -> None:
    log_path = house.folder / "main_app.log"
    program = str(Path(sys.executable).with_name("gunicorn"))
    # The log has each request with its Referer, as the server got it.
    log_format = '%(m)s %(U)s referer="%({referer}i)s" %(s)s'
    options = ["--bind", f"127.0.0.1:{port}", "--threads", "4", "--no-control-socket", "--access-logfile", "-"]
    with log_path.open("wb") as log:
        popen = subprocess.Popen(
            [*LEASH, program, *options, "--access-logformat", log_format, "main_app.app:serve()"],
            cwd=house.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    process = Process(popen, log_path)
    house.processes.append(process)

    def answers() -> bool:
        assert process.is_running(), process.log()
        with suppress(requests.RequestException):
            return requests.get(f"http://127.0.0.1:{port}/login", timeout=5).ok
        return False

    wait_until(answers, START_SECONDS)
