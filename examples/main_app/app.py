"""Puts the main app together from its parts; the one place where they are made. It has two commands beside."""

import click
from flask import Flask, request
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response

from main_app import accounts, auth_routes, browser, database, errands, pages
from main_app.email_service import EmailService
from main_app.faults import FaultError
from main_app.settings import Settings, load

_MAX_BODY_BYTES = 16_384
_MEANINGS = {400: "bad_request", 404: "not_found", 405: "not_found", 413: "too_large"}


def create_app(settings: Settings | None = None) -> Flask:
    """The application; one for each process."""
    settings = settings or load()
    app = Flask("main_app")
    app.config.update(MAIN_APP=settings, MAX_CONTENT_LENGTH=_MAX_BODY_BYTES)
    app.extensions["email_service"] = EmailService(settings.service_url, settings.api_key, settings.issuer)
    browser.install(app)
    app.register_blueprint(auth_routes.blueprint)
    app.register_blueprint(pages.blueprint)
    app.register_error_handler(FaultError, _tell)
    app.register_error_handler(HTTPException, _tell_http)
    app.cli.add_command(invite)
    app.cli.add_command(run_errands)
    if settings.proxy_count:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.proxy_count, x_proto=0, x_host=0)  # type: ignore[method-assign]
    with app.app_context():
        database.create_tables()
    return app


def serve() -> Flask:
    """The application for a web server, with its errands run beside the requests."""
    app = create_app()
    errands.start(app)
    return app


@click.command()
@click.argument("email")
@click.option("--inviter", default="The administrator", show_default=True, help="Who invites, as the mail says.")
def invite(email: str, inviter: str) -> None:
    """Mail an invitation to somebody who has no account."""
    accounts.invite(email, inviter)
    waiting = errands.settle_all()
    click.echo("The invitation waits until the email service is back." if waiting else "The invitation is on its way.")


@click.command("errands")
def run_errands() -> None:
    """Run what the email service was not told yet; for cron, where no web process runs."""
    click.echo(f"{errands.settle_all()} errands wait.")


def _tell(fault: FaultError) -> Response:
    """What no blueprint has heard of, such as a form from another site to a path that is none."""
    tell = auth_routes.tell if request.path.startswith("/auth/") else pages.tell
    return tell(fault)


def _tell_http(error: HTTPException) -> Response:
    """What Flask refuses by itself, said as everything else is. It logs what it did not foresee."""
    return _tell(FaultError(_MEANINGS.get(error.code or 0, "unavailable")))
