"""Both clients behind one way of asking, so that each test of what a call does is a test of both.

Knows no pytest.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from email_service_client import AsyncEmailService, EmailService

Act = Callable[[Any], Any]


@dataclass(frozen=True)
class Face:
    """One of the two clients, for the service at this address."""

    url: str
    api_key: str | None
    is_blocking: bool

    def ask(self, act: Act, **options: Any) -> Any:
        """What a method came to; all items of a list."""
        if self.is_blocking:
            with EmailService(**{"url": self.url, "api_key": self.api_key, **options}) as service:
                found = act(service)
                return list(found) if isinstance(found, Iterator) else found
        return asyncio.run(self._await(act, options))

    async def _await(self, act: Act, options: dict[str, Any]) -> Any:
        async with AsyncEmailService(**{"url": self.url, "api_key": self.api_key, **options}) as service:
            found = act(service)
            return [item async for item in found] if isinstance(found, AsyncIterator) else await found
