"""Audit events are found and deleted by their ids, which begin with their time."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_audit_events_occurred_at", table_name="audit_events")


def downgrade() -> None:
    op.create_index("ix_audit_events_occurred_at", "audit_events", ["occurred_at"])
