"""A server elsewhere as a backend, over httpx."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import httpx

from ..dialects.client import Client
from ..dialects.ollama_client import OLLAMA, RESIDENTS_PATH, Answer, residents
from ..dialects.ollama_client_request import residency
from ..dialects.ollama_models import bare
from ..dialects.openai_client import OPENAI
from ..dialects.openai_client_request import SELF_HOSTED, request
from ..dialects.responses_client import RESPONSES
from ..dialects.responses_client_request import request as responses_request
from ..errors import BackendError
from ..types import EmbeddingPrompt, Embeddings, Event, Model, Prompt, Residency
from .http_exchange import Items
from .http_server import MAX_ANSWER, TIMEOUTS, Listing, Server, Timeouts

__all__ = ["OllamaBackend", "OpenAIBackend", "OpenAIResponsesBackend", "Timeouts"]


class _Http:
    """What all of them are: the client half of a dialect, and the server that it asks."""

    def __init__(self, dialect: Client, server: Server, model: str | None, max_bytes: int) -> None:
        self._dialect = dialect
        self._server = server
        self._model = model
        self._max_bytes = max_bytes
        fixed = None if model is None else Model(name=model, capabilities=frozenset())
        self._listing = Listing(server, dialect.models_path, dialect.models, fixed)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._server.base_url!r})"

    async def generate(self, prompt: Prompt, /) -> AsyncGenerator[Event, None]:
        """See `Backend.generate`. Closing the generator closes the upstream's connection.

        Raises what the upstream reports, BackendUnavailable if it cannot be reached,
        BackendTimeout if it is too slow, and BackendError if it fails in any other way:
        an answer that is cut off is never taken for a whole one.
        """
        asked, timeout = prompt.model, self._server.timeout
        path, body = self._dialect.request(replace(prompt, model=self._upstreams(asked)))
        answer = self._dialect.answer(asked)
        with self._server.masking():
            async with self._server.exchange("POST", path, body, timeout.first) as exchange:
                await self._server.check(exchange, asked)
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
        return await self._listing.get()

    async def embed(self, prompt: EmbeddingPrompt, /) -> Embeddings:
        """See `EmbeddingBackend`. Raises as `generate` does."""
        asked, dialect = prompt.model, self._dialect.embedding
        path, body = dialect.request(replace(prompt, model=self._upstreams(asked)))
        limit, most = self._server.timeout.first, self._max_bytes
        answer = await self._server.json("POST", path, body, limit, asked, most=most)
        return dialect.answer(answer, len(prompt.texts))

    def _upstreams(self, model: str) -> str:
        """What a model that is asked for is called there."""
        return model if self._model is None else self._model

    async def aclose(self) -> None:
        await self._server.aclose()


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
        timeout: Timeouts = TIMEOUTS,
        max_bytes: int = MAX_ANSWER,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        server = Server(
            base_url, OLLAMA.error, headers=headers, timeout=timeout, transport=transport
        )
        super().__init__(OLLAMA, server, None if model is None else bare(model), max_bytes)

    async def load(self, model: str, keep_alive: float | None, /) -> None:
        """Returns once the model is loaded. Raises as `generate` does."""
        path, body = residency(self._upstreams(model), keep_alive)
        loaded = await self._server.json("POST", path, body, self._server.timeout.first, model)
        answer = Answer(model)
        with self._server.masking():
            answer.feed(loaded)
        answer.close()

    async def unload(self, model: str, /) -> None:
        """Raises as `generate` does."""
        await self.load(model, 0)

    async def resident(self) -> Sequence[Residency]:
        """What the upstream has in memory; with a fixed `model`, only that. Raises as
        `generate` does."""
        body = await self._server.json("GET", RESIDENTS_PATH, None, self._server.timeout.whole)
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
        timeout: Timeouts = TIMEOUTS,
        max_bytes: int = MAX_ANSWER,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        dialect = replace(OPENAI, request=partial(request, settings=settings))
        server = Server(
            base_url,
            dialect.error,
            api_key=api_key,
            headers=headers,
            timeout=timeout,
            transport=transport,
        )
        super().__init__(dialect, server, model, max_bytes)


class OpenAIResponsesBackend(_Http):
    """A server that speaks OpenAI's responses at `base_url` (with its /v1). Also an
    `EmbeddingBackend`.

    It is asked to store nothing. summaries: to be asked for summaries of what the model
    thinks, where it is to think; OpenAI tells it in no other way, and gives them only to
    verified organizations. The rest is as for `OpenAIBackend`.
    """

    def __init__(
        self,
        base_url: str = "https://api.openai.com/v1",
        *,
        api_key: str | None = None,
        model: str | None = None,
        summaries: bool = True,
        headers: Mapping[str, str] | None = None,
        timeout: Timeouts = TIMEOUTS,
        max_bytes: int = MAX_ANSWER,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        dialect = replace(RESPONSES, request=partial(responses_request, summaries=summaries))
        server = Server(
            base_url,
            dialect.error,
            api_key=api_key,
            headers=headers,
            timeout=timeout,
            transport=transport,
        )
        super().__init__(dialect, server, model, max_bytes)
