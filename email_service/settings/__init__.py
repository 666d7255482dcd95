"""One frozen object read from the environment; a service that is half-set does not start, and every mistake is named.

Knows which variables exist and what they mean together. Reads nothing after `load` and never asks the network.
"""

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from email_service.kernel.errors import Fault, SettingsError
from email_service.settings import directory_rules, mail_routes, mail_rules, secret_key
from email_service.settings.dkim_keys import DkimKey
from email_service.settings.environment import Environment
from email_service.settings.resources import resource
from email_service.settings.variables import (
    AccountDirectory,
    EmailQuotaResponse,
    Expose,
    LogFormat,
    MailMode,
    MailRoute,
    Settings,
    Variable,
)

__all__ = [
    "AccountDirectory",
    "DkimKey",
    "EmailQuotaResponse",
    "Expose",
    "LogFormat",
    "MailMode",
    "MailRoute",
    "Settings",
    "load",
    "resource",
]


def load(environ: Mapping[str, str] | None = None, env_file: Path | None = Path(".env")) -> Settings:
    """The settings that `environ` (by default the process's own) describes, with `env_file` for what it leaves out.

    An empty value means unset. Raises SettingsError with one fault for each mistake, its variable as the pointer.
    """
    environment = Environment(os.environ if environ is None else environ, env_file)
    values: dict[str, Any] = {}
    for declared in fields(Settings):
        variable = declared.metadata.get("variable")
        if isinstance(variable, Variable):
            values[declared.name] = environment.read(declared.name.upper(), variable)
    name = environment.text("SENDER_NAME")
    faults = mail_routes.settle(values, environment) + mail_rules.settle(values, sender_name=name)
    faults += directory_rules.settle(values)
    if not environment.is_wrong("RETENTION_DAYS", "CONTENT_RETENTION_DAYS"):
        faults += _check_retention(values)
    if not environment.is_wrong("DATABASE_URL", "SECRET_KEY"):
        faults += secret_key.settle(values)
    _refuse([*environment.faults, *(fault for fault in faults if not environment.is_wrong(fault.pointer))])
    return Settings(**values)


def _check_retention(values: dict[str, Any]) -> list[Fault]:
    content, rows = values["content_retention_days"], values["retention_days"]
    if content <= rows:
        return []
    return [Fault("CONTENT_RETENTION_DAYS", f"write at most {rows}, because RETENTION_DAYS removes the rest then.")]


def _refuse(faults: list[Fault]) -> None:
    if faults:
        raise SettingsError("\n".join(f"{fault.pointer}: {fault.message}" for fault in faults), faults=faults)
