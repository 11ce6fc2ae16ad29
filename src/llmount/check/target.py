"""A server at a URL: requests sent, answers read as they come."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import httpx

from ..contract import essence
from ..framing import FRAMINGS, Decoder, FramingError
from ..jsontext import dumps_bytes
from ..types import JSON
from .recording import Item, Recording

__all__ = ["MAX_KEPT", "Target", "masked", "shown"]

MAX_KEPT: Final = 16 * 2**20
"""Bytes of an answer that are read; a longer one is a fault."""

_SCHEMES: Final = frozenset({"basic", "bearer"})


class Target:
    """A server, and what every request to it carries.

    url: its root. headers: sent with every request; their values never get into a
    recording. timeout: seconds in which a piece of an answer has to come. Use as
    `async with Target(…) as target`.
    """

    def __init__(
        self, url: str, *, headers: Mapping[str, str] | None = None, timeout: float = 60.0
    ) -> None:
        self.url = url.rstrip("/")
        self.headers = dict(headers or {})
        self.timeout = timeout
        self._client: httpx.AsyncClient

    async def __aenter__(self) -> Target:
        self._client = httpx.AsyncClient(
            headers={"user-agent": "llmount-check", "accept-encoding": "identity"},
            timeout=httpx.Timeout(self.timeout, pool=None),
            trust_env=False,
            limits=httpx.Limits(max_connections=None),
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.aclose()

    async def send(
        self,
        method: str,
        path: str,
        body: JSON = None,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        keyless: bool = False,
    ) -> Recording:
        """Send a request, and read the answer to its end.

        body: JSON; or content: bytes as they are. headers: besides those of the target, None
        of whose keys are sent if keyless. Whatever goes wrong is in the recording.
        """
        async with self.open(
            method, path, body, content=content, headers=headers, keyless=keyless
        ) as (recording, pieces):
            async for _ in pieces:
                pass
        return recording

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        body: JSON = None,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        keyless: bool = False,
    ) -> AsyncIterator[tuple[Recording, AsyncIterator[Sequence[Item]]]]:
        """As `send`, but the answer is read by whoever iterates: the items of a stream that
        each piece completes. Leaving early closes the connection."""
        if body is not None:
            content = dumps_bytes(body)
        sent = {} if content is None else {"content-type": "application/json"}
        sent |= {key.lower(): value for key, value in (headers or {}).items()}
        mine = {} if keyless else self.headers
        own = {name: value for name, value in mine.items() if name.lower() not in sent}
        recording = Recording(
            method=method, url=self.url + path, headers=shown(own, sent), body=content
        )
        request = self._client.build_request(
            method, recording.url, content=content, headers={**own, **sent}
        )
        begun = time.perf_counter()
        try:
            response = await self._answer(request)
        except (httpx.HTTPError, OSError) as error:
            recording.fault = _fault(error)
            recording.ended = time.perf_counter() - begun
            yield recording, _nothing()
            return
        recording.began = time.perf_counter() - begun
        recording.status = response.status_code
        recording.response_headers = [(k.lower(), v) for k, v in response.headers.multi_items()]
        try:
            yield recording, _Pieces(recording, response, begun)
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()
            recording.ended = recording.ended or time.perf_counter() - begun

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        """The answer to a request, as soon as it begins. Raises as httpx does.

        A server may close a connection that was idle just as it is used again; then the
        request goes through another one. What a new connection does is told as it is.
        """
        while True:
            opened = False

            async def watch(event: str, info: Mapping[str, Any]) -> None:
                nonlocal opened
                opened |= event == "connection.connect_tcp.started"

            request.extensions = {**request.extensions, "trace": watch}
            try:
                return await self._client.send(request, stream=True)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                if opened:
                    raise


class _Pieces:
    """Reads an answer into its recording, piece by piece."""

    def __init__(self, recording: Recording, response: httpx.Response, begun: float) -> None:
        self._recording = recording
        self._begun = begun
        self._bytes = response.aiter_raw()
        framing = FRAMINGS.get(essence(recording.media_type))
        self._decoder: Decoder | None = framing.decoder() if framing else None
        self._kept = bytearray()
        self._done = False

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> Sequence[Item]:
        if self._done:
            raise StopAsyncIteration
        recording = self._recording
        try:
            piece = await anext(self._bytes)
        except StopAsyncIteration:
            return self._end("")
        except (httpx.HTTPError, OSError) as error:
            return self._end(_fault(error))
        at = time.perf_counter() - self._begun
        recording.reads.append((at, len(piece)))
        self._kept += piece
        if len(self._kept) > MAX_KEPT:
            return self._end(f"the answer has more than {MAX_KEPT} bytes")
        return self._items(piece, at)

    def _items(self, piece: bytes, at: float) -> list[Item]:
        if self._decoder is None:
            return []
        try:
            found = [Item(value, at) for value in self._decoder.feed(piece)]
        except FramingError as error:
            self._decoder = None
            self._recording.fault = f"the stream is garbled: {error}"
            return []
        self._recording.items += found
        return found

    def _end(self, fault: str) -> list[Item]:
        self._done = True
        recording = self._recording
        recording.ended = time.perf_counter() - self._begun
        recording.content = bytes(self._kept)
        found: list[Item] = []
        if self._decoder is not None:
            try:
                found = [Item(value, recording.ended) for value in self._decoder.close()]
            except FramingError as error:
                fault = fault or f"the stream is cut off: {error}"
        recording.items += found
        recording.fault = recording.fault or fault
        return found


async def _nothing() -> AsyncIterator[Sequence[Item]]:
    for _ in ():
        yield ()


def shown(own: Mapping[str, str], sent: Mapping[str, str]) -> list[tuple[str, str]]:
    """The headers of a request as a recording tells them: the values of the target's own masked
    but for the scheme of a key."""
    hidden = [
        (name.lower(), masked(value)) for name, value in own.items() if name.lower() not in sent
    ]
    return [*hidden, *sent.items()]


def masked(value: str) -> str:
    """The value of a header that has a secret, of a key its scheme alone."""
    scheme, _, rest = value.partition(" ")
    return f"{scheme} …" if rest and scheme.lower() in _SCHEMES else "…"


def _fault(error: Exception) -> str:
    """What happened, in the words of a report."""
    kinds = {
        httpx.ReadTimeout: "no byte came in time",
        httpx.ConnectTimeout: "no connection in time",
        httpx.ConnectError: "no connection",
        httpx.RemoteProtocolError: "the connection was cut",
        httpx.ReadError: "the connection was cut",
        httpx.WriteError: "the connection was cut while the request was sent",
    }
    words = next((text for kind, text in kinds.items() if isinstance(error, kind)), "")
    detail = str(error) or type(error).__name__
    return f"{words}: {detail}" if words else detail
