"""From an empty folder to a mail that can be looked at, and what a start that cannot succeed says."""

import json
import socket
import subprocess
import time

import requests

from tests.journeys.processes import free_port, measured


def test_the_printed_line_sends_a_mail_that_the_inbox_shows(house):
    web = house().serve()
    line = next(line.strip() for line in web.process.log().splitlines() if line.strip().startswith("curl "))
    done = subprocess.run(f"{line} -w '\n%{{http_code}}'", shell=True, capture_output=True, text=True, check=True)
    body, _, status = done.stdout.rpartition("\n")
    assert (status, json.loads(body)["status"]) == ("202", "queued")
    begun_at = time.monotonic()
    (mail,) = requests.get(f"{web.url}/inbox/messages?wait_seconds=20", timeout=30).json()["data"]
    measured(f"in the inbox {time.monotonic() - begun_at:.2f} s after the 202")
    assert (mail["to"], "Ada" in mail["text"], "<html" in mail["html"]) == ("ada@example.com", True, True)
    assert mail["subject"] in requests.get(f"{web.url}/inbox", timeout=30).text
    for view in ("html", "text", "source"):
        page = requests.get(f"{web.url}/inbox", params={"mail": mail["id"], "view": view}, timeout=30)
        assert (page.status_code, mail["subject"] in page.text) == (200, True)
    html = requests.get(f"{web.url}/inbox/messages/{mail['id']}/html", timeout=30)
    source = requests.get(f"{web.url}/inbox/messages/{mail['id']}/source", timeout=30)
    assert "<html" in html.text
    assert f"Message-ID: {json.loads(body)['message_id_header']}" in source.text


def test_a_second_start_takes_the_same_port_finds_its_data_and_prints_no_key(house):
    installation = house()
    web = installation.serve()
    message = web.send()
    web.wait_for(message, "sent")
    assert web.process.terminate() == 0
    begun_at = time.monotonic()
    again = installation.serve(port=int(web.url.rpartition(":")[2]))
    measured(f"a second start listens after {time.monotonic() - begun_at:.2f} s")
    assert "esk_" not in again.process.log()
    assert again.get(f"/v1/messages/{message['id']}")["status"] == "sent"


def test_links_lead_to_the_port_that_it_listens_on(house):
    """T17: where nothing else is said, to this machine; never to what a request says of its host."""
    web = house().serve()
    order = {"purpose": "email_verification", "subject": "u-1", "email": "ada@example.com"}
    assert web.call("POST", "/v1/tokens", json=order).status_code == 201
    (mail,) = requests.get(f"{web.url}/inbox/messages?wait_seconds=20", timeout=30).json()["data"]
    assert [link for link in mail["links"] if link.startswith(f"{web.url}/pages/email-verification?token=")]


def test_a_taken_port_is_one_sentence(house):
    installation = house()
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        done = installation.command("run", "--port", str(port))
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert f"127.0.0.1:{port}" in done.stderr


def test_every_wrong_setting_is_named_at_once(house):
    wrong = {"MAIL_PORT": "many", "DATABASE_URL": "mysql://x", "DELIVERY_THREADS": "0", "LOG_LEVEL": "LOUD"}
    for command in (["run", "--port", str(free_port())], ["worker"]):
        done = house(**wrong).command(*command)
        assert done.returncode == 1, command
        assert "Traceback" not in done.stderr + done.stdout
        for name in wrong:
            assert done.stderr.count(f"{name}:") == 1, done.stderr
