"""What a long-running process is watched by: its log, and where settings ask for it, traces and reports of crashes.

Begun in the process that works, because both send from threads of their own. Knows which extra each needs.
"""

from importlib import import_module
from types import ModuleType

from email_service.kernel import logs
from email_service.kernel.errors import SettingsError
from email_service.kernel.traces import NoTraces, Traces
from email_service.settings import LogFormat, Settings


def begin(settings: Settings) -> Traces:
    """Set the log up, and say where traces go."""
    report: logs.Report | None = None
    if settings.sentry_dsn is not None:
        report = _load("crash_reports", "sentry", "SENTRY_DSN").start(settings.sentry_dsn)
    begin_log(settings, report)
    if settings.otel_exporter_otlp_endpoint is None:
        return NoTraces()
    spans: Traces = _load("spans", "otel", "OTEL_EXPORTER_OTLP_ENDPOINT").start(settings.otel_exporter_otlp_endpoint)
    return spans


def begin_log(settings: Settings, report: logs.Report | None = None) -> None:
    """Log what this process does the way the settings ask for."""
    logs.configure(level=settings.log_level, is_human=settings.log_format is LogFormat.HUMAN, report=report)


def check(settings: Settings) -> None:
    """SettingsError when an extra is missing that a setting asks for; starts nothing."""
    if settings.sentry_dsn is not None:
        _load("crash_reports", "sentry", "SENTRY_DSN")
    if settings.otel_exporter_otlp_endpoint is not None:
        _load("spans", "otel", "OTEL_EXPORTER_OTLP_ENDPOINT")


def _load(name: str, extra: str, setting: str) -> ModuleType:
    try:
        return import_module(f"email_service.kernel.{name}")
    except ModuleNotFoundError:
        raise SettingsError(
            f"{setting} is set, and what it needs is not installed: pip install 'email-service[{extra}]', or unset it."
        ) from None
