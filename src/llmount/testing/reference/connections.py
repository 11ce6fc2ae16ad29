"""A port of this machine, whose app may change, and which hangs up when it is told to."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from ...check.served import served
from ...streaming import Receive, Scope, Send
from .hanging_up import ASGIApp

__all__ = ["Port"]

_LINGER_NOT = struct.pack("ii", 1, 0)


class Port:
    """A server. app: who answers; it may be changed at any time. url: where it is.

    Use as `with Port(app) as port`. Raises ImportError without uvicorn, RuntimeError if the
    server does not start.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.url = ""
        self._number = 0
        self._stack = ExitStack()
        self._open: dict[tuple[str, int], Any] = {}

    def __enter__(self) -> Port:
        self._start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @contextmanager
    def closed(self) -> Iterator[None]:
        """For as long as the block lasts, connections are refused."""
        self._stack.close()
        try:
            yield
        finally:
            self._start()

    def hang_up(self, scope: Scope, abruptly: bool) -> None:
        """Close the connection of a request: after what has been sent, or with a reset."""
        transport = self._open.get(tuple(scope["client"]))
        if transport is None:
            return
        if abruptly:
            connection: socket.socket = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            transport.abort()
        else:
            transport.close()

    def _start(self) -> None:
        server = served(
            self._answer,
            port=self._number,
            http=self._protocol(),
            loop="asyncio",
            ws="none",
            lifespan="off",
            interface="asgi3",
        )
        self.url = self._stack.enter_context(server)
        self._number = int(self.url.rpartition(":")[2])

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)

    def _protocol(self) -> type:
        from uvicorn.protocols.http.h11_impl import H11Protocol

        known = self._open

        class Known(H11Protocol):
            """Keeps the open connections by the addresses of the clients."""

            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                if self.client is not None:
                    known[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                if self.client is not None:
                    known.pop(self.client, None)
                super().connection_lost(exc)

        return Known
