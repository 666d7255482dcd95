"""What accepting is measured against: views that insert one row and do nothing else a mail service has to do.

Served by the same gunicorn as the service, on the same PostgreSQL, with the same driver.
"""

import os
import uuid
from datetime import UTC, datetime
from typing import Any

from flask import Flask, request
from flask_smorest import Api, Blueprint
from marshmallow import Schema, fields
from sqlalchemy import JSON, DateTime, String, Uuid, create_engine, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

TABLE = """
CREATE TABLE bench_rows (
    id uuid PRIMARY KEY, template varchar(100) NOT NULL, recipient varchar(320) NOT NULL,
    variables json NOT NULL, created_at timestamptz NOT NULL
)
"""


class Base(DeclarativeBase):
    """The declarative base of the one table."""


class Row(Base):
    """One row, with the little that a message would need."""

    __tablename__ = "bench_rows"

    id: Mapped[uuid.UUID] = mapped_column(Uuid(), primary_key=True)
    template: Mapped[str] = mapped_column(String(100))
    recipient: Mapped[str] = mapped_column(String(320))
    variables: Mapped[dict[str, Any]] = mapped_column(JSON())
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class RowIn(Schema):
    """What the second reference checks."""

    template = fields.String(required=True)
    to = fields.Email(required=True)
    variables = fields.Dict(required=True)


class RowOut(Schema):
    """What the second reference answers."""

    id = fields.UUID()
    template = fields.String()
    to = fields.String(attribute="recipient")
    created_at = fields.DateTime()


def bare() -> Flask:
    """Flask, no validation, one INSERT by SQLAlchemy Core, one commit."""
    app, engine = Flask("bare"), create_engine(os.environ["DATABASE_URL"])

    @app.post("/rows")
    def add() -> tuple[dict[str, str], int]:
        body = request.get_json()
        values = _values(body)
        with engine.begin() as connection:
            connection.execute(insert(Row).values(**values))
        return {"id": str(values["id"])}, 202

    return app


def validating() -> Flask:
    """flask-smorest, a schema in and a schema out, one row added by the ORM, one commit."""
    app, engine = Flask("validating"), create_engine(os.environ["DATABASE_URL"])
    app.config.update(API_TITLE="Reference", API_VERSION="v1", OPENAPI_VERSION="3.1.0")
    blueprint = Blueprint("rows", __name__)

    @blueprint.post("/rows")
    @blueprint.arguments(RowIn)
    @blueprint.response(202, RowOut)
    def add(body: dict[str, Any]) -> Row:
        with Session(engine, expire_on_commit=False) as session, session.begin():
            row = Row(**_values(body))
            session.add(row)
        return row

    Api(app).register_blueprint(blueprint)
    return app


def _values(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": uuid.uuid4(),
        "template": body["template"],
        "recipient": body["to"],
        "variables": body["variables"],
        "created_at": datetime.now(UTC),
    }
