"""Where SECRET_KEY comes from when nobody set it: made once and kept beside a SQLite database.

Knows no cryptography, and never makes a key for PostgreSQL, where several machines would each make their own.
"""

import os
import secrets
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from email_service.kernel.errors import Fault
from email_service.settings import values as parsing

COMMAND = "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"


def settle(values: dict[str, Any]) -> list[Fault]:
    """Fill in `secret_key` if it is unset; the faults say why it could not be."""
    if values["secret_key"] is not None:
        return []
    url = make_url(values["database_url"])
    if url.get_backend_name() != "sqlite" or url.database is None:
        return [Fault("SECRET_KEY", f"is needed with PostgreSQL; set it to what this prints: {COMMAND}")]
    path = Path(url.database).parent / "secret-key"
    try:
        values["secret_key"] = parsing.secret_key(_kept(path))
    except OSError as error:
        return [Fault("SECRET_KEY", f"set it, or let this process keep one in {path} ({error.strerror}).")]
    except ValueError:
        return [Fault("SECRET_KEY", f"{path} does not hold a key; restore that file, or set SECRET_KEY.")]
    return []


def _kept(path: Path) -> str:
    if not path.exists():
        _keep(path, secrets.token_urlsafe(32))
    return path.read_text(encoding="ascii").strip()


def _keep(path: Path, key: str) -> None:
    """Put the key at `path` unless another process was faster.

    A link appears whole or not at all, so a reader never meets half a key and only one of several writers wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink(missing_ok=True)
