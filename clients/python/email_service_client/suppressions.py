"""Suppressions: addresses that must not be mailed, or not with mail of one category."""

from types import NoneType
from typing import Unpack

from email_service_client.answers import Suppression
from email_service_client.bodies import SuppressionFilters
from email_service_client.calls import Call, Listing
from email_service_client.rooms import Room, TransportT, asks, lists
from email_service_client.words import SuppressionReason

_ONE = "/v1/suppressions/{email}"
_ALL_MAIL = "*"


class Suppressions(Room[TransportT]):
    @asks
    def put(
        self, email: str, *, reason: SuppressionReason | None = None, category: str = _ALL_MAIL
    ) -> Call[Suppression]:
        """Make sure that the address is suppressed; without a reason it keeps its own, or gets `manual`."""
        body = {"reason": reason, "category": category}
        return Call("PUT", _ONE, Suppression, names={"email": email}, body=body)

    @asks
    def get(self, email: str, *, category: str = _ALL_MAIL) -> Call[Suppression]:
        """Why and since when the address is suppressed; NotFound when it may be mailed."""
        return Call("GET", _ONE, Suppression, names={"email": email}, query={"category": category})

    @lists
    def list(self, *, page_size: int = 50, **filters: Unpack[SuppressionFilters]) -> Listing[Suppression]:
        """Suppressed addresses, newest first."""
        return Listing("/v1/suppressions", Suppression, query={**filters, "limit": page_size})

    @asks
    def delete(self, email: str, *, category: str = _ALL_MAIL) -> Call[None]:
        """Let the address be mailed again; NotFound when it may be already."""
        return Call("DELETE", _ONE, NoneType, names={"email": email}, query={"category": category})
