"""Makes the version after this one: a copy of this tree that knows one more migration, and uses what that adds.

A process runs it when its PYTHONPATH is the folder. There is no release to compare with, so this is how old and new
code come to run side by side.
"""

import shutil
from pathlib import Path

from alembic.script import ScriptDirectory

from email_service.settings import resource
from tests.stand_ins import ROOT

NUMBER = "99.0"
REVISION = "9999"
BEFORE, AFTER = "the one before", "the next one"
# In each file, what is put before a line.
_CHANGES = {
    "models.py": (
        "    created_at: Mapped[datetime]\n",
        f'    made_by: Mapped[str] = mapped_column(String(20), server_default="{BEFORE}")\n',
    ),
    "service.py": ('        "created_at": now,\n', f'        "made_by": "{AFTER}",\n'),
}
_MIGRATION = f'''"""A column that the version before does not know, an index on it, and a table."""

import sqlalchemy as sa
from alembic import op

revision = "{REVISION}"
down_revision = "{{before}}"


def upgrade() -> None:
    op.create_table("notes", sa.Column("id", sa.Integer(), primary_key=True))
    op.add_column("messages", sa.Column("made_by", sa.String(20), server_default="{BEFORE}", nullable=False))
    with op.get_context().autocommit_block():
        op.drop_index("ix_messages_made_by", "messages", if_exists=True, postgresql_concurrently=True)
        op.create_index("ix_messages_made_by", "messages", ["made_by"], postgresql_concurrently=True)
'''


def make_next(folder: Path) -> Path:
    """The folder of the next version."""
    for name in ("email_service", "migrations", "templates"):
        source = ROOT / name
        shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (line, addition) in _CHANGES.items():
        path = folder / "email_service" / "messages" / name
        text = path.read_text()
        assert line in text, f"{path} has changed"
        path.write_text(text.replace(line, addition + line, 1))
    head = ScriptDirectory(str(resource("migrations"))).get_current_head()
    (folder / "migrations" / "versions" / f"{REVISION}_next.py").write_text(_MIGRATION.format(before=head))
    told = folder / "email_service-99.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: email-service\nVersion: {NUMBER}\n")
    return folder
