"""What every command needs first: the settings, quiet logs, and the application or a session on its database."""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask
from sqlalchemy.orm import Session

from email_service.app import create_app, create_brand, find_templates
from email_service.authoring.trials import Workbench
from email_service.cli import observation
from email_service.kernel import logs
from email_service.settings import Settings, load
from email_service.web.context import Parts


def build(settings: Settings | None = None) -> Flask:
    """The application, for a command whose output is for a person: only warnings are logged."""
    logs.configure(level="WARNING", is_human=True)
    return create_app(settings or load())


def watched(settings: Settings) -> Flask:
    """The application, for a process that serves: its log begins, and where settings ask for it, traces and reports."""
    traces = observation.begin(settings)
    app = create_app(settings)
    parts(app).traces = traces
    return app


def parts(app: Flask) -> Parts:
    """The parts that the application was built from."""
    found: Parts = app.extensions["email_service"]
    return found


def workbench(settings: Settings) -> Workbench:
    """The templates and what renders them, without the application around them. Raises SettingsError."""
    return Workbench.load(find_templates(settings), create_brand(settings))


@contextmanager
def transaction() -> Iterator[Session]:
    """One transaction on the configured database, committed if the block ends well."""
    with parts(build()).sessions.begin() as session:
        yield session
