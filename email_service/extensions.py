"""The Flask extensions, unbound; `app.create_app` binds them to an application. Knows no setting and no route."""

import flask_smorest
from flask_limiter import Limiter
from flask_mail import Mail
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

from email_service.kernel.orm import Base


class Api(flask_smorest.Api):
    """flask-smorest without its error answers: `web/problems` gives every error one shape (RFC 9457)."""

    def _register_error_handlers(self) -> None:
        """Leave the application's error handlers alone."""


# Our models stand on a plain declarative base; Flask-SQLAlchemy keeps the engine and shows Flask-Migrate the tables.
db = SQLAlchemy(metadata=Base.metadata)
migrate = Migrate()
mail = Mail()
# Every limit names its own key; a key function is asked for all the same. A breach is counted in all limits of a request.
limiter = Limiter(
    key_func=lambda: "everybody", strategy="moving-window", in_memory_fallback_enabled=True, fail_on_first_breach=False
)
internal_api = Api()
