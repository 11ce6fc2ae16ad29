"""Requests that no HTTP client sends, written byte by byte, and their answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import anyio
import h11
import httpx
from anyio.abc import ByteStream

from .recording import Recording
from .target import MAX_KEPT, Target, shown

__all__ = ["Request", "exchange"]

_PIECE: Final = 2**16
_CONTINUE: Final = 1.0
"""Seconds after which a body is sent that no 100 was sent for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it is written.

    headers: besides Host, Connection, those of the target and those that frame the body.
    chunked: the body has no length. expects: the body is held back until the server wants it,
    or a second has passed. promised: bytes that the length counts and that are never sent:
    the connection is closed in their place, so that there is no answer to wait for.
    """

    method: str
    path: str
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    version: str = "1.1"
    chunked: bool = False
    expects: bool = False
    promised: int = 0

    @property
    def told(self) -> list[tuple[str, str]]:
        """The headers, with those that frame the body."""
        length = str(len(self.body) + self.promised)
        framing = ("transfer-encoding", "chunked") if self.chunked else ("content-length", length)
        expected = [("expect", "100-continue")] if self.expects else []
        return [*self.headers, framing, *expected, ("connection", "close")]

    def head(self, host: str, path: str, own: Sequence[tuple[str, str]]) -> bytes:
        """What comes before the body."""
        lines = [("host", host), *own, *self.told]
        first = f"{self.method} {path} HTTP/{self.version}"
        return "\r\n".join([first, *(f"{n}: {v}" for n, v in lines), "", ""]).encode("latin-1")

    def framed(self) -> bytes:
        """The body as it is sent; of one without a length, in two chunks."""
        if not self.chunked:
            return self.body
        half = len(self.body) // 2
        pieces = [piece for piece in (self.body[:half], self.body[half:]) if piece]
        return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


async def exchange(target: Target, request: Request, *, timeout: float) -> Recording:
    """Send a request of its own connection, and read the answer to its end.

    timeout: seconds for all of it. Whatever goes wrong is in the recording.
    """
    sent = {name.lower(): value for name, value in request.headers}
    recording = Recording(
        method=request.method,
        url=target.url + request.path,
        headers=shown(target.headers, {**sent, **dict(request.told)}),
        body=request.body,
    )
    url = urlsplit(recording.url)
    path = url.path + (f"?{url.query}" if url.query else "")
    own = [(name, value) for name, value in target.headers.items() if name.lower() not in sent]
    begun = time.perf_counter()
    with anyio.move_on_after(timeout) as scope:
        try:
            stream = await _connect(url.scheme == "https", url.hostname or "", url.port)
        except OSError as error:
            recording.fault = f"no connection: {error}"
        else:
            async with stream:
                reader = _Reader(stream, recording, begun)
                head = request.head(url.netloc.rpartition("@")[2], path, own)
                try:
                    await _converse(stream, reader, request, head)
                finally:
                    recording.content = bytes(reader.kept)
    if scope.cancelled_caught:
        recording.fault = f"not answered in {timeout:.0f} seconds"
    recording.ended = time.perf_counter() - begun
    return recording


async def _connect(tls: bool, host: str, port: int | None) -> ByteStream:
    if tls:
        return await anyio.connect_tcp(
            host,
            port or 443,
            ssl_context=httpx.create_ssl_context(trust_env=False),
            tls_standard_compatible=False,
        )
    return await anyio.connect_tcp(host, port or 80)


async def _converse(stream: ByteStream, reader: _Reader, request: Request, head: bytes) -> None:
    """A server may answer, and close, before it has read all."""
    if request.promised:
        await _write(stream, head + request.framed())
        return
    if request.expects:
        await _write(stream, head)
        with anyio.move_on_after(_CONTINUE):
            await reader.until_informed()
        if not reader.recording.status:
            await _write(stream, request.framed())
        await reader.until_ended()
        return
    async with anyio.create_task_group() as group:
        group.start_soon(_write, stream, head + request.framed())
        await reader.until_ended()
        group.cancel_scope.cancel()


async def _write(stream: ByteStream, content: bytes) -> None:
    try:
        await stream.send(content)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        # Whoever reads finds out, and may still find an answer.
        return


@dataclass(slots=True)
class _Reader:
    """Reads one answer into a recording."""

    stream: ByteStream
    recording: Recording
    begun: float
    kept: bytearray = field(default_factory=bytearray)
    _parser: h11.Connection = field(init=False)

    def __post_init__(self) -> None:
        self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=_PIECE)
        # What was sent does not matter, but that a request was, and whether it was a HEAD.
        method = self.recording.method.upper()
        self._parser.send(h11.Request(method=method, target="/", headers=[("host", "any")]))
        self._parser.send(h11.EndOfMessage())

    async def until_informed(self) -> None:
        """Reads to the first word of the server, which may be that it wants the body."""
        await self._until(h11.InformationalResponse, h11.Response)

    async def until_ended(self) -> None:
        await self._until(h11.EndOfMessage)

    async def _until(self, *wanted: type[h11.Event]) -> None:
        if self.recording.fault:
            return
        try:
            while True:
                event = self._parser.next_event()
                if event is h11.NEED_DATA:
                    self._parser.receive_data(await self._received())
                    continue
                if isinstance(event, h11.Event):
                    self._note(event)
                if isinstance(event, wanted) or self.recording.fault:
                    return
        except h11.RemoteProtocolError as error:
            self.recording.fault = f"the connection was cut: {error}"
        except anyio.BrokenResourceError as error:
            self.recording.fault = f"the connection was cut: {error.__cause__ or error!r}"

    async def _received(self) -> bytes:
        try:
            return await self.stream.receive(_PIECE)
        except anyio.EndOfStream:
            return b""

    def _note(self, event: h11.Event) -> None:
        recording, at = self.recording, time.perf_counter() - self.begun
        if isinstance(event, h11.Response):
            recording.status, recording.began = event.status_code, at
            recording.response_headers = [
                (n.decode(), v.decode("latin-1")) for n, v in event.headers
            ]
        elif isinstance(event, h11.Data):
            recording.reads.append((at, len(event.data)))
            self.kept += event.data
            if len(self.kept) > MAX_KEPT:
                recording.fault = f"the answer has more than {MAX_KEPT} bytes"
