"""One request to an upstream over httpx, bounded in time and size, and its items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Self

import anyio
import httpx

from ..errors import BackendError, BackendTimeout, BackendUnavailable, Overloaded
from ..framing import Decoder, FramingError
from ..jsontext import dumps_bytes
from ..types import JSON

__all__ = ["Exchange", "Items"]

_DRAIN_SECONDS: Final = 0.5
_CLOSE_SECONDS: Final = 1.0

# What a failure of httpx means; the most specific class counts.
_FAILURES: Final[Mapping[type[Exception], Callable[[], BackendError]]] = {
    httpx.ConnectTimeout: lambda: BackendUnavailable("the upstream cannot be reached"),
    httpx.PoolTimeout: Overloaded,
    httpx.TimeoutException: BackendTimeout,
    httpx.ConnectError: lambda: BackendUnavailable("the upstream cannot be reached"),
    httpx.ProxyError: lambda: BackendUnavailable("the upstream cannot be reached"),
    httpx.NetworkError: lambda: BackendError("the connection to the upstream broke"),
    httpx.RemoteProtocolError: lambda: BackendError("the connection to the upstream broke"),
    httpx.DecodingError: lambda: BackendError("the upstream's answer is garbled"),
    httpx.HTTPError: lambda: BackendError("the upstream failed"),
    FramingError: lambda: BackendError("the upstream's answer is garbled or cut off"),
    TimeoutError: BackendTimeout,
}


@contextmanager
def _failures() -> Iterator[None]:
    """Draws failures of the transport as errors of ours. Nothing is yielded inside of it."""
    try:
        yield
    except tuple(_FAILURES) as failure:
        kind = next(kind for kind in type(failure).__mro__ if kind in _FAILURES)
        raise _FAILURES[kind]() from failure


class Exchange:
    """One request under way. Leaving it closes the connection, unless all was read.

    limit: seconds from here to the headers, and to `deadline`. All methods raise
    BackendError, also BackendUnavailable and BackendTimeout, where the transport fails.
    """

    response: httpx.Response

    def __init__(
        self, client: httpx.AsyncClient, method: str, path: str, body: JSON, limit: float
    ) -> None:
        self._client = client
        self._request = client.build_request(
            method,
            path,
            content=None if body is None else dumps_bytes(body),
            headers=None if body is None else {"content-type": "application/json"},
        )
        self.deadline = anyio.current_time() + limit

    async def __aenter__(self) -> Self:
        with _failures(), anyio.fail_after(self.deadline - anyio.current_time()):
            self.response = await self._client.send(self._request, stream=True)
        self._chunks = aiter(self.response.aiter_bytes())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Closing must not be skipped when it is a cancellation that leads here.
        with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
            await self.response.aclose()

    @property
    def media_type(self) -> str:
        """Of the response, without parameters and in lower case."""
        label: str = self.response.headers.get("content-type", "")
        return label.partition(";")[0].strip().lower()

    async def read(self) -> bytes | None:
        """The next bytes of the body, decompressed; None at its end."""
        return await anext(self._chunks, None)

    async def text(self, most: int, limit: float) -> str:
        """The whole body, of at most `most` bytes, within `limit` seconds."""
        body = bytearray()
        with _failures(), anyio.fail_after(limit):
            while (chunk := await self.read()) is not None:
                body += chunk
                if len(body) > most:
                    raise _too_large()
        return body.decode("utf-8-sig", "replace")

    async def drain(self) -> None:
        """Reads what comes after the last item, so that the connection can be kept."""
        # Whatever goes wrong here, the answer was whole before.
        with suppress(BackendError), _failures(), anyio.move_on_after(_DRAIN_SECONDS):
            while await self.read() is not None:
                pass


class Items:
    """The items of an answer, in batches, as they arrive.

    most: bytes. idle: seconds from one batch to the next, not counting what the reader
    takes in between; until the first batch it is the deadline of the exchange that counts.
    """

    def __init__(self, exchange: Exchange, decoder: Decoder, *, most: int, idle: float) -> None:
        self._exchange = exchange
        self._decoder = decoder
        self._left = most
        self._idle = idle
        self._limit = exchange.deadline - anyio.current_time()
        self._ended = False

    async def next(self) -> list[JSON]:
        """At least one item; none after the last one."""
        items: list[JSON] = []
        with _failures(), anyio.fail_after(self._limit):
            while not items and not self._ended:
                chunk = await self._exchange.read()
                if chunk is None:
                    self._ended = True
                    items = self._decoder.close()
                else:
                    self._left -= len(chunk)
                    if self._left < 0:
                        raise _too_large()
                    items = self._decoder.feed(chunk)
        self._limit = self._idle
        return items


def _too_large() -> BackendError:
    return BackendError("the upstream's answer is too large")
