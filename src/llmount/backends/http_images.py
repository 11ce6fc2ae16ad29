"""A server elsewhere that draws, over httpx."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import httpx

from ..dialects import ollama_images_client, openai_images_client
from ..dialects.ollama_client import OLLAMA
from ..dialects.ollama_models import bare
from ..dialects.openai_client import OPENAI
from ..errors import BackendError
from ..framing import framing_of
from ..media import Image, ImagePrompt
from ..types import JSON, Model
from .http_exchange import Items
from .http_server import MAX_ANSWER, TIMEOUTS, Listing, Server, Timeouts
from .images_sheet import check_count

__all__ = ["OllamaImageBackend", "OpenAIImageBackend"]

_SEED_BITS = 31
_LINES = framing_of("application/x-ndjson")


def _seed(seed: int | None, number: int) -> int | None:
    """For picture `number` of several: without one of its own it might repeat the first."""
    if seed is not None:
        return seed + number
    return random.getrandbits(_SEED_BITS) if number else None


class _HttpImages:
    """What both backends are but for `draw`."""

    def __init__(
        self,
        server: Server,
        models_path: str,
        models: Callable[[JSON], Sequence[Model]],
        model: str | None,
        max_bytes: int,
    ) -> None:
        self._server = server
        self._model = model
        self._max_bytes = max_bytes
        fixed = None if model is None else Model(name=model, capabilities=frozenset({"image"}))
        self._listing = Listing(server, models_path, models, fixed)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._server.base_url!r})"

    def _upstreams(self, prompt: ImagePrompt) -> ImagePrompt:
        """The prompt, with what its model is called there."""
        check_count(prompt)
        return prompt if self._model is None else replace(prompt, model=self._model)

    async def aclose(self) -> None:
        await self._server.aclose()


class OpenAIImageBackend(_HttpImages):
    """A server that speaks OpenAI's images API at `base_url` (with its /v1). An `ImageBackend`.

    api_key: sent as the bearer token. model: the upstream's model to use, whatever the
    prompt asks for. headers: to be sent with every request. timeout: `first` is for the whole
    answer. max_bytes: the size of an answer that is too much. transport: how to reach the
    server, for tests in process.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        model: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: Timeouts = TIMEOUTS,
        max_bytes: int = MAX_ANSWER,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        server = Server(
            base_url,
            OPENAI.error,
            api_key=api_key,
            headers=headers,
            timeout=timeout,
            transport=transport,
        )
        super().__init__(server, OPENAI.models_path, openai_images_client.models, model, max_bytes)

    async def draw(self, prompt: ImagePrompt, /) -> Sequence[Image]:
        """See `ImageBackend`. Raises what the upstream reports, `Unsupported` for a seed,
        BackendUnavailable if it cannot be reached, BackendTimeout if it is too slow, and
        BackendError if it fails in any other way. Cancelling closes the connection."""
        path, body = openai_images_client.request(self._upstreams(prompt))
        answer = await self._server.json(
            "POST", path, body, self._server.timeout.first, prompt.model, most=self._max_bytes
        )
        return openai_images_client.answer(answer, prompt.count)

    async def models(self) -> Sequence[Model]:
        """Of what the upstream lists, at most 5 seconds old, OpenAI's models that draw; with a
        fixed `model`, only that. Raises as `draw` does."""
        return await self._listing.get()


class OllamaImageBackend(_HttpImages):
    """An Ollama server with models that draw, at `base_url` (without /api). An `ImageBackend`.

    Several images are drawn one after the other. Arguments as for `OpenAIImageBackend`;
    `timeout.first` is for the loading of the model, and `idle` for one step of a picture.
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
        fixed = None if model is None else bare(model)
        super().__init__(server, OLLAMA.models_path, ollama_images_client.models, fixed, max_bytes)

    async def draw(self, prompt: ImagePrompt, /) -> Sequence[Image]:
        """See `ImageBackend`. Raises as `OpenAIImageBackend.draw` does, but for formats other
        than PNG and a transparent background in place of a seed."""
        asked = self._upstreams(prompt)
        images = []
        for number in range(prompt.count):
            seed = _seed(asked.seed, number)
            path, body = ollama_images_client.request(replace(asked, seed=seed))
            images.append(await self._picture(path, body, prompt.model))
        return images

    async def _picture(self, path: str, body: JSON, model: str) -> Image:
        timeout = self._server.timeout
        async with self._server.exchange("POST", path, body, timeout.first) as exchange:
            await self._server.check(exchange, model)
            # The picture is one line.
            decoder = _LINES.decoder(self._max_bytes)
            items = Items(exchange, decoder, most=self._max_bytes, idle=timeout.idle)
            while batch := await items.next():
                for item in batch:
                    if (image := ollama_images_client.picture(item, model)) is not None:
                        await exchange.drain()
                        return image
        raise BackendError("the upstream's answer is cut off")

    async def models(self) -> Sequence[Model]:
        """Of what the upstream lists, at most 5 seconds old, the models that say that they
        draw; with a fixed `model`, only that. Raises as `draw` does."""
        return await self._listing.get()
