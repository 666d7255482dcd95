"""What the environment says, read once at the start. Knows nothing else."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that can be set."""

    url: str = "http://127.0.0.1:8080"  # where readers reach this app; the service's FRONTEND_URL is the same
    database: str = "main_app.db"
    proxy_count: int = 0  # reverse proxies in front of this app; too many lets a reader forge an address
    service_url: str = "http://127.0.0.1:8000"
    api_key: str = field(default="", repr=False)
    issuer: str = "email-service"  # the service's TOKEN_ISSUER; its audiences are the same unless it says otherwise

    @property
    def is_https(self) -> bool:
        return self.url.startswith("https://")


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    known = {
        "url": "MAIN_APP_URL",
        "database": "MAIN_APP_DATABASE",
        "service_url": "EMAIL_SERVICE_URL",
        "api_key": "EMAIL_API_KEY",
        "issuer": "TOKEN_ISSUER",
    }
    if not environment.get("EMAIL_API_KEY"):
        raise RuntimeError("Set EMAIL_API_KEY to a key of the email service.")
    told = {name: environment[variable] for name, variable in known.items() if environment.get(variable)}
    return Settings(**told, proxy_count=int(environment.get("MAIN_APP_PROXY_COUNT", "0")))
