"""Accounts, tokens and public requests for them, with the client of those; filters of the list of audit events."""

from uuid import UUID

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)
_LIVE = {
    "postgresql_where": sa.text("consumed_at IS NULL AND revoked_at IS NULL"),
    "sqlite_where": sa.text("consumed_at IS NULL AND revoked_at IS NULL"),
}
_CLIENTS = sa.table("clients", *(sa.column(name) for name in ("name", "rate_limit")), sa.column("id", sa.Uuid()),
                    sa.column("scopes", sa.JSON()), sa.column("created_at", _TIME), sa.column("revoked_at", _TIME))
_MESSAGES = sa.table("messages", sa.column("client_id", sa.Uuid()))
# Always as a value of its type: SQLite keeps a UUID in another form than PostgreSQL.
_PUBLIC_CLIENT = UUID(int=1)
_AUDIT_FILTERS = ("subject", "name", "actor")


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("email_key", sa.String(length=320), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("locale", sa.String(length=35), nullable=True),
        sa.Column("email_verified", sa.Boolean(), nullable=False),
        sa.Column("is_disabled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_accounts")),
        sa.UniqueConstraint("email_key", name=op.f("uq_accounts_email_key")),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(length=30), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("email_key", sa.String(length=320), nullable=False),
        sa.Column("nonce", sa.LargeBinary(length=36), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("code_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("code_try_count", sa.Integer(), nullable=False),
        sa.Column("context", _JSON, nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("issued_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("consumed_at", _TIME, nullable=True),
        sa.Column("consumed_by", sa.LargeBinary(length=32), nullable=True),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name=op.f("fk_tokens_client_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_tokens_token_hash")),
    )
    op.create_index("uq_tokens_subject_purpose_live", "tokens", ["subject", "purpose"], unique=True, **_LIVE)
    op.create_index("ix_tokens_email_key_purpose_live", "tokens", ["email_key", "purpose"], **_LIVE)
    op.create_table(
        "token_requests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(length=30), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("locale", sa.String(length=35), nullable=True),
        sa.Column("ip", sa.String(length=45), nullable=True),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("requested_at", _TIME, nullable=False),
        sa.Column("due_at", _TIME, nullable=False),
        sa.Column("try_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token_requests")),
    )
    op.create_index("ix_token_requests_due_at", "token_requests", ["due_at"])
    with op.batch_alter_table("message_contents", schema=None) as batch_op:
        batch_op.add_column(sa.Column("token_nonce", sa.LargeBinary(length=36), nullable=True))
    for column in _AUDIT_FILTERS:
        op.create_index(f"ix_audit_events_{column}_id", "audit_events", [column, "id"])
    # Its messages carry what was asked for publicly. No name that a person can choose begins with a bracket.
    op.execute(
        _CLIENTS.insert().values(id=_PUBLIC_CLIENT, name="(public)", scopes=[], rate_limit=None,
                                 created_at=sa.func.current_timestamp(), revoked_at=None)
    )


def downgrade() -> None:
    for column in _AUDIT_FILTERS:
        op.drop_index(f"ix_audit_events_{column}_id", table_name="audit_events")
    with op.batch_alter_table("message_contents", schema=None) as batch_op:
        batch_op.drop_column("token_nonce")
    op.drop_index("ix_token_requests_due_at", table_name="token_requests")
    op.drop_table("token_requests")
    op.drop_index("ix_tokens_email_key_purpose_live", table_name="tokens")
    op.drop_index("uq_tokens_subject_purpose_live", table_name="tokens")
    op.drop_table("tokens")
    op.drop_table("accounts")
    # Only now does no token point to it.
    op.execute(_MESSAGES.delete().where(_MESSAGES.c.client_id == _PUBLIC_CLIENT))
    op.execute(_CLIENTS.delete().where(_CLIENTS.c.id == _PUBLIC_CLIENT))
