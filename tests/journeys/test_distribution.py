"""PostgreSQL, two web workers, two Celery workers and a beat on one broker; and brokers that are no help at all."""

import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.journeys.mailbag import copies, ids, smtp_settings
from tests.journeys.processes import free_port, measured, stop_all, wait_until

MESSAGES = 200


def test_many_workers_deliver_each_message_once_and_the_sweep_finds_what_no_wake_up_told(
    house, serve_mail, database, broker
):
    """F5, F8"""
    server = serve_mail()
    installation = house(**smtp_settings(server), **database, CELERY_BROKER_URL=broker.url)
    assert installation.command("migrate").returncode == 0
    crew = [installation.start("worker"), installation.start("worker"), installation.start("beat")]
    web = installation.serve("--workers", "2")
    web.api_key = installation.create_client()
    with ThreadPoolExecutor(8) as pool:
        accepted = list(pool.map(lambda number: web.send(f"reader-{number}@example.com"), range(MESSAGES)))
    wait_until(lambda: len(server.messages) >= MESSAGES)
    assert copies(server) == dict.fromkeys(ids(accepted), 1)
    # Cut off from the broker, they find it again, and mail does not wait for that.
    broker.hang_up()
    accepted += [web.send(f"cut-off-{number}@example.com") for number in range(5)]
    wait_until(lambda: len(server.messages) >= MESSAGES + 5, 20)
    assert all(process.is_running() for process in crew)
    # One that was still starting on a busy machine has no handler yet.
    assert set(stop_all(crew)) <= {0, -signal.SIGTERM}
    # Nobody listens now, and what was published is thrown away.
    accepted += [web.send(f"later-{number}@example.com") for number in range(5)]
    time.sleep(0.5)
    broker.forget()
    crew = [installation.start("worker"), installation.start("beat")]
    wait_until(lambda: len(server.messages) >= MESSAGES + 10)
    for message in accepted[-5:]:
        web.wait_for(message, "sent")
    # It delivers before it has a handler.
    wait_until(lambda: " ready." in crew[0].log())
    worker, beat, serving = stop_all([*crew, web.process])
    assert (worker, serving) == (0, 0)
    assert beat in {0, -signal.SIGTERM}  # as above: nothing has shown that it was ready
    assert copies(server) == dict.fromkeys(ids(accepted), 1)
    assert "Traceback" not in installation.logs()


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_is_away_or_silent_keeps_no_caller_waiting(house, scheme):
    """F5"""
    port = free_port()
    web = house(CELERY_BROKER_URL=f"{scheme}://127.0.0.1:{port}").serve()
    web.send()
    away = _durations(web)
    # Connections are taken now, and nothing is ever said.
    with socket.create_server(("127.0.0.1", port)):
        silent = _durations(web)
        measured(
            f"{scheme}: a 202 within {away[-1]:.3f} s while the broker is away, {silent[-1]:.3f} s while it is silent"
        )
        # The slowest may have waited for the processor of a busy machine; most cannot have waited for the broker.
        assert max(away[-2], silent[-2]) < 1
        assert web.process.terminate() == 0


def _durations(web) -> list[float]:
    durations = []
    for _ in range(8):
        begun_at = time.monotonic()
        web.send()
        durations.append(time.monotonic() - begun_at)
    return sorted(durations)
