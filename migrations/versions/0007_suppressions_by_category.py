"""Suppressions of one category of mail beside those of all mail."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_SUPPRESSIONS = sa.table("suppressions", sa.column("category"))


def upgrade() -> None:
    op.drop_index("ix_suppressions_created_at_key", table_name="suppressions")
    op.drop_index("ix_suppressions_reason_created_at_key", table_name="suppressions")
    with op.batch_alter_table("suppressions", schema=None) as batch_op:
        # What the version before this one still writes is of all mail, as ever.
        batch_op.add_column(sa.Column("category", sa.String(length=50), server_default="*", nullable=False))
        batch_op.drop_constraint("pk_suppressions", type_="primary")
        batch_op.create_primary_key("pk_suppressions", ["key", "category"])
    op.create_index("ix_suppressions_created_at_key_category", "suppressions", ["created_at", "key", "category"])
    op.create_index(
        "ix_suppressions_reason_created_at_key_category", "suppressions", ["reason", "created_at", "key", "category"]
    )
    op.create_index("ix_suppressions_category_created_at_key", "suppressions", ["category", "created_at", "key"])


def downgrade() -> None:
    # What is of one category would be taken for all mail, and there is one row for each address again.
    op.execute(_SUPPRESSIONS.delete().where(_SUPPRESSIONS.c.category != "*"))
    op.drop_index("ix_suppressions_category_created_at_key", table_name="suppressions")
    op.drop_index("ix_suppressions_reason_created_at_key_category", table_name="suppressions")
    op.drop_index("ix_suppressions_created_at_key_category", table_name="suppressions")
    with op.batch_alter_table("suppressions", schema=None) as batch_op:
        batch_op.drop_constraint("pk_suppressions", type_="primary")
        batch_op.drop_column("category")
        batch_op.create_primary_key("pk_suppressions", ["key"])
    op.create_index("ix_suppressions_created_at_key", "suppressions", ["created_at", "key"])
    op.create_index("ix_suppressions_reason_created_at_key", "suppressions", ["reason", "created_at", "key"])
