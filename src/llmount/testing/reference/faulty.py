"""An ASGI app around another: it keeps the journal and plays the faults."""

from __future__ import annotations

from collections.abc import Iterable

import anyio

from ...backends.echo import Delay
from ...streaming import Message, Receive, Scope, Send
from .failing import FAILURE
from .faults import Act, Fault, Faults
from .frames import Cutter, carries
from .hanging_up import ASGIApp, HangUp, cut
from .journal import MAX_KEPT, Asked, End, Journal, shown_headers

__all__ = ["Faulty"]


class Faulty:
    """Passes requests on to an app, notes them, and spoils the answers as planned.

    The app's backend is a `FailingBackend`. hang_up: how a connection is closed, see `cut`.
    """

    def __init__(
        self,
        app: ASGIApp,
        faults: Faults,
        journal: Journal,
        *,
        hang_up: HangUp | None = None,
    ) -> None:
        self._app = app
        self._faults = faults
        self._journal = journal
        self._hang_up = hang_up

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        query = scope.get("query_string", b"").decode("latin-1")
        asked = Asked(
            method=scope["method"],
            path=scope["path"] + (f"?{query}" if query else ""),
            headers=shown_headers(scope["headers"]),
        )
        fault = self._faults.next(asked.method, scope["path"]) or Fault(name="")
        asked.fault = fault.name
        self._journal.begin(asked)
        try:
            exchange = _Exchange(asked, fault, self._journal, receive, send)
            await self._answer(scope, exchange, receive)
        finally:
            asked.end = asked.end or "left"
            asked.ended = asked.ended or self._journal.now()

    async def _answer(self, scope: Scope, exchange: _Exchange, receive: Receive) -> None:
        fault, asked = exchange.fault, exchange.asked
        if fault.reset:
            await exchange.read()
            asked.end = "cut"
        else:
            token = FAILURE.set(fault.failure)
            try:
                await self._app(scope, exchange.receive, exchange.send)
            finally:
                FAILURE.reset(token)
        if asked.end == "cut":
            await cut(scope, receive, self._hang_up, abruptly=fault.reset)


class _Exchange:
    """One request: what is received is noted, what is sent is spoiled."""

    def __init__(
        self, asked: Asked, fault: Fault, journal: Journal, receive: Receive, send: Send
    ) -> None:
        self.asked = asked
        self.fault = fault
        self._journal = journal
        self._receive = receive
        self._send = send
        self._cutter: Cutter | None = None
        self._whole = b""
        self._number = 0

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            room = MAX_KEPT - len(self.asked.body)
            self.asked.body += message.get("body", b"")[:room]
        return message

    async def read(self) -> None:
        """The request, to its end."""
        while (await self.receive()).get("more_body"):
            pass

    async def send(self, message: Message) -> None:
        """What the app sends, as the fault has it; nothing after an early end."""
        if self.asked.end:
            return
        if message["type"] == "http.response.start":
            await self._start(message)
        elif message["type"] == "http.response.body":
            await self._body(message.get("body", b""), bool(message.get("more_body")))

    async def _start(self, message: Message) -> None:
        asked, fault = self.asked, self.fault
        headers = {key.lower(): value.decode("latin-1") for key, value in message["headers"]}
        self._cutter = Cutter.of(headers.get(b"content-type", ""))
        if fault.delay:
            await self._wait(fault.delay)
        replaced: dict[bytes, bytes] = {}
        if fault.media_type:
            replaced[b"content-type"] = fault.media_type.encode("latin-1")
        # Of an answer of which only a part is sent, the length would be wrong.
        left_out = {b"content-length", *replaced} if fault.frame else {*replaced}
        kept = [(key, value) for key, value in message["headers"] if key.lower() not in left_out]
        told = headers.get(b"retry-after", "")
        asked.retry_after = float(told) if told.isdecimal() else None
        asked.status = message["status"]
        in_band = fault.failure is not None and asked.status == 200
        asked.spoiled = fault.spoils and (in_band or bool(fault.media_type))
        await self._send({**message, "headers": [*kept, *replaced.items()]})

    async def _body(self, piece: bytes, more: bool) -> None:
        if self._cutter is not None:
            frames = self._cutter.feed(piece)
            for frame in frames if more else [*frames, *self._cutter.close()]:
                await self._frame(frame)
        elif self.fault.frame is None:
            await self._write(piece)
        else:
            self._whole += piece
            if not more:
                await self._play(self.fault.frame(None, self._whole), self._whole)
        if not more and not self.asked.end:
            await self._finish("complete")

    async def _frame(self, frame: bytes) -> None:
        if self.asked.end:
            return
        if not carries(frame):
            await self._write(frame)
            return
        acts = self.fault.frame(self._number, frame) if self.fault.frame else [frame]
        self._number += 1
        await self._play(acts, frame)

    async def _play(self, acts: Iterable[Act], frame: bytes) -> None:
        acts = list(acts)
        self.asked.spoiled |= self.fault.spoils and acts != [frame]
        for act in acts:
            if isinstance(act, Delay):
                await self._wait(act.seconds)
            elif isinstance(act, bytes):
                self.asked.items += self._cutter is not None
                await self._write(act)
            elif act == "cut":
                self.asked.end = "cut"
            else:
                await self._finish("truncated")

    async def _wait(self, seconds: float) -> None:
        """A silence; the app is cancelled, and this with it, if the client leaves."""
        begun = self.asked.silent_since = self._journal.now()
        try:
            await anyio.sleep(seconds)
        finally:
            self.asked.waited = max(self.asked.waited, self._journal.now() - begun)
            self.asked.silent_since = None

    async def _write(self, piece: bytes) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def _finish(self, end: End) -> None:
        # Before the client has it all, and looks at the journal.
        self.asked.end, self.asked.ended = end, self._journal.now()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
