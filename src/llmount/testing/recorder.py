"""An ASGI app that passes requests on to a real server, and keeps what comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Final

import httpx

from ..streaming import Receive, Scope, Send, read_body, send_bytes, while_connected
from .cassette import Exchange, Piece
from .passing import NOT_PASSED, Incoming
from .reference.hanging_up import HangUp, cut

__all__ = ["MAX_BODY", "Recorder"]

MAX_BODY: Final = 64 * 2**20
_TIMEOUT: Final = 600.0
_NOT_KEPT: Final = NOT_PASSED | {"date", "server", "set-cookie"}


class Recorder:
    """Answers as the server at `url` does, each piece as soon as it comes.

    keep: given each exchange when it ends, without secrets: no header of a request is in it,
    and what could be a key is masked wherever it is. A server that cannot be reached is told
    with status 502, and nothing is kept. hang_up: see `cut`.
    """

    def __init__(
        self, url: str, keep: Callable[[Exchange], None], *, hang_up: HangUp | None = None
    ) -> None:
        self._url = url.rstrip("/")
        self._keep = keep
        self.hang_up = hang_up

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        asked = Incoming.of(scope, await read_body(receive, MAX_BODY))
        tape = _Tape(asked)
        await while_connected(receive, lambda: self._pass_on(asked, tape, send))
        if tape.end == "cut":
            await cut(scope, receive, self.hang_up)

    async def _pass_on(self, asked: Incoming, tape: _Tape, send: Send) -> None:
        url = self._url + asked.path + (f"?{asked.query}" if asked.query else "")
        passed = {name: value for name, value in asked.headers.items() if name not in NOT_PASSED}
        # What is compressed could neither be read on the cassette nor be masked.
        passed["accept-encoding"] = "identity"
        async with httpx.AsyncClient(timeout=_TIMEOUT) as client:
            request = client.build_request(
                asked.method, url, content=asked.body or None, headers=passed
            )
            tape.begin()
            try:
                response = await client.send(request, stream=True)
            except (httpx.HTTPError, OSError) as error:
                told = f"{self._url} cannot be recorded: {error or type(error).__name__}"
                await send_bytes(send, 502, told.encode(), [("content-type", "text/plain")])
                return
            async with aclosing(response):
                try:
                    await self._relay(response, tape, send)
                finally:
                    # A client that leaves cancels this, often because it has all that it wants.
                    self._keep(tape.exchange())
        if tape.end == "complete":
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _relay(self, response: httpx.Response, tape: _Tape, send: Send) -> None:
        tape.answered(response)
        await send(
            {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": [(k.encode(), v.encode("latin-1")) for k, v in tape.headers],
            }
        )
        try:
            async for data in response.aiter_raw():
                tape.came(data)
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except (httpx.HTTPError, OSError):
            tape.end = "cut"
        else:
            tape.end = "complete"


class _Tape:
    """One exchange while it goes on."""

    def __init__(self, asked: Incoming) -> None:
        self.end: Any = "left"
        self.headers: list[tuple[str, str]] = []
        self._asked = asked
        self._status = 0
        self._began = 0.0
        self._pieces: list[Piece] = []

    def begin(self) -> None:
        self._start = time.perf_counter()

    def answered(self, response: httpx.Response) -> None:
        self._began = time.perf_counter() - self._start
        self._status = response.status_code
        self.headers = [
            (name.lower(), value)
            for name, value in response.headers.multi_items()
            if name.lower() not in _NOT_KEPT
        ]

    def came(self, data: bytes) -> None:
        self._pieces.append(Piece(time.perf_counter() - self._start, data))

    def exchange(self) -> Exchange:
        clean = self._asked.without_secrets
        return Exchange(
            method=self._asked.method,
            path=self._asked.shown_path,
            body=clean(self._asked.body),
            status=self._status,
            headers=self.headers,
            began=self._began,
            ended=time.perf_counter() - self._start,
            pieces=[Piece(piece.at, clean(piece.data)) for piece in self._pieces],
            end=self.end,
        )
