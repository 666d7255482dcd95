"""Who is behind the present request, as the audit names them. Knows HTTP, so that the audit itself need not."""

from dataclasses import replace

from flask import g, request

from email_service.audit.service import Actor
from email_service.web import auth, context

_IP_CHARACTERS = 45  # of the longest address there is; a proxy that is not trusted may say anything


def present() -> Actor:
    """The calling client, with the address and the id of its request."""
    caller = auth.caller()
    return Actor(
        name=f"client:{caller.name}",
        client_id=caller.client_id,
        ip=request.remote_addr,
        request_id=g.request_id,
        trace_parent=context.trace_parent(),
    )


def stranger() -> Actor:
    """Whoever called without a key, with the address and the id of the request."""
    address = (request.remote_addr or "")[:_IP_CHARACTERS]
    trace_parent = context.trace_parent()
    return Actor(name="public", ip=address or None, request_id=g.request_id, trace_parent=trace_parent)


def recipient() -> Actor:
    """Whoever came by a link from a mail to its recipient: a reader, or a mail program for one."""
    return replace(stranger(), name="recipient")
