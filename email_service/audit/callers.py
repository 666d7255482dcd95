"""Who is behind the present request, as the audit names them. Knows HTTP, so that the audit itself need not."""

from flask import g, request

from email_service.audit.service import Actor
from email_service.web import auth


def present() -> Actor:
    """The calling client, with the address and the id of its request."""
    caller = auth.caller()
    return Actor(
        name=f"client:{caller.name}", client_id=caller.client_id, ip=request.remote_addr, request_id=g.request_id
    )
