"""What a monitoring system scrapes, in Prometheus' text format: what this command's processes counted, and how mail is.

The latter is read from the database, so every process says the same of it. Knows the names of those figures; where they
come from is the probes' business.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Blueprint, Flask, Response, request
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from email_service.kernel import clock, figures
from email_service.kernel.errors import FiguresApartError
from email_service.kernel.figures import PREFIX, Figures
from email_service.web import context
from email_service.web.checks import Probes

KEPT_SECONDS = 1.0  # however many scrape

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
def tell() -> Response:
    """Counts, durations, and how mail stands; FiguresApartError rather than those of one process among several."""
    if request.environ["wsgi.multiprocess"] and figures.shared_folder() is None:
        raise FiguresApartError
    return Response(generate_latest(context.part(CollectorRegistry)), content_type=CONTENT_TYPE_LATEST)


def gather(counts: Figures, glances: sessionmaker[Session], probes: Probes) -> CollectorRegistry:
    """All that is scraped of one process, and of those that count together with it."""
    registry = CollectorRegistry()
    registry.register(counts)
    registry.register(Standing(glances, probes))
    return registry


def answer_apart(app: Flask, port: int) -> None:
    """Serve the figures, and nothing else, to whoever comes by this port; the other ones serve what they did before."""
    serve, tell_figures = app.wsgi_app, make_wsgi_app(context.parts_of(app).get(CollectorRegistry))
    told_port = str(port)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # What the socket says, not what the caller does.
        is_apart = environ["SERVER_PORT"] == told_port
        return tell_figures(environ, start_response) if is_apart else serve(environ, start_response)

    app.wsgi_app = answer  # type: ignore[method-assign]


class Standing(Collector):
    """How mail stands, by the database; without it nothing but that is told, for a scrape that fails tells less."""

    def __init__(self, glances: sessionmaker[Session], probes: Probes) -> None:
        self._glances = glances
        self._probes = probes
        self._lock = threading.Lock()
        self._told: list[GaugeMetricFamily] = []
        self._told_at_seconds = float("-inf")

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The figures of a second ago at most."""
        with self._lock:
            if clock.monotonic_seconds() - self._told_at_seconds >= KEPT_SECONDS:
                self._told = self._look()
                self._told_at_seconds = clock.monotonic_seconds()
            yield from self._told

    def _look(self) -> list[GaugeMetricFamily]:
        probes = self._probes
        try:
            with self._glances() as session:
                outages = probes.outages(session)
                ages, counts = probes.oldest_due_seconds(session), probes.due_counts(session)
        except SQLAlchemyError:
            return [_gauge("database_up", "0 while the database cannot be read.", {(): 0})]
        routes = {(route,): route not in outages for route in probes.routes}
        waits = {(lane,): seconds or 0.0 for lane, seconds in ages.items()}
        return [
            _gauge("database_up", "0 while the database cannot be read.", {(): 1}),
            _gauge("route_up", "0 while the route's breaker is open.", routes, "route"),
            _gauge("oldest_due_seconds", "How long the oldest due message has waited.", waits, "lane"),
            _gauge(
                "due_messages",
                "How many messages are due; of one client at most 100,000 are counted.",
                {(lane,): count for lane, count in counts.items()},
                "lane",
            ),
        ]


def _gauge(name: str, sentence: str, values: Mapping[Any, float], *labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, sentence, labels=labels)
    for names, value in values.items():
        family.add_metric(names, float(value))
    return family
