"""An ASGI app that answers from a cassette, byte for byte and in its time."""

from __future__ import annotations

import anyio

from ..streaming import Receive, Scope, Send, read_body, send_bytes, while_connected
from .cassette import Cassette, Exchange, Miss
from .passing import Incoming
from .recorder import MAX_BODY
from .reference.hanging_up import HangUp, cut

__all__ = ["Player"]


class Player:
    """Answers a request as it was answered when the cassette was recorded.

    speed: how much faster than then, 1 for as fast; 0 for at once. hang_up: see `cut`. A
    request that is not on the cassette has status 404 and says so; `misses` tells of each.
    """

    def __init__(
        self, cassette: Cassette, *, speed: float = 1.0, hang_up: HangUp | None = None
    ) -> None:
        if speed < 0:
            raise ValueError(f"the speed is {speed}, and cannot be negative")
        self._cassette = cassette
        self._speed = speed
        self.hang_up = hang_up
        self.misses: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        asked = Incoming.of(scope, await read_body(receive, MAX_BODY))
        body = asked.without_secrets(asked.body)
        question = Exchange(method=asked.method, path=asked.shown_path, body=body)
        try:
            exchange = self._cassette.play(question)
        except Miss as miss:
            self.misses.append(str(miss))
            await send_bytes(send, 404, str(miss).encode(), [("content-type", "text/plain")])
            return
        await while_connected(receive, lambda: self._play(exchange, send))
        if exchange.end == "cut":
            await cut(scope, receive, self.hang_up)

    async def _play(self, exchange: Exchange, send: Send) -> None:
        begun = anyio.current_time()
        await self._until(begun, exchange.began)
        await send(
            {
                "type": "http.response.start",
                "status": exchange.status,
                "headers": [(k.encode(), v.encode("latin-1")) for k, v in exchange.headers],
            }
        )
        for piece in exchange.pieces:
            await self._until(begun, piece.at)
            await send({"type": "http.response.body", "body": piece.data, "more_body": True})
        if exchange.end != "cut":
            await self._until(begun, exchange.ended)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _until(self, begun: float, at: float) -> None:
        if self._speed:
            await anyio.sleep_until(begun + at / self._speed)
