"""Delivery by several workers: fair claims, shared breakers and rates, forced messages, audit events; tags to find by."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_REFERRED = {
    "postgresql_where": sa.text("client_reference IS NOT NULL"),
    "sqlite_where": sa.text("client_reference IS NOT NULL"),
}
_REFERENCE = ("ix_messages_client_id_client_reference_id", ["client_id", "client_reference", "id"])
_TAGS = {
    "postgresql": "SELECT DISTINCT id, tag, client_id FROM messages, jsonb_array_elements_text(tags) AS tag",
    "sqlite": "SELECT DISTINCT messages.id, tag.value, client_id FROM messages, json_each(tags) AS tag",
}
_DUE = {"postgresql_where": sa.text("due_at IS NOT NULL"), "sqlite_where": sa.text("due_at IS NOT NULL")}


# Every message that is claimed and settled leaves two dead rows behind, and two dead entries in the index of what is
# due; whoever looks for due messages steps over them until they are vacuumed. After 300,000 messages that look took 20 ms
# instead of 3, and by default a table of five million rows is vacuumed after 500,000. A fill factor would not help: every
# move changes an indexed column, so that no update can stay on its page (HOT; 0 of 200,000).
_VACUUM = "autovacuum_vacuum_scale_factor"


def upgrade() -> None:
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.add_column(sa.Column("is_forced", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("held_by", sa.String(length=20), nullable=True))
        batch_op.drop_index("ix_messages_due", **_DUE)
        batch_op.create_index("ix_messages_due", ["lane", "client_id", "due_at"], unique=False, **_DUE)
        batch_op.create_index("ix_messages_client_id_status_id", ["client_id", "status", "id"], unique=False)
        batch_op.create_index("ix_messages_client_id_template_id", ["client_id", "template", "id"], unique=False)
        batch_op.drop_index(_REFERENCE[0])
        batch_op.create_index(*_REFERENCE, unique=False, **_REFERRED)
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE messages SET ({_VACUUM} = 0.02)")
    op.create_table(
        "message_tags",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("tag", sa.String(length=50), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_message_tags_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message_id", "tag", name=op.f("pk_message_tags")),
    )
    op.execute(f"INSERT INTO message_tags (message_id, tag, client_id) {_TAGS[op.get_context().dialect.name]}")
    op.create_index("ix_message_tags_client_id_tag_message_id", "message_tags", ["client_id", "tag", "message_id"])
    op.create_index("ix_suppressions_created_at_key", "suppressions", ["created_at", "key"])
    op.create_index("ix_suppressions_reason_created_at_key", "suppressions", ["reason", "created_at", "key"])
    op.create_table(
        "route_breakers",
        sa.Column("route", sa.String(length=50), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("tripped_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failure_count", sa.Integer(), nullable=False),
        sa.Column("open_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("probe_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("route", name=op.f("pk_route_breakers")),
    )
    op.create_table(
        "send_rates",
        sa.Column("key", sa.String(length=330), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_send_rates")),
    )
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=50), nullable=False),
        sa.Column("actor", sa.String(length=150), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("subject", sa.String(length=320), nullable=False),
        sa.Column("ip", sa.String(length=45), nullable=True),
        sa.Column("request_id", sa.String(length=128), nullable=True),
        sa.Column("data", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    op.create_index("ix_audit_events_occurred_at", "audit_events", ["occurred_at"])


def downgrade() -> None:
    op.drop_index("ix_audit_events_occurred_at", table_name="audit_events")
    op.drop_table("audit_events")
    op.drop_table("send_rates")
    op.drop_table("route_breakers")
    op.drop_index("ix_suppressions_reason_created_at_key", table_name="suppressions")
    op.drop_index("ix_suppressions_created_at_key", table_name="suppressions")
    op.drop_index("ix_message_tags_client_id_tag_message_id", table_name="message_tags")
    op.drop_table("message_tags")
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE messages RESET ({_VACUUM})")
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.drop_index(_REFERENCE[0], **_REFERRED)
        batch_op.create_index(*_REFERENCE, unique=False)
        batch_op.drop_index("ix_messages_client_id_template_id")
        batch_op.drop_index("ix_messages_client_id_status_id")
        batch_op.drop_index("ix_messages_due", **_DUE)
        batch_op.create_index("ix_messages_due", ["lane", "due_at"], unique=False, **_DUE)
        batch_op.drop_column("held_by")
        batch_op.drop_column("is_forced")
