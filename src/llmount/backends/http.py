"""A server elsewhere as a backend: the only file that imports httpx."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from types import TracebackType
from typing import Final, Self

import anyio
import httpx
from anyio.lowlevel import RunVar

from ..dialects import ollama_client, openai_client
from ..errors import (
    ApiError,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    Overloaded,
    RateLimited,
)
from ..framing import Decoder, FramingError, framing_of
from ..jsontext import dumps_bytes, loads
from ..types import JSON, Event, Model, Prompt

__all__ = ["OllamaBackend", "OpenAIBackend", "Timeouts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait for an upstream, in seconds.

    connect: for a connection. first: from the request to the first item of the answer,
    the loading of the model included. idle: from one item to the next, not counting
    what the reader takes in between. whole: for an answer that is not streamed, such as
    a list of models or an error's body.
    """

    connect: float = 5.0
    first: float = 300.0
    idle: float = 60.0
    whole: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Client:
    """The client half of a dialect, as a row.

    framing: of a streamed answer, whatever it is labelled. whole: the items that a body
    of type application/json stands for, where that is not the stream's framing.
    """

    request: Callable[[Prompt], tuple[str, JSON]]
    answer: Callable[[str], ollama_client.Answer | openai_client.Answer]
    error: Callable[[int, JSON, str], ApiError]
    models_path: str
    models: Callable[[JSON], list[Model]]
    framing: str
    whole: Callable[[str], list[JSON]] | None = None


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


_KEPT: Final = 20
# Less than the 5 s after which common servers drop an idle connection, so as not to race.
_KEPT_SECONDS: Final = 4.0
_FRESH_SECONDS: Final = 5.0
_DRAIN_SECONDS: Final = 0.5
_CLOSE_SECONDS: Final = 1.0
_MAX_BODY: Final = 8 * 2**20
_MAX_ANSWER: Final = 128 * 2**20
_SECRET_LENGTH: Final = 8
_TIMEOUTS: Final = Timeouts()


class _Http:
    """What both backends are: a `_Client` at an address.

    A backend may be shared by all requests of a server. Each event loop that uses it
    gets an `httpx.AsyncClient` of its own at its first request; `aclose` closes that of
    the loop it is called on, and the backend may be used again afterwards.
    """

    def __init__(
        self,
        dialect: _Client,
        base_url: str,
        model: str | None,
        headers: Mapping[str, str],
        timeout: Timeouts,
        max_bytes: int,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self._dialect = dialect
        self._base_url = _address(base_url)
        self._model = model
        self._headers = _fields(headers)
        self._secrets = [text for text in headers.values() if len(text) >= _SECRET_LENGTH]
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._transport = transport
        self._clients: RunVar[httpx.AsyncClient | None] = RunVar("llmount.http", None)
        self._listed: tuple[float, Sequence[Model]] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base_url!r})"

    async def generate(self, prompt: Prompt, /) -> AsyncGenerator[Event, None]:
        """See `Backend.generate`. Closing the generator closes the upstream's connection.

        Raises what the upstream reports, BackendUnavailable if it cannot be reached,
        BackendTimeout if it is too slow, and BackendError if it fails in any other way:
        an answer that is cut off is never taken for a whole one.
        """
        asked = prompt.model
        path, body = self._dialect.request(self._renamed(prompt))
        answer = self._dialect.answer(asked)
        async with _Exchange(self.client(), "POST", path, body, self._timeout.first) as exchange:
            await self._check(exchange, asked)
            items = _Items(exchange, self._dialect, self._max_bytes, self._timeout.idle)
            while not answer.done:
                try:
                    batch = await items.next()
                except BackendError:
                    # After the finish only the usage can be missing: no reason to fail.
                    if not answer.complete:
                        raise
                    break
                if batch is None:
                    break
                for item in batch:
                    for event in answer.feed(item):
                        yield event
            if answer.done:
                await exchange.drain()
        for event in answer.close():
            yield event

    def _renamed(self, prompt: Prompt) -> Prompt:
        return prompt if self._model is None else replace(prompt, model=self._model)

    async def models(self) -> Sequence[Model]:
        """What the upstream lists, at most 5 seconds old; with a fixed `model`, only that.

        Raises as `generate` does.
        """
        if self._listed is not None and time.monotonic() - self._listed[0] < _FRESH_SECONDS:
            return self._listed[1]
        path = self._dialect.models_path
        async with _Exchange(self.client(), "GET", path, None, self._timeout.whole) as exchange:
            await self._check(exchange, "")
            text = await exchange.text(_MAX_BODY, self._timeout.whole)
        try:
            listed = self._dialect.models(loads(text))
        except ValueError as fault:
            raise BackendError("the upstream's list of models is not JSON") from fault
        if self._model is not None:
            listed = [model for model in listed if model.name == self._model]
            listed = listed or [Model(name=self._model)]
        self._listed = time.monotonic(), tuple(listed)
        return self._listed[1]

    async def _check(self, exchange: _Exchange, model: str) -> None:
        response = exchange.response
        if response.is_success:
            return
        text = await exchange.text(_MAX_BODY, self._timeout.whole)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        error = self._dialect.error(response.status_code, text, model)
        if isinstance(error, RateLimited | Overloaded):
            error.retry_after = _retry_after(response.headers)
        raise error

    async def aclose(self) -> None:
        client = self._clients.get()
        self._clients.set(None)
        if client is not None:
            await client.aclose()

    def client(self) -> httpx.AsyncClient:
        client = self._clients.get()
        if client is None:
            client = httpx.AsyncClient(
                base_url=self._base_url,
                headers=self._headers,
                timeout=httpx.Timeout(None, connect=self._timeout.connect),
                limits=httpx.Limits(
                    max_keepalive_connections=_KEPT, keepalive_expiry=_KEPT_SECONDS
                ),
                transport=self._transport,
            )
            self._clients.set(client)
        return client


