"""What a monitoring system reads: routes that are down, and how long messages have waited."""

from prometheus_client.parser import text_string_to_metric_families

from email_service.delivery.breaker import Breakers


def scrape(house) -> dict[tuple[str, str], float]:
    with house.app.test_client() as client:
        answer = client.get("/metrics")
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    families = text_string_to_metric_families(answer.get_data(as_text=True))
    return {(sample.name, *sample.labels.values()): sample.value for each in families for sample in each.samples}


def test_an_idle_service_has_its_route_up_and_nothing_waiting(house):
    figures = scrape(house)
    assert figures["email_service_route_up", "capture"] == 1
    assert figures["email_service_oldest_due_seconds", "token"] == 0


def test_an_open_breaker_and_a_waiting_message_show(house, api):
    """F9"""
    Breakers(house.sessions).trip("capture", "the door is shut")
    api.send(lane="bulk")
    house.execute("UPDATE messages SET due_at = '2026-01-01 00:00:00.000000'")
    figures = scrape(house)
    assert figures["email_service_route_up", "capture"] == 0
    assert figures["email_service_oldest_due_seconds", "bulk"] > 1000
    assert figures["email_service_oldest_due_seconds", "transactional"] == 0


def test_the_public_half_has_no_metrics(reopen):
    """T30"""
    house = reopen(EXPOSE="public")
    with house.app.test_client() as client:
        assert client.get("/metrics").status_code == 404
