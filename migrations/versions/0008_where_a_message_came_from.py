"""Messages keep the id and the trace of the request that they came by, and wishes for tokens the trace."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("messages") as messages:
        messages.add_column(sa.Column("request_id", sa.String(length=128), nullable=True))
        messages.add_column(sa.Column("trace_parent", sa.String(length=55), nullable=True))
    with op.batch_alter_table("token_requests") as requests:
        requests.add_column(sa.Column("trace_parent", sa.String(length=55), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("token_requests") as requests:
        requests.drop_column("trace_parent")
    with op.batch_alter_table("messages") as messages:
        messages.drop_column("trace_parent")
        messages.drop_column("request_id")
