"""A model of the reader's own disk, run in this process by llama.cpp."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from os import PathLike
from pathlib import Path

import anyio.to_thread

from ..errors import (
    ApiError,
    BackendError,
    BackendUnavailable,
    BadRequest,
    ContextTooLong,
    ModelNotFound,
)
from ..types import (
    JSON,
    EmbeddingPrompt,
    Embeddings,
    Event,
    Model,
    Prompt,
    Residency,
    Timings,
    Usage,
)
from . import gguf
from .llamacpp_engine import Engine, Loaded, spare_cores
from .llamacpp_shield import shield_of
from .llamacpp_tools import opened
from .llamacpp_wire import Answer, check, request
from .slots import Slots
from .threads import Feed, read_thread
from .tool_choice import is_forced
from .tool_formats import format_of

__all__ = ["LlamaCppBackend"]

_EMBEDDED = 512
"""Tokens of a text to embed. The engine's memory for it grows with them."""

_log = logging.getLogger("llmount.backends.llamacpp")


class LlamaCppBackend:
    """A `Backend`, `Resident` and `EmbeddingBackend` over one GGUF file and the `xllamacpp`
    package.

    path: the file. name: what `Prompt.model` must be, the file's name without its suffix
    by default. context_length: tokens of prompt and answer together, at most; the model's
    own limit counts too. slots: answers at a time, each with a context of its own.
    threads: of the arithmetic, the cores less one by default. queue: how many more
    prompts may wait, before `Overloaded`. verbose: let the engine log to stderr.
    chat_template: in place of the model's own.

    The model is loaded by the first prompt, and is kept until `unload`, `aclose`, or the
    `keep_alive` of the last prompt is over. While the engine loads it, it lets no other
    Python thread run. A prompt is read in small batches, and stops being read, or answered,
    as soon as nobody waits for the answer.

    Embeddings want other settings of the engine, so the first text to embed loads the model
    once more; the memory of its weights is shared. A text may have 512 tokens, and no more
    than `context_length`.

    Raises `ImportError` if the package is missing, `OSError` if the file is, and
    `GgufError` if it is no model.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        name: str | None = None,
        context_length: int = 4096,
        slots: int = 2,
        threads: int | None = None,
        queue: int = 64,
        verbose: bool = False,
        chat_template: str | None = None,
    ) -> None:
        if context_length < 1:
            raise ValueError("the context must have a token")
        file = gguf.read(path)
        self._model = gguf.model_of(file, name=name, template=chat_template)
        self._tool_format = format_of(self._model.template)
        self._gap = gguf.fim_ids(file.metadata)
        self._shield = shield_of(file.metadata)
        self._context_length = min(context_length, self._model.context_length or context_length)
        self._slots = Slots(slots, queue)
        self._embedding_slots = Slots(1, queue)
        self._embedding_length = min(self._context_length, _EMBEDDED)
        engine = partial(
            Engine,
            Path(path).absolute(),
            name=self._model.name,
            threads=threads or spare_cores(),
            verbose=verbose,
            chat_template=chat_template,
        )
        self._engine = engine(context_length=context_length, slots=slots)
        self._embedder = engine(
            context_length=self._embedding_length,
            slots=1,
            embeds="own" if "embedding" in self._model.capabilities else "mean",
        )
        self._engines = (self._engine, self._embedder)

    async def models(self) -> Sequence[Model]:
        return [self._model]

    async def generate(self, prompt: Prompt, /) -> AsyncGenerator[Event, None]:
        """As `Backend` says. Raises `ModelNotFound`, `Unsupported`, `ContextTooLong`,
        `BadRequest`, `Overloaded`, `BackendUnavailable` or `BackendError`."""
        self._know(prompt.model)
        check(prompt, self._model)
        body = request(prompt, self._context_length, self._tool_format, shield=self._shield)
        async with self._slots:
            waited = await self._load()
            work = partial(self._answer, prompt, body, waited)
            async with aclosing(read_thread(work, name="llamacpp")) as events:
                async for event in events:
                    yield event

    def _know(self, name: str) -> None:
        if name != self._model.name:
            raise ModelNotFound(name)

    async def _load(self, keep_alive: float | None = None) -> int:
        """Load the model if it is not, and tell how long that took, in nanoseconds."""
        if self._engine.is_loaded:
            return 0
        started = time.monotonic_ns()

        def load() -> None:
            with self._engine.lease(keep_alive):
                pass

        # Loading cannot be stopped, but nobody has to wait for it.
        await anyio.to_thread.run_sync(load, abandon_on_cancel=True)
        return time.monotonic_ns() - started

    def _answer(
        self, prompt: Prompt, body: Mapping[str, JSON], waited: int, feed: Feed[Event]
    ) -> None:
        answer = Answer(prompt, load=waited)

        def on_chunk(chunk: Mapping[str, JSON]) -> bool:
            for event in answer.read(chunk):
                if not feed.put(event):
                    return True
            return feed.stopped or self._engine.closed

        try:
            with self._engine.lease(prompt.keep_alive) as loaded:
                tokens = self._tokens(prompt, body, loaded)
                if tokens is None:
                    loaded.chat(body, on_chunk)
                else:
                    loaded.complete({**body, "prompt": tokens}, on_chunk)
                if feed.stopped:
                    return
                if self._engine.closed:
                    raise BackendUnavailable
                context: list[int] = []
                if answer.complete and answer.plain:
                    before = tokens or loaded.tokens(loaded.render(body), start=True)
                    context = before + loaded.tokens(answer.text, special=False)
                feed.put(answer.finish(context))
        except BackendError as error:
            _log.warning("%s: %s", self._model.name, error.__cause__ or error)
            raise
        except ApiError:
            raise
        except Exception as error:
            _log.exception("%s: an answer failed", self._model.name)
            raise BackendError from error

    def _tokens(self, prompt: Prompt, body: Mapping[str, JSON], loaded: Loaded) -> list[int] | None:
        """The prompt in tokens; None where the engine is to make them of the messages."""
        context = list(prompt.context)
        if is_forced(prompt):
            return loaded.tokens(opened(loaded.render(body), self._tool_format), start=True)
        if prompt.text is None:
            return context + loaded.tokens(loaded.render(body)) if context else None
        if prompt.suffix is None or self._gap is None:
            return context + loaded.tokens(prompt.text, start=not context)
        before, after, middle = self._gap
        return [
            *(context or loaded.tokens("", start=True)),
            before,
            *loaded.tokens(prompt.text, special=False),
            after,
            *loaded.tokens(prompt.suffix, special=False),
            middle,
        ]

    async def embed(self, prompt: EmbeddingPrompt, /) -> Embeddings:
        """As `EmbeddingBackend` says. Raises `ModelNotFound`, `ContextTooLong`, `BadRequest`,
        `Overloaded`, `BackendUnavailable` or `BackendError`."""
        self._know(prompt.model)
        stopped = threading.Event()
        async with self._embedding_slots:
            try:
                return await anyio.to_thread.run_sync(
                    self._embed, prompt, stopped, abandon_on_cancel=True
                )
            finally:
                stopped.set()

    def _embed(self, prompt: EmbeddingPrompt, stopped: threading.Event) -> Embeddings:
        started = time.monotonic_ns()
        vectors, count = [], 0
        with self._embedder.lease(prompt.keep_alive) as loaded:
            load = time.monotonic_ns() - started
            for text in prompt.texts:
                tokens = loaded.tokens(text, start=True)
                if not tokens:
                    raise BadRequest("a text to embed is empty", param="input")
                if len(tokens) > self._embedding_length:
                    if not prompt.truncate:
                        raise ContextTooLong(len(tokens), self._embedding_length)
                    del tokens[self._embedding_length :]
                # Nobody waits any more, or the backend is closed.
                if stopped.is_set() or self._embedder.closed:
                    raise BackendUnavailable
                vectors.append(loaded.embed(tokens))
                count += len(tokens)
        return Embeddings(vectors=vectors, usage=Usage(prompt=count), timings=Timings(load=load))

    async def load(self, model: str, keep_alive: float | None, /) -> None:
        """As `Resident` says. Raises `ModelNotFound` or `BackendUnavailable`."""
        self._know(model)

        def touch() -> None:
            with self._engine.lease(keep_alive):
                pass
            if self._embedder.is_loaded:
                with self._embedder.lease(keep_alive):
                    pass

        await anyio.to_thread.run_sync(touch, abandon_on_cancel=True)

    async def unload(self, model: str, /) -> None:
        """As `Resident` says; answers under way are finished first."""
        self._know(model)
        for engine in self._engines:
            await anyio.to_thread.run_sync(engine.unload, abandon_on_cancel=True)

    async def resident(self) -> Sequence[Residency]:
        loaded = [engine for engine in self._engines if engine.is_loaded]
        if not loaded:
            return []
        ends = [engine.expires for engine in loaded]
        return [
            Residency(
                model=self._model,
                size=self._model.size,
                context_length=self._context_length,
                expires=None if None in ends else max(end for end in ends if end is not None),
            )
        ]

    async def aclose(self) -> None:
        """End the answers under way with `BackendUnavailable`, as all that is asked later.

        The memory is free when their readers have left.
        """
        for engine in self._engines:
            await anyio.to_thread.run_sync(engine.close, abandon_on_cancel=True)
