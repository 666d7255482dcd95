"""Processes that migrate one database at the same time: held at the door until all of them are there, then let in."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from sqlalchemy import text

from email_service.kernel.orm import autocommitting
from tests.applications import SECRET_KEY, House
from tests.journeys.processes import wait_until

LOCK_NUMBER = 0x6D61696C  # what migrations/env.py locks
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND state = 'idle' AND query LIKE 'SELECT pg_try_advisory_lock%'"
)


@contextmanager
def held(house: House) -> Iterator[None]:
    """Nobody gets a turn meanwhile."""
    with autocommitting(house.sessions.kw["bind"]).connect() as door:
        door.execute(text(f"SELECT pg_advisory_lock({LOCK_NUMBER})"))
        yield
        door.execute(text(f"SELECT pg_advisory_unlock({LOCK_NUMBER})"))


def migrate_at_once(house: House, command: Sequence[str], count: int) -> list[tuple[str, int]]:
    """What each of them said, and its exit code."""
    url = house.app.config["SQLALCHEMY_DATABASE_URI"]
    environ = {"DATABASE_URL": url, "SECRET_KEY": SECRET_KEY, "PATH": os.defpath}
    with ExitStack() as stack:
        with held(house):
            processes = [
                stack.enter_context(
                    subprocess.Popen(command, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                )
                for _ in range(count)
            ]
            for process in processes:
                stack.callback(process.kill)

            def is_everybody_here() -> bool:
                ended = [process.communicate()[0] for process in processes if process.poll() is not None]
                assert not ended, f"it did not wait for its turn: {ended}"
                [(waiting,)] = house.execute(WAITING)
                return bool(waiting == count)

            wait_until(is_everybody_here, 60)
        return [(process.communicate(timeout=60)[0], process.returncode) for process in processes]
