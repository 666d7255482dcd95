"""The Flask extensions, unbound; `app.create_app` binds them to an application. Knows no setting and no route."""

from http import HTTPStatus

import flask_smorest
from flask_limiter import Limiter
from flask_mail import Mail
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from marshmallow import Schema, fields

from email_service.kernel.moving_window import ProcessStorage
from email_service.kernel.orm import Base


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
    """Flask-Limiter that looks at a request only where `web.limits` asks it to: there are no limits of whole views."""

    def _check_request_limit(self, callable_name: str | None = None, in_middleware: bool = True) -> None:
        if not in_middleware:
            super()._check_request_limit(callable_name, in_middleware)


# Our models stand on a plain declarative base; Flask-SQLAlchemy keeps the engine and shows Flask-Migrate the tables.
db = SQLAlchemy(metadata=Base.metadata)
migrate = Migrate()
mail = Mail()
# Every limit names its own key; a key function is asked for all the same. A breach counts in all limits of a request.
limiter = CalledLimiter(
    key_func=lambda: "everybody", strategy="moving-window", in_memory_fallback_enabled=True, fail_on_first_breach=False
)
# Where each process counts for itself; importing the class is what makes the scheme known.
COUNTS_IN_PROCESS = f"{ProcessStorage.STORAGE_SCHEME[0]}://"
api = Api()