class _Exchange:
    """One request under way. Leaving it closes the connection, unless all was read.

    limit: seconds from here to the headers, and to `deadline`.
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


class _Items:
    """The items of an answer, in batches, as they arrive."""

    def __init__(self, exchange: _Exchange, dialect: _Client, most: int, idle: float) -> None:
        media_type = exchange.response.headers.get("content-type", "").partition(";")[0]
        is_json = media_type.strip().lower() == "application/json"
        self._exchange = exchange
        self._whole = dialect.whole if is_json else None
        self._decoder: Decoder = framing_of(dialect.framing).decoder()
        self._left = most
        self._idle = idle
        self._limit = exchange.deadline - anyio.current_time()
        self._ended = False

    async def next(self) -> list[JSON] | None:
        """At least one item, or None after the last one."""
        if self._ended:
            return None
        if self._whole is not None:
            self._ended = True
            return self._whole(await self._exchange.text(self._left, self._limit))
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


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds, from either form of Retry-After; None where there is none to understand."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _address(base_url: str) -> str:
    """Raises ValueError for what is not the plain address of an HTTP server."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        raise ValueError("base_url is not a URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("base_url must begin with http:// or https:// and a host")
    if url.userinfo or url.query or url.fragment:
        # A secret in an address ends up in logs.
        raise ValueError("base_url must have no user, query or fragment; use headers")
    return base_url.rstrip("/")


def _fields(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        # Checked here, because later the failure would quote the value.
        if not re.fullmatch(r"[\t\x20-\x7e]*", value) or value != value.strip():
            raise ValueError(f"the header {name} has a value that cannot be sent")
    return {"user-agent": "llmount", "accept-encoding": "identity", **headers}


class OllamaBackend(_Http):
    """An Ollama server, or whatever speaks its API, at `base_url` (without /api).

    model: the upstream's model to use, whatever the prompt asks for. headers: to be sent
    with every request. max_bytes: the size of an answer on the wire that is too much.
    transport: how to reach the server, for tests in process.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:11434",
        *,
        model: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: Timeouts = _TIMEOUTS,
        max_bytes: int = _MAX_ANSWER,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(_OLLAMA, base_url, model, headers or {}, timeout, max_bytes, transport)


class OpenAIBackend(_Http):
    """A server that speaks OpenAI's API at `base_url` (with its /v1).

    api_key: sent as the bearer token. settings: the names of the sampling settings that
    the server takes; `openai_client.HOSTED` suits OpenAI itself, which knows
    `max_completion_tokens`, while most others know `max_tokens`. The rest is as for
    `OllamaBackend`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        model: str | None = None,
        settings: Mapping[str, str] = openai_client.SELF_HOSTED,
        headers: Mapping[str, str] | None = None,
        timeout: Timeouts = _TIMEOUTS,
        max_bytes: int = _MAX_ANSWER,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        dialect = replace(_OPENAI, request=partial(openai_client.request, settings=settings))
        bearer = {"authorization": f"Bearer {api_key}"} if api_key else {}
        super().__init__(
            dialect, base_url, model, {**bearer, **(headers or {})}, timeout, max_bytes, transport
        )
        if api_key:
            self._secrets.append(api_key)


_OLLAMA: Final = _Client(
    request=ollama_client.request,
    answer=ollama_client.Answer,
    error=ollama_client.error,
    models_path="/api/tags",
    models=ollama_client.models,
    framing="application/x-ndjson",
)
_OPENAI: Final = _Client(
    request=openai_client.request,
    answer=openai_client.Answer,
    error=openai_client.error,
    models_path="/models",
    models=openai_client.models,
    framing="text/event-stream",
    whole=lambda text: [{"data": text}, {"data": "[DONE]"}],
)
