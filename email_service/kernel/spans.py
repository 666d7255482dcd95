"""Traces by OpenTelemetry: a span for each request and each attempt, sent on by a thread of the process that made it.

Imported only where somebody asked for traces, for its library is an extra. What a span tells is its caller's business.
"""

from collections.abc import Mapping
from datetime import datetime

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from email_service.kernel.traces import Attempt

_TRACE_PARENT = "traceparent"
_propagator = TraceContextTextMapPropagator()


class Spans:
    """Hands spans to a processor; threads may share it."""

    def __init__(self, processor: SpanProcessor, service: str = "email-service") -> None:
        # OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME and OTEL_TRACES_SAMPLER are read here, by the library.
        provider = TracerProvider(resource=Resource({SERVICE_NAME: service}).merge(Resource.create()))
        provider.add_span_processor(processor)
        self._tracer: Tracer = provider.get_tracer(service)

    def begin_request(self, trace_parent: str | None) -> "RequestSpan":
        """A request came in."""
        # Named when it is known what was called: before that, a method is a stranger's word.
        return RequestSpan(self._tracer.start_span("HTTP", _context_of(trace_parent), SpanKind.SERVER))

    def note_attempt(self, attempt: Attempt) -> None:
        """Write down an attempt that is over."""
        span = self._tracer.start_span(
            "smtp.send",
            _context_of(attempt.trace_parent),
            SpanKind.CLIENT,
            attributes=attempt.words,
            start_time=_nanoseconds(attempt.started_at),
        )
        if attempt.is_failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(_nanoseconds(attempt.finished_at))


class RequestSpan:
    """One request while it is answered."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.trace_parent = _written(span)

    def end(self, words: Mapping[str, str | int], *, is_failed: bool) -> None:
        """It was answered."""
        self._span.set_attributes(words)
        if route := words.get("http.route"):
            self._span.update_name(f"{words['http.request.method']} {route}")
        if is_failed:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


def start(endpoint: str) -> Spans:
    """Send spans to a collector of OpenTelemetry (OTLP over HTTP)."""
    return Spans(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")))


def _context_of(trace_parent: str | None) -> Context:
    """That of the parent; one that cannot be read begins a trace of its own."""
    carrier = {} if trace_parent is None else {_TRACE_PARENT: trace_parent}
    return _propagator.extract(carrier, Context())


def _written(span: Span) -> str:
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, trace.set_span_in_context(span))
    return carrier[_TRACE_PARENT]


def _nanoseconds(instant: datetime) -> int:
    return int(instant.timestamp() * 1e9)
