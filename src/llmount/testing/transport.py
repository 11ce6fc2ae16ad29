"""An httpx transport to an ASGI app that streams, and tells the app when it is left.

`httpx.ASGITransport` runs the app to its end and buffers the body. This one hands over
each piece as it is sent, and delivers `http.disconnect` when the response is closed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, TypeAlias

import anyio
import anyio.abc
import anyio.lowlevel
import httpx

__all__ = ["ASGITransport"]

Message: TypeAlias = MutableMapping[str, Any]
ASGIApp: TypeAlias = Callable[..., Awaitable[None]]


class ASGITransport(httpx.AsyncBaseTransport):
    """Use as `async with httpx.AsyncClient(transport=ASGITransport(app), …) as client`.

    root_path: as a server behind a proxy would set it. An exception of the app is raised
    where the response, or its next piece, is awaited.
    """

    def __init__(self, app: ASGIApp, *, root_path: str = "") -> None:
        self.app = app
        self.root_path = root_path
        self._group: anyio.abc.TaskGroup

    async def __aenter__(self) -> ASGITransport:
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(*exc)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        exchange = _Exchange(await request.aread())
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.partition(b"?")[0],
            "query_string": request.url.query,
            "root_path": self.root_path,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "server": (request.url.host, request.url.port),
            "client": ("127.0.0.1", 1),
        }
        self._group.start_soon(exchange.run, self.app, scope)
        try:
            await exchange.begun.wait()
        except BaseException:
            await exchange.aclose()
            raise
        if exchange.error is not None:
            await exchange.aclose()
            raise exchange.error
        assert exchange.status is not None, "the app sent no response"
        return httpx.Response(exchange.status, headers=exchange.headers, stream=exchange)


class _Exchange(httpx.AsyncByteStream, AsyncIterator[bytes]):
    def __init__(self, body: bytes) -> None:
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.error: Exception | None = None
        self.begun = anyio.Event()
        self._request: bytes | None = body
        self._left = anyio.Event()
        self._pieces_in, self._pieces = anyio.create_memory_object_stream[bytes](0)

    async def run(self, app: ASGIApp, scope: Message) -> None:
        try:
            with self._pieces_in:
                await app(scope, self._receive, self._send)
        except Exception as error:
            self.error = error
        finally:
            self.begun.set()

    async def _receive(self) -> Message:
        if self._request is not None:
            body, self._request = self._request, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
            self.begun.set()
        elif message.get("body") and not self._left.is_set():
            try:
                await self._pieces_in.send(message["body"])
            except anyio.BrokenResourceError:
                await anyio.lowlevel.checkpoint()

    # No generator: httpx closes none of those that it iterates.

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        with suppress(anyio.EndOfStream):
            return await self._pieces.receive()
        if self.error is not None:
            raise self.error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._left.set()
        self._pieces.close()
