"""What a monitoring system scrapes, in Prometheus' text format. Read from the database, so every process says the same.

Knows the names of the figures; where they come from is the probes' business.
"""

from collections.abc import Iterator

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from email_service.web import context
from email_service.web.health import Probes

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
def tell() -> Response:
    """Whether each mail route is up, and how long the oldest due message of each lane has waited."""
    registry = CollectorRegistry()
    registry.register(_Collector(context.part(Probes)))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class _Collector:
    def __init__(self, probes: Probes) -> None:
        self._probes = probes

    def collect(self) -> Iterator[GaugeMetricFamily]:
        with context.parts().glances() as session:
            outages = self._probes.outages(session)
            oldest_due_seconds = self._probes.oldest_due_seconds(session)
        is_up = GaugeMetricFamily("email_service_route_up", "0 while the route's breaker is open.", labels=["route"])
        for route in self._probes.routes:
            is_up.add_metric([route], float(route not in outages))
        yield is_up
        waits = GaugeMetricFamily(
            "email_service_oldest_due_seconds", "How long the oldest due message has waited.", labels=["lane"]
        )
        for lane, seconds in oldest_due_seconds.items():
            waits.add_metric([lane], seconds or 0.0)
        yield waits
