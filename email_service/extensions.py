"""The Flask extensions, unbound; `app.create_app` binds them to an application. Knows no setting and no route."""

from http import HTTPStatus
from typing import Any

import flask_smorest
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_instance
from apispec.ext.marshmallow.openapi import OpenAPIConverter
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

    type = fields.String()
    title = fields.String()
    status = fields.Integer()
    detail = fields.String()
    code = fields.String(metadata={"description": "Stable; the one to compare."})
    request_id = fields.String()
    errors = fields.List(fields.Nested(FaultOut), metadata={"is_optional": True})


class AnswersConverter(OpenAPIConverter):
    """apispec's converter, which also says that an answer has all members but those that are `is_optional`."""

    def schema2jsonschema(self, schema: Any) -> dict[str, Any]:
        """Describe the schema; those of answers are named `...Out`."""
        described: dict[str, Any] = super().schema2jsonschema(schema)  # type: ignore[no-untyped-call]
        shape = resolve_schema_instance(schema)
        always = [each for each in shape.fields.values() if not each.metadata.get("is_optional")]
        if always and type(shape).__name__.endswith("Out"):
            described["required"] = sorted(each.data_key or each.name for each in always)
        return described


class AnswersPlugin(MarshmallowPlugin):
    """apispec's plugin with that converter."""

    Converter = AnswersConverter


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
api = Api(spec_kwargs={"marshmallow_plugin": AnswersPlugin()})
