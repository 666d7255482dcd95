"""SIGTERM: what is in flight is finished, what was only claimed goes back, and the next start delivers the rest."""

import sqlite3

from tests.journeys.mailbag import Hold, copies, ids, smtp_settings
from tests.journeys.processes import wait_until
from tests.wire.steps import Reply


def test_sigterm_finishes_the_mail_in_flight_and_returns_the_rest(house, serve_mail):
    """F15"""
    first, second = Hold("250 2.0.0 queued"), Hold("250 2.0.0 queued")
    server = serve_mail(steps={"final": [first, second, Reply("250 2.0.0 queued")]})
    installation = house(**smtp_settings(server, DELIVERY_THREADS="1"))
    web = installation.serve()
    accepted = [web.send(f"reader-{number}@example.com") for number in range(30)]
    # The first message was claimed alone; the second is claimed together with others.
    first.released.set()
    assert second.reached.wait(30)
    assert _statuses(installation).count("sending") > 1
    web.process.popen.terminate()
    # Once it has heard the signal, it keeps no more than the one in flight.
    wait_until(lambda: _statuses(installation).count("sending") == 1)
    assert web.process.is_running()
    second.released.set()
    assert web.process.wait() == 0
    statuses = _statuses(installation)
    assert (statuses.count("sent"), statuses.count("queued")) == (2, 28)
    again = installation.serve()
    wait_until(lambda: len(server.messages) == 30)
    assert copies(server) == dict.fromkeys(ids(accepted), 1)
    for message in accepted:
        again.wait_for(message, "sent")


def _statuses(installation):
    database = sqlite3.connect(installation.folder / "var/email_service.db")
    try:
        return [status for (status,) in database.execute("SELECT status FROM messages")]
    finally:
        database.close()
