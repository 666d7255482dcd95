"""What the mail settings mean together: the mode, the port, how the connection is protected, and who it is from.

Knows nothing of how a value was found, and opens no connection.
"""

import re
from email.utils import quote
from ipaddress import ip_address
from typing import Any

from email_service.kernel.addresses import Mailbox
from email_service.kernel.errors import Fault
from email_service.settings import values as parsing
from email_service.settings.variables import MailMode

_SMTPS_PORT, _SUBMISSION_PORT, _RELAY_PORT = 465, 587, 25
_SPECIAL = re.compile(r'[()<>@,;:\\".\[\]]')  # RFC 5322 3.2.3: a name with one of these is written in quotes
_DEVELOPMENT_SENDER = "no-reply@localhost.localdomain"


def settle(values: dict[str, Any], *, sender_name: str | None) -> list[Fault]:
    """Fill in the mode and the sender, with the routes settled before; the faults are what contradicts itself."""
    return _settle_mode(values) + _settle_sender(values, sender_name)


def settle_server(values: dict[str, Any], prefix: str) -> list[Fault]:
    """Fill in how one server is spoken to; `values` has the variables' names without `prefix`, in small letters."""
    return [*_settle_protection(values, prefix), *_check_login(values, prefix)]


def _settle_mode(values: dict[str, Any]) -> list[Fault]:
    if values["mail_enabled"] is False:
        values["mail_mode"] = MailMode.OFF
    elif values["mail_routes"] != ():
        values["mail_mode"] = MailMode.SMTP
    else:
        values["mail_mode"] = MailMode.CAPTURE
        if values["mail_enabled"]:
            return [
                Fault("MAIL_SERVER", "set it, because MAIL_ENABLED is true; or unset MAIL_ENABLED to capture mail.")
            ]
    return []


def _settle_protection(values: dict[str, Any], prefix: str) -> list[Fault]:
    port, tls, ssl = values["port"], values["use_tls"], values["use_ssl"]
    if tls and ssl:
        exclude = f"unset it or {prefix}USE_TLS: STARTTLS (587) and TLS from the start (465) exclude."
        return [Fault(f"{prefix}USE_SSL", exclude)]
    if ssl is None:
        ssl = port == _SMTPS_PORT and tls is None
    if tls is None:
        # Nobody listens between this process and its own machine, where development mail servers rarely speak TLS.
        tls = not ssl and not _is_loopback(values["server"])
    if port is None:
        port = _SMTPS_PORT if ssl else _SUBMISSION_PORT if tls else _RELAY_PORT
    values.update(port=port, use_tls=tls, use_ssl=ssl)
    return []


def _check_login(values: dict[str, Any], prefix: str) -> list[Fault]:
    username, password = values["username"], values["password"]
    if (username is None) != (password is None):
        missing, present = ("PASSWORD", "USERNAME") if password is None else ("USERNAME", "PASSWORD")
        return [Fault(f"{prefix}{missing}", f"set it too, because {prefix}{present} is set; or unset both.")]
    is_protected = values["use_tls"] or values["use_ssl"] or _is_loopback(values["server"])
    if username is not None and values["server"] is not None and not is_protected:
        return [Fault(f"{prefix}USE_TLS", "set it to true: a password must not cross the network in the clear.")]
    return []


def _settle_sender(values: dict[str, Any], sender_name: str | None) -> list[Fault]:
    sender = values["mail_default_sender"]
    faults = []
    if sender is None:
        sender = Mailbox(_DEVELOPMENT_SENDER, "")
        if values["mail_mode"] is MailMode.SMTP:
            faults = [
                Fault("MAIL_DEFAULT_SENDER", "set the address that mail is from, such as Acme <mail@acme.example>.")
            ]
    if sender_name is not None:
        try:
            name = parsing.line(sender_name)
        except ValueError as error:
            return [*faults, Fault("SENDER_NAME", str(error))]
        if sender.name not in {"", name}:
            return [*faults, Fault("SENDER_NAME", "MAIL_DEFAULT_SENDER has another name; keep only one of the two.")]
        sender = sender._replace(name=name)
    values.update(sender=sender, mail_default_sender=_written(sender))
    return faults


def _written(sender: Mailbox) -> str:
    name = f'"{quote(sender.name)}"' if _SPECIAL.search(sender.name) else sender.name
    return f"{name} <{sender.email}>" if name else sender.email


def _is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost" or host.lower().rstrip(".").endswith(".localhost")
