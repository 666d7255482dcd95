"""The tables of messages. A due row is the queue: no broker holds anything that is not here."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String, Text, Uuid, false, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, WriteOnlyMapped, mapped_column, relationship

from email_service.kernel import clock
from email_service.kernel.orm import Base, Identified

_Json = JSON().with_variant(JSONB(), "postgresql")
_OptionalJson = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class Message(Identified, Base):
    """One accepted send of one template to one recipient."""

    __tablename__ = "messages"

    # Its type is written out: taken from the key it refers to, it would be unknown until that table is imported.
    client_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("clients.id"))
    template: Mapped[str] = mapped_column(String(100))
    template_version: Mapped[str] = mapped_column(String(64))  # as it was when the message was accepted
    lane: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(20))
    recipient_email: Mapped[str] = mapped_column(String(320))
    recipient_name: Mapped[str] = mapped_column(String(200))
    cc: Mapped[list[dict[str, str]]] = mapped_column(_Json)
    bcc: Mapped[list[dict[str, str]]] = mapped_column(_Json)
    reply_to: Mapped[dict[str, str] | None] = mapped_column(_OptionalJson)
    sender: Mapped[dict[str, str] | None] = mapped_column(_OptionalJson)  # null: MAIL_DEFAULT_SENDER
    locale: Mapped[str | None] = mapped_column(String(35))  # BCP 47; null: the template's own language
    headers: Mapped[dict[str, str]] = mapped_column(_Json)
    is_sensitive: Mapped[bool]  # its content is wiped as soon as it is final
    is_forced: Mapped[bool] = mapped_column(default=False, server_default=false())  # sent in spite of a suppression
    tags: Mapped[list[str]] = mapped_column(_Json)  # as they were given; each has a row in `message_tags` too
    metadata_: Mapped[dict[str, str]] = mapped_column("metadata", _Json)
    client_reference: Mapped[str | None] = mapped_column(String(255))
    message_id_header: Mapped[str] = mapped_column(String(320))  # fixed here, so that every retry carries the same one
    request_id: Mapped[str | None] = mapped_column(String(128))  # of the request that it came by
    trace_parent: Mapped[str | None] = mapped_column(String(55))  # the same as W3C Trace Context, where somebody traces
    created_at: Mapped[datetime]
    send_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]  # never sent after this
    finished_at: Mapped[datetime | None]  # when it reached its present final status
    round_began_at: Mapped[datetime] = mapped_column(
        default=clock.now
    )  # when it was first due in this round of tries; a requested retry begins another
    # When somebody has to look at this row next; null: never. While it is leased, that is when the lease ends.
    due_at: Mapped[datetime | None]
    held_by: Mapped[str | None] = mapped_column(String(20))  # why `due_at` was put off without a try; see outbox.Hold
    lease_id: Mapped[UUID | None]  # whose the present lease is; a result without it is not written
    # The status before the lease; `sending`: the lease before it was lost; `given_back`: one before that was.
    claimed_from: Mapped[str | None] = mapped_column(String(20))
    attempt_count: Mapped[int] = mapped_column(default=0)  # tries that count against the schedule of retries
    uncertain_count: Mapped[int] = mapped_column(default=0)  # times that no reply came after the final dot
    lost_lease_count: Mapped[int] = mapped_column(default=0)  # times that a worker died holding it

    content: Mapped["MessageContent | None"] = relationship(back_populates="message", cascade="all, delete-orphan")
    attempts: Mapped[list["DeliveryAttempt"]] = relationship(order_by="DeliveryAttempt.id")
    events: WriteOnlyMapped["Event"] = relationship(order_by="Event.id")

    __table_args__ = (
        Index(
            "ix_messages_due",
            "lane",
            "client_id",  # before the time: the next message of any client is one step in this index
            "due_at",
            postgresql_where=text("due_at IS NOT NULL"),
            sqlite_where=text("due_at IS NOT NULL"),
        ),
        Index("ix_messages_client_id_id", "client_id", "id"),
        Index("ix_messages_client_id_status_id", "client_id", "status", "id"),
        Index("ix_messages_client_id_recipient_email_id", "client_id", "recipient_email", "id"),
        Index("ix_messages_client_id_template_id", "client_id", "template", "id"),
        Index(
            "ix_messages_client_id_client_reference_id",
            "client_id",
            "client_reference",
            "id",
            postgresql_where=text("client_reference IS NOT NULL"),
            sqlite_where=text("client_reference IS NOT NULL"),
        ),
    )


class MessageTag(Base):
    """One of a message's tags, to find it by. Written once: an index on the message would be written at every move."""

    __tablename__ = "message_tags"

    message_id: Mapped[UUID] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(String(50), primary_key=True)
    client_id: Mapped[UUID]  # the message's, so that the index below leads to a page in its order

    __table_args__ = (Index("ix_message_tags_client_id_tag_message_id", "client_id", "tag", "message_id"),)


class MessageContent(Base):
    """What a message carries, sealed under SECRET_KEY; apart from its row, so that claims and lists stay small."""

    __tablename__ = "message_contents"

    message_id: Mapped[UUID] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True)
    variables: Mapped[bytes] = mapped_column(LargeBinary)  # a JSON object
    attachments: Mapped[bytes | None] = mapped_column(LargeBinary)  # a JSON list, contents in base64
    token_nonce: Mapped[bytes | None] = mapped_column(LargeBinary(36))  # what the mail's token is made from

    message: Mapped[Message] = relationship(back_populates="content")


class DeliveryAttempt(Identified, Base):
    """One try over one transport."""

    __tablename__ = "delivery_attempts"

    message_id: Mapped[UUID] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), index=True)
    transport: Mapped[str] = mapped_column(String(50))
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime]
    outcome: Mapped[str] = mapped_column(String(20))
    phase: Mapped[str] = mapped_column(String(20))  # the furthest that was entered
    code: Mapped[int | None]  # the SMTP reply code
    enhanced_code: Mapped[str | None] = mapped_column(String(20))  # RFC 3463
    reply: Mapped[str] = mapped_column(Text)  # the server's words, bounded and printable
    refused: Mapped[dict[str, str]] = mapped_column(_Json)  # cc and bcc addresses that the server refused


class Event(Identified, Base):
    """An append-only fact about a message, in the past tense."""

    __tablename__ = "message_events"

    message_id: Mapped[UUID] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(50))  # such as message.sent
    occurred_at: Mapped[datetime]
    data: Mapped[dict[str, Any]] = mapped_column(_Json)
