"""Statements that are built once, when their module is imported: they must not depend on what was imported before."""

import subprocess
import sys

PROGRAM = """
import sys
import email_service.app
from sqlalchemy import Executable
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import NullType

ours = [module for name, module in sys.modules.items() if name.startswith("email_service")]
statements = {id(value): value for module in ours for value in vars(module).values() if isinstance(value, Executable)}
for dialect in (postgresql.dialect(), sqlite.dialect()):
    for statement in statements.values():
        binds = statement.compile(dialect=dialect).binds
        print([name for name, bind in binds.items() if isinstance(bind.type, NullType)])
"""


def test_a_fresh_process_knows_the_type_of_every_parameter():
    """A parameter without a type reaches the driver as it is, and SQLite refuses a UUID."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert set(ran.stdout.split("\n")) == {"[]", ""}
