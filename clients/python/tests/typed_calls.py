"""What type checkers say of the calls: `make lint` checks this file, and nothing runs it."""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from email_service_client import AccessClaims, AssertionClaims, AsyncEmailService, EmailService
from email_service_client.answers import Message, TokenIssued


def blocking(service: EmailService) -> None:
    assert_type(
        service.messages.send(template="welcome", to="ada@example.com", from_={"email": "a@b.example"}), Message
    )
    assert_type(service.messages.list(status="sent"), Iterator[Message])
    assert_type(service.suppressions.delete("a@b.example"), None)
    assert_type(service.verify_assertion("x", "magic_link"), AssertionClaims)
    # A comment that silences nothing is an error, so that each of these shows that a mistake is one.
    service.messages.send(template="welcome")  # type: ignore[call-arg]
    service.messages.send(template="welcome", to="a@b.example", subject="x")  # type: ignore[call-arg]
    service.messages.list(status="lost")  # type: ignore[arg-type]
    service.tokens.verify("invented", "x")  # type: ignore[arg-type]
    service.public.verify("magic_link", "x")  # type: ignore[call-arg]


async def awaiting(service: AsyncEmailService) -> None:
    assert_type(await service.tokens.issue(purpose="magic_link", subject="u"), TokenIssued)
    assert_type(service.messages.list(), AsyncIterator[Message])
    assert_type(await service.verify_access_token("x"), AccessClaims)
    service.messages.get("x")  # type: ignore[unused-coroutine]
