"""What a trace tells of an attempt: which message, by which route, how far it came. Knows no library of traces."""

from datetime import timedelta

from email_service.delivery.job import Result
from email_service.delivery.transport import Outcome
from email_service.kernel.traces import Attempt, Traces


def note(traces: Traces, result: Result) -> None:
    """Write the attempt down beside the request that its message came by; never what the server said."""
    message, report = result.job.message, result.report
    words: dict[str, str | int] = {
        "message_id": str(result.message_id),
        "lane": message.lane,
        "template": message.template,
        "route": result.job.route,
        "phase": report.phase,
        "outcome": report.outcome,
    }
    if report.code is not None:
        words["code"] = report.code
    traces.note_attempt(
        Attempt(
            trace_parent=message.trace_parent,
            started_at=result.finished_at - timedelta(seconds=result.smtp_seconds),
            finished_at=result.finished_at,
            words=words,
            is_failed=report.outcome is not Outcome.ACCEPTED,
        )
    )


def note_nothing(_result: Result) -> None:
    """For processes that nobody traces."""
