"""The Flask extensions, unbound; `app.create_app` binds them to an application. Knows no setting and no route."""

from http import HTTPStatus

import flask_smorest
from flask import Flask
from flask_limiter import Limiter
from flask_mail import Mail
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from marshmallow import Schema, fields

from email_service.kernel.moving_window import ProcessStorage
from email_service.kernel.orm import Base
from email_service.kernel.shared_window import SharedStorage


class FaultOut(Schema):
    """One thing that is wrong with the input."""

    pointer = fields.String(
        metadata={"description": "A JSON pointer (RFC 6901) into the body, or /name of a parameter."}
    )
    message = fields.String()


class ProblemOut(Schema):
    """What every error looks like (RFC 9457)."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    code = fields.String(required=True, metadata={"description": "Stable; the one to compare."})
    request_id = fields.String(required=True)
    errors = fields.List(fields.Nested(FaultOut))


class Api(flask_smorest.Api):  # type: ignore[misc] # flask-smorest has no types
    """flask-smorest without its error answers: `web/problems` gives every error one shape (RFC 9457)."""

    def _register_error_handlers(self) -> None:
        """Leave the application's error handlers alone."""

    def _register_responses(self) -> None:
        """Describe each error answer as what it is: a problem."""
        content = {"application/problem+json": {"schema": ProblemOut}}
        for status in HTTPStatus:
            described = {"description": status.phrase, "content": content}
            self.spec.components.response(status.name, described, lazy=True)
        described = {"description": "Any other problem", "content": content}
        self.spec.components.response("DEFAULT_ERROR", described, lazy=True)


class CalledLimiter(Limiter):
    """Flask-Limiter that looks at no request by itself: `web.limits` says what is counted, when and by which key."""

    def init_app(self, app: Flask) -> None:
        """Have a strategy and a store, as the application's configuration says, and hang no hooks on its requests."""
        # One that was here before is not hung up again.
        app.extensions.setdefault("limiter", set()).add(self)
        super().init_app(app)


# Our models stand on a plain declarative base; Flask-SQLAlchemy keeps the engine and shows Flask-Migrate the tables.
db = SQLAlchemy(metadata=Base.metadata)
migrate = Migrate()
mail = Mail()
limiter = CalledLimiter(key_func=lambda: "everybody", strategy="moving-window")
# Where each process counts for itself; importing the class is what makes the scheme known.
COUNTS_IN_PROCESS = f"{ProcessStorage.STORAGE_SCHEME[0]}://"
COUNTS_TOGETHER = SharedStorage.STORAGE_SCHEME[0].removesuffix("redis")  # before the URL of a Redis
api = Api()
