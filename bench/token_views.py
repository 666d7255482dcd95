"""What tokens are measured against: bare Flask views that do the one thing to the database that each call cannot avoid.

They read a JSON body, run one statement built as SQLAlchemy Core is written every day, and answer. Nothing is
validated, counted, audited or logged, and nobody is authenticated.
"""

import base64
import hashlib
import json
import os
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from flask import Flask, request
from sqlalchemy import (
    Column,
    DateTime,
    Engine,
    LargeBinary,
    MetaData,
    String,
    Table,
    Uuid,
    create_engine,
    insert,
    select,
    update,
)

_METADATA = MetaData()
_TIME = DateTime(timezone=True)
TOKENS = Table(
    "bench_tokens",
    _METADATA,
    Column("id", Uuid(), primary_key=True),
    Column("token_hash", LargeBinary),
    Column("subject", String(255)),
    Column("expires_at", _TIME),
    Column("used_at", _TIME),
)
WISHES = Table(
    "bench_wishes",
    _METADATA,
    Column("id", Uuid(), primary_key=True),
    Column("purpose", String(30)),
    Column("email", String(320)),
    Column("asked_at", _TIME),
)
_Answer = tuple[dict[str, Any], int]


def bare() -> Flask:
    """One indexed SELECT, one conditional UPDATE, one INSERT, and an UPDATE with a signature, each under its path."""
    app, engine = Flask("bare"), create_engine(os.environ["DATABASE_URL"], pool_size=0)
    key = ec.generate_private_key(ec.SECP256R1())

    @app.post("/verify")
    def verify() -> _Answer:
        wanted = select(TOKENS.c.id, TOKENS.c.expires_at).where(
            TOKENS.c.token_hash == _hashed("token"), TOKENS.c.used_at.is_(None), TOKENS.c.expires_at > datetime.now(UTC)
        )
        with engine.connect() as connection:
            row = connection.execute(wanted).first()
        return ({"valid": True, "expires_at": row.expires_at.isoformat()}, 200) if row else ({}, 400)

    @app.post("/consume")
    def consume() -> _Answer:
        subject = _take(engine, "token")
        return ({"subject": subject}, 200) if subject else ({}, 400)

    @app.post("/ask")
    def ask() -> _Answer:
        body = request.get_json()
        row = {"id": uuid.uuid4(), "purpose": body["purpose"], "email": body["email"], "asked_at": datetime.now(UTC)}
        with engine.begin() as connection:
            connection.execute(insert(WISHES).values(**row))
        return {"message": "Done."}, 202

    @app.post("/refresh")
    def refresh() -> _Answer:
        subject = _take(engine, "refresh_token")
        return ({"access_token": _signed(key, subject)}, 200) if subject else ({}, 400)

    return app


def _take(engine: Engine, member: str) -> str | None:
    now = datetime.now(UTC)
    taken = (
        update(TOKENS)
        .where(TOKENS.c.token_hash == _hashed(member), TOKENS.c.used_at.is_(None), TOKENS.c.expires_at > now)
        .values(used_at=now)
        .returning(TOKENS.c.subject)
    )
    with engine.begin() as connection:
        subject: str | None = connection.execute(taken).scalar()
    return subject


def _hashed(member: str) -> bytes:
    return hashlib.sha256(request.get_json()[member].encode()).digest()


def _signed(key: ec.EllipticCurvePrivateKey, subject: str) -> str:
    """A text and its ES256 signature (RFC 7518 3.4), as little as there is of a JWT."""
    expires_at = int(time.time() + timedelta(minutes=30).total_seconds())
    text = base64.urlsafe_b64encode(json.dumps({"sub": subject, "exp": expires_at}).encode())
    signature = key.sign(text, ec.ECDSA(SHA256()))
    return f"{text.decode()}.{base64.urlsafe_b64encode(signature).decode()}"
