"""What becomes of a message that the mail server puts off, refuses or leaves in doubt, or that is not to be sent."""

from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.journeys.mailbag import copies, smtp_settings
from tests.journeys.processes import House, Web, wait_until
from tests.wire.server import Script, SmtpServer
from tests.wire.steps import Drop, Reply

PUT_OFF = Reply("451 4.7.1 greylisted, come back")
TAKEN = Reply("250 2.1.5 ok")


@pytest.fixture(scope="module")
def choosy(tmp_path_factory) -> Iterator[tuple[Web, SmtpServer]]:
    """A service whose mail server puts one address off twice and does not know another."""
    steps = {
        "rcpt:grey@example.com": [PUT_OFF, PUT_OFF, TAKEN],
        "rcpt:gone@example.com": Reply("550 5.1.1 no such user"),
    }
    with SmtpServer(Script(steps=steps)) as server:
        settings = smtp_settings(server, MAIL_RETRY_DELAYS="1s,1s")
        with House(tmp_path_factory.mktemp("choosy"), settings) as house:
            yield house.serve(), server


def test_a_message_that_was_put_off_is_delivered_once(choosy):
    """F6"""
    web, server = choosy
    accepted = web.send("grey@example.com")
    sent = web.wait_for(accepted, "sent")
    assert [(each["outcome"], each["code"]) for each in sent["attempts"]] == [
        ("retry_later", 451),
        ("retry_later", 451),
        ("accepted", 250),
    ]
    assert copies(server)[accepted["message_id_header"]] == 1


def test_an_address_that_does_not_exist_is_not_mailed_again(choosy):
    """F9"""
    web, server = choosy
    bounced = web.wait_for(web.send("gone@example.com"), "bounced")
    assert bounced["attempts"][0]["enhanced_code"] == "5.1.1"
    second = web.send("gone@example.com")
    assert web.get(f"/v1/messages/{second['id']}")["status"] == "suppressed"
    other = web.send("here@example.com")
    web.wait_for(other, "sent")
    assert copies(server)[other["message_id_header"]] == 1
    assert sum(command.startswith("RCPT TO:<gone@") for command in server.commands) == 1


def test_a_message_whose_reply_was_lost_waits_and_keeps_its_message_id(house, serve_mail):
    """F10"""
    server = serve_mail(steps={"final": [Drop(), Reply("250 2.0.0 queued")]})
    web = house(**smtp_settings(server)).serve()
    accepted = web.send()
    uncertain = web.wait_for(accepted, "uncertain")
    (attempt,) = uncertain["attempts"]
    assert (attempt["outcome"], attempt["phase"], attempt["code"]) == ("uncertain", "final", None)
    pause = datetime.fromisoformat(uncertain["next_attempt_at"]) - datetime.fromisoformat(attempt["finished_at"])
    assert 200 < pause.total_seconds() < 400
    assert len(server.received) == 1
    assert web.call("POST", f"/v1/messages/{accepted['id']}/retry").status_code == 200
    web.wait_for(accepted, "sent")
    first, second = server.received
    assert first.content == second.content
    assert copies(server) == {accepted["message_id_header"]: 1}


def test_mail_that_is_switched_off_is_recorded_and_never_sent(house, serve_mail):
    server = serve_mail()
    installation = house(**smtp_settings(server, MAIL_ENABLED="false"))
    web = installation.serve()
    assert "switched off" in web.process.log()
    accepted = web.send()
    assert accepted["status"] == "cancelled"
    assert web.get(f"/v1/messages/{accepted['id']}")["attempts"] == []
    events = web.get(f"/v1/messages/{accepted['id']}/events")["data"]
    assert events[-1]["data"]["reason"] == "mail_disabled"
    assert web.get("/readyz")["checks"]["mail"] == "off"
    assert web.call("GET", "/inbox").status_code == 404
    assert web.process.terminate() == 0
    # What was accepted while mail was off stays unsent when it is switched on.
    on_again = installation.serve(MAIL_ENABLED="true")
    later = on_again.send("later@example.com")
    on_again.wait_for(later, "sent")
    assert wait_until(lambda: copies(server)) == {later["message_id_header"]: 1}
