"""Carry conversations over HTTP, blocking or awaited. Know httpx2 and sleeping, and nothing of the API."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar, cast

import httpx2

from email_service_client.calls import Errand, Line, Listing
from email_service_client.exchange import Lost, Outcome, Reply, Request

T = TypeVar("T")
_CONNECT_SECONDS = 3.0  # at most; a connection that is not there by then is better tried again
# Nothing was sent before one of these.
_BEFORE_SENDING = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)


class Blocking:
    """In the thread of the caller; any number of threads may share it."""

    def __init__(self, http: httpx2.Client, line: Line) -> None:
        self._http, self._line, self._timeout = http, line, _timeout(line)

    def run(self, errand: Errand[T]) -> T:
        conversation = errand.begin(self._line)
        try:
            request = next(conversation)
            while True:
                request = conversation.send(self._carry(request))
        except StopIteration as end:
            return cast(T, end.value)

    def pages(self, listing: Listing[T]) -> Iterator[T]:
        page = self.run(listing.page(None))
        yield from page.data
        while page.next_cursor:
            page = self.run(listing.page(page.next_cursor))
            yield from page.data

    def _carry(self, request: Request) -> Outcome:
        time.sleep(request.after_seconds)
        try:
            return _reply(self._http.request(**_written(request), timeout=self._timeout, follow_redirects=False))
        except httpx2.RequestError as error:
            return _lost(error)


class Awaiting:
    """In the event loop of the caller."""

    def __init__(self, http: httpx2.AsyncClient, line: Line) -> None:
        self._http, self._line, self._timeout = http, line, _timeout(line)

    async def run(self, errand: Errand[T]) -> T:
        conversation = errand.begin(self._line)
        try:
            request = next(conversation)
            while True:
                request = conversation.send(await self._carry(request))
        except StopIteration as end:
            return cast(T, end.value)

    async def pages(self, listing: Listing[T]) -> AsyncIterator[T]:
        page = await self.run(listing.page(None))
        for item in page.data:
            yield item
        while page.next_cursor:
            page = await self.run(listing.page(page.next_cursor))
            for item in page.data:
                yield item

    async def _carry(self, request: Request) -> Outcome:
        await asyncio.sleep(request.after_seconds)
        try:
            return _reply(await self._http.request(**_written(request), timeout=self._timeout, follow_redirects=False))
        except httpx2.RequestError as error:
            return _lost(error)


def _timeout(line: Line) -> httpx2.Timeout:
    return httpx2.Timeout(line.timeout_seconds, connect=min(line.timeout_seconds, _CONNECT_SECONDS))


def _written(request: Request) -> dict[str, Any]:
    return {"method": request.method, "url": request.url, "headers": request.headers, "content": request.content}


def _reply(response: httpx2.Response) -> Reply:
    return Reply(status=response.status_code, headers=response.headers, content=response.content)


def _lost(error: httpx2.RequestError) -> Lost:
    """In words only: the error itself refers to the request, with the key and all that was sent."""
    reason = f"no answer: {type(error).__name__}{f' ({error})' if str(error) else ''}"
    return Lost(reason=reason, may_have_arrived=not isinstance(error, _BEFORE_SENDING))
