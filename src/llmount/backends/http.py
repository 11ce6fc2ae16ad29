"""A server elsewhere as a backend, over httpx."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Final

import httpx
from anyio.lowlevel import RunVar

from ..dialects.client import Client
from ..dialects.ollama_client import OLLAMA, RESIDENTS_PATH, Answer, residents
from ..dialects.ollama_client_request import residency
from ..dialects.ollama_models import bare
from ..dialects.openai_client import OPENAI
from ..dialects.openai_client_request import SELF_HOSTED, request
from ..errors import BackendError, Overloaded, RateLimited
from ..jsontext import loads
from ..types import JSON, EmbeddingPrompt, Embeddings, Event, Model, Prompt, Residency
from .http_exchange import Exchange, Items

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


_KEPT: Final = 20
# Less than the 5 s after which common servers drop an idle connection, so as not to race.
_KEPT_SECONDS: Final = 4.0
_FRESH_SECONDS: Final = 5.0
_MAX_BODY: Final = 8 * 2**20
_MAX_ANSWER: Final = 128 * 2**20
_SECRET_LENGTH: Final = 8
_TIMEOUTS: Final = Timeouts()


class _Http:
    """What both backends are: the client half of a dialect at an address.

    A backend may be shared by all requests of a server. Each event loop that uses it
    gets an `httpx.AsyncClient` of its own at its first request; `aclose` closes that of
    the loop it is called on, and the backend may be used again afterwards.
    """

    def __init__(
        self,
        dialect: Client,
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
        asked, timeout = prompt.model, self._timeout
        path, body = self._dialect.request(replace(prompt, model=self._upstreams(asked)))
        answer = self._dialect.answer(asked)
        async with self._exchange("POST", path, body, timeout.first) as exchange:
            await self._check(exchange, asked)
            decoder = self._dialect.decoder(exchange.media_type)
            items = Items(exchange, decoder, most=self._max_bytes, idle=timeout.idle)
            while not answer.done:
                try:
                    batch = await items.next()
                except BackendError:
                    # After the finish only the usage can be missing: no reason to fail.
                    if not answer.complete:
                        raise
                    break
                if not batch:
                    break
                for item in batch:
                    for event in answer.feed(item):
                        yield event
            if answer.done:
                await exchange.drain()
        for event in answer.close():
            yield event

    async def models(self) -> Sequence[Model]:
        """What the upstream lists, at most 5 seconds old; with a fixed `model`, only that.

        Raises as `generate` does.
        """
        if self._listed is not None and time.monotonic() - self._listed[0] < _FRESH_SECONDS:
            return self._listed[1]
        body = await self._json("GET", self._dialect.models_path, None, self._timeout.whole)
        listed = self._dialect.models(body)
        if self._model is not None:
            listed = [model for model in listed if model.name == self._model]
            listed = listed or [Model(name=self._model, capabilities=frozenset())]
        self._listed = time.monotonic(), tuple(listed)
        return self._listed[1]

    async def embed(self, prompt: EmbeddingPrompt, /) -> Embeddings:
        """See `EmbeddingBackend`. Raises as `generate` does."""
        asked, dialect = prompt.model, self._dialect.embedding
        path, body = dialect.request(replace(prompt, model=self._upstreams(asked)))
        limit, most = self._timeout.first, self._max_bytes
        answer = await self._json("POST", path, body, limit, asked, most=most)
        return dialect.answer(answer, len(prompt.texts))

    def _upstreams(self, model: str) -> str:
        """What a model that is asked for is called there."""
        return model if self._model is None else self._model

    async def _json(
        self,
        method: str,
        path: str,
        body: JSON,
        limit: float,
        model: str = "",
        *,
        most: int = _MAX_BODY,
    ) -> JSON:
        """The answer, not streamed, to a request about a model; None takes no body."""
        async with self._exchange(method, path, body, limit) as exchange:
            await self._check(exchange, model)
            text = await exchange.text(most, limit)
        try:
            return loads(text)
        except ValueError as fault:
            raise BackendError("the upstream's answer is not JSON") from fault

    def _exchange(self, method: str, path: str, body: JSON, limit: float) -> Exchange:
        return Exchange(self._client(), method, path, body, limit)

    async def _check(self, exchange: Exchange, model: str) -> None:
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

    def _client(self) -> httpx.AsyncClient:
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
    """An Ollama server, or whatever speaks its API, at `base_url` (without /api). Also a
    `Resident` and an `EmbeddingBackend`.

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
        model = None if model is None else bare(model)
        super().__init__(OLLAMA, base_url, model, headers or {}, timeout, max_bytes, transport)

    async def load(self, model: str, keep_alive: float | None, /) -> None:
        """Returns once the model is loaded. Raises as `generate` does."""
        path, body = residency(self._upstreams(model), keep_alive)
        answer = Answer(model)
        answer.feed(await self._json("POST", path, body, self._timeout.first, model))
        answer.close()

    async def unload(self, model: str, /) -> None:
        """Raises as `generate` does."""
        await self.load(model, 0)

    async def resident(self) -> Sequence[Residency]:
        """What the upstream has in memory; with a fixed `model`, only that. Raises as
        `generate` does."""
        body = await self._json("GET", RESIDENTS_PATH, None, self._timeout.whole)
        found = residents(body)
        return [each for each in found if self._model in (None, each.model.name)]


class OpenAIBackend(_Http):
    """A server that speaks OpenAI's API at `base_url` (with its /v1). Also an
    `EmbeddingBackend`.

    api_key: sent as the bearer token. settings: the names of the sampling settings that
    the server takes; `openai_client_request.HOSTED` suits OpenAI itself, which knows
    `max_completion_tokens`, while most others know `max_tokens`. The rest is as for
    `OllamaBackend`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        model: str | None = None,
        settings: Mapping[str, str] = SELF_HOSTED,
        headers: Mapping[str, str] | None = None,
        timeout: Timeouts = _TIMEOUTS,
        max_bytes: int = _MAX_ANSWER,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        dialect = replace(OPENAI, request=partial(request, settings=settings))
        bearer = {"authorization": f"Bearer {api_key}"} if api_key else {}
        super().__init__(
            dialect, base_url, model, {**bearer, **(headers or {})}, timeout, max_bytes, transport
        )
        if api_key:
            self._secrets.append(api_key)
