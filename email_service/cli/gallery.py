"""`email-service template serve`: the gallery on this machine, until it is stopped."""

import logging
from functools import cache

import click
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from email_service.app import create_brand, find_templates
from email_service.cli import house
from email_service.delivery.dkim import Signer
from email_service.delivery.transport import Transport
from email_service.engine import open_transport
from email_service.gallery.post import Post
from email_service.gallery.routes import create_gallery
from email_service.gallery.workshop import Workshop
from email_service.settings import MailMode, Settings, load, resource

HOST = "127.0.0.1"
PORT = 8025


class _QuietHandler(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        """Nothing: the page asks often, and what goes wrong is told on it."""


@click.command()
@click.option("--port", default=PORT, show_default=True, type=click.IntRange(1, 65535))
def serve(port: int) -> None:
    """Show the templates in a browser while you write them; the page reloads when a file is saved."""
    settings = load()
    gallery = create_gallery(_make_workshop(settings), _make_post(settings), port)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    try:
        server = make_server(HOST, port, gallery, threaded=True, request_handler=_QuietHandler)
    except SystemExit:  # werkzeug has said why, and this says what to do
        raise click.ClickException(f"Cannot listen on {HOST}:{port}: choose another with --port {port + 1}.") from None
    own = settings.templates_dir or "none; set TEMPLATES_DIR, or begin with `email-service template new`"
    print(f"gallery at http://{HOST}:{port}\n  your own templates   {own}\n  Ctrl+C stops it", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("Stopped.")
    finally:
        server.server_close()


def _make_workshop(settings: Settings) -> Workshop:
    folders = [resource("templates") / "email", *filter(None, [settings.templates_dir])]
    return Workshop(lambda: find_templates(settings), create_brand(settings), folders)


def _make_post(settings: Settings) -> Post:
    @cache
    def application() -> Flask:
        """Built when the first mail is sent: who only looks needs no database."""
        return house.build(settings)

    def open_way(lane: str) -> Transport:
        return open_transport(application(), lane)

    way, remedy = _describe_way(settings)
    return Post(
        sender=settings.sender, open_transport=open_way, sign=Signer(settings.dkim_keys).sign, way=way, remedy=remedy
    )


def _describe_way(settings: Settings) -> tuple[str, str]:
    """Where a mail goes, and what to do when it does not."""
    if settings.mail_mode is MailMode.SMTP:
        servers = ", ".join(f"{route.server}:{route.port}" for route in settings.mail_routes)
        return f"Leaves through {servers}.", "Check MAIL_SERVER and what belongs to it in .env."
    if settings.mail_mode is MailMode.CAPTURE:
        return f"No mail server is set: kept for {settings.public_url}/inbox.", "Run `email-service migrate` first."
    return "Mail is switched off.", "Take MAIL_ENABLED=false out of .env."
