"""A transport that reports what it was told to, one report after the other, the last again and again."""

from dataclasses import dataclass, field

from email_service.delivery.transport import Outcome, Parcel, Phase, Report

ACCEPTED = Report(outcome=Outcome.ACCEPTED, phase=Phase.FINAL, code=250, reply="queued")
DOWN = Report(outcome=Outcome.RETRY_LATER, phase=Phase.CONNECT, reply="refused", is_transport_fault=True)


@dataclass
class Scripted:
    """Keeps the parcels it was given."""

    reports: list[Report | BaseException]
    name: str = "scripted"
    parcels: list[Parcel] = field(default_factory=list)

    def send(self, *, parcel: Parcel) -> Report:
        self.parcels.append(parcel)
        report = self.reports[min(len(self.parcels), len(self.reports)) - 1]
        if isinstance(report, BaseException):
            raise report
        return report

    def close(self) -> None:
        """Nothing is open."""
