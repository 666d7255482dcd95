"""The audit: who did what."""

from typing import Unpack

from email_service_client.answers import AuditEvent
from email_service_client.bodies import AuditFilters
from email_service_client.calls import Listing
from email_service_client.rooms import Room, TransportT, lists


class Audit(Room[TransportT]):
    @lists
    def list(self, *, page_size: int = 50, **filters: Unpack[AuditFilters]) -> Listing[AuditEvent]:
        """What was done, newest first."""
        return Listing("/v1/audit", AuditEvent, query={**filters, "limit": page_size})
