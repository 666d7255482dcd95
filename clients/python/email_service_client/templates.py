"""Templates: what messages are made from."""

from collections.abc import Mapping
from typing import Any

from email_service_client.answers import Rendered, Template
from email_service_client.calls import Call, Listing
from email_service_client.rooms import Room, TransportT, asks, lists

_ONE = "/v1/templates/{name}"
_ALWAYS = float("inf")  # nothing is done


class Templates(Room[TransportT]):
    @lists
    def list(self) -> Listing[Template]:
        """All templates."""
        return Listing("/v1/templates", Template)

    @asks
    def get(self, name: str) -> Call[Template]:
        """One template, with the JSON Schema of its variables."""
        return Call("GET", _ONE, Template, names={"name": name})

    @asks
    def render(
        self, name: str, *, variables: Mapping[str, Any] | None = None, locale: str | None = None
    ) -> Call[Rendered]:
        """What a message would say. Nothing is sent."""
        body = {"variables": dict(variables or {}), "locale": locale}
        return Call("POST", f"{_ONE}/render", Rendered, names={"name": name}, body=body, repeatable_seconds=_ALWAYS)
