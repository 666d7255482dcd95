"""A transport that reports what it was told to, one report after the other, the last again and again."""

from collections.abc import Callable
from dataclasses import dataclass, field

from email_service.delivery.transport import Outcome, Parcel, Phase, Report, nothing_upcoming

ACCEPTED = Report(outcome=Outcome.ACCEPTED, phase=Phase.FINAL, code=250, reply="queued")
DOWN = Report(outcome=Outcome.RETRY_LATER, phase=Phase.CONNECT, reply="refused", is_transport_fault=True)


@dataclass
class Scripted:
    """Keeps the parcels it was given; `is_pipelining` asks for the next parcel, as a pipelining transport does."""

    reports: list[Report | BaseException]
    name: str = "scripted"
    parcels: list[Parcel] = field(default_factory=list)
    is_pipelining: bool = False
    begun: list[Parcel | None] = field(default_factory=list)

    def send(self, *, parcel: Parcel, upcoming: Callable[[], Parcel | None] = nothing_upcoming) -> Report:
        self.parcels.append(parcel)
        if self.is_pipelining:
            self.begun.append(upcoming())
        report = self.reports[min(len(self.parcels), len(self.reports)) - 1]
        if isinstance(report, BaseException):
            raise report
        return report

    def close(self) -> None:
        """Nothing is open."""
