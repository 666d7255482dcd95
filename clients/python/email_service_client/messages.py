"""Messages: each is one accepted send of one template to one recipient."""

from collections.abc import Iterable, Mapping
from typing import Any, Unpack
from uuid import UUID

from email_service_client.answers import Batch, Event, Explanation, Message, MessageDetail
from email_service_client.bodies import MessageFilters, MessageIn, RescheduleIn
from email_service_client.calls import Call, Listing, key_or_new
from email_service_client.rooms import Room, TransportT, asks, lists

_ONE = "/v1/messages/{message_id}"
Id = str | UUID


class Messages(Room[TransportT]):
    @asks
    def send(self, *, idempotency_key: str | None = None, **message: Unpack[MessageIn]) -> Call[Message]:
        """Have one message accepted: when this returns it is committed, and it is sent in the background.

        An `idempotency_key` of your own, such as `order-42-confirmed`, also covers the time after a crash of yours.
        """
        return Call("POST", "/v1/messages", Message, body=_written(message), key=key_or_new(idempotency_key))

    @asks
    def send_batch(
        self, messages: Iterable[MessageIn], *, atomic: bool = False, idempotency_key: str | None = None
    ) -> Call[Batch]:
        """Have up to 500 messages accepted, each judged by itself, or with `atomic` all of them or none."""
        body = {"messages": [_written(message) for message in messages], "atomic": atomic}
        return Call("POST", "/v1/messages/batch", Batch, body=body, key=key_or_new(idempotency_key))

    @lists
    def list(self, *, page_size: int = 50, **filters: Unpack[MessageFilters]) -> Listing[Message]:
        """The messages of this client, newest first."""
        return Listing("/v1/messages", Message, query={**filters, "limit": page_size})

    @asks
    def get(self, message_id: Id) -> Call[MessageDetail]:
        """The message as it is now, with its attempts."""
        return Call("GET", _ONE, MessageDetail, names={"message_id": message_id})

    @lists
    def events(self, message_id: Id, *, page_size: int = 50) -> Listing[Event]:
        """What happened to the message, oldest first."""
        return Listing(f"{_ONE}/events", Event, names={"message_id": message_id}, query={"limit": page_size})

    @asks
    def explain(self, message_id: Id) -> Call[Explanation]:
        """Why the message has not arrived, or what became of it."""
        return Call("GET", f"{_ONE}/explain", Explanation, names={"message_id": message_id})

    @asks
    def reschedule(self, message_id: Id, **times: Unpack[RescheduleIn]) -> Call[MessageDetail]:
        """Give a message that waits other times: what is left out stays, and None clears. Else Conflict."""
        return Call("PATCH", _ONE, MessageDetail, names={"message_id": message_id}, body=times)

    @asks
    def cancel(self, message_id: Id) -> Call[MessageDetail]:
        """Stop a message that waits. Any other is a Conflict, also one that is cancelled already."""
        return Call("POST", f"{_ONE}/cancel", MessageDetail, names={"message_id": message_id})

    @asks
    def retry(self, message_id: Id) -> Call[MessageDetail]:
        """Start over with a message that is failed, bounced, uncertain or expired; any other is a Conflict."""
        return Call("POST", f"{_ONE}/retry", MessageDetail, names={"message_id": message_id})


def _written(message: Mapping[str, Any]) -> dict[str, Any]:
    """`from` is a keyword of Python, so that the member is `from_` here."""
    return {name.removesuffix("_"): value for name, value in message.items()}
