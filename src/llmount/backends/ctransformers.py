"""A GGUF model in this process, run by ctransformers 0.2.27.

The engine is used for arithmetic only: it evaluates tokens and samples one. Its own text
handling overruns its buffers, and it believes whatever it is told about ids and lengths,
so tokens, limits, stop sequences and text are dealt with here.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import anyio.to_thread

from ..errors import (
    BackendError,
    BackendUnavailable,
    BadRequest,
    ContextTooLong,
    ModelNotFound,
)
from ..types import (
    Event,
    Finish,
    FinishReason,
    Model,
    Prompt,
    Residency,
    Timings,
    TokenLogprob,
    Usage,
)
from . import gguf, gguf_legacy, logits
from .answer_text import AnswerEvents
from .chat_template import ChatTemplate
from .ctransformers_check import check
from .ctransformers_engine import CHUNK, Engine, require_installed
from .slots import Slots
from .threads import Feed, read_thread
from .tokenizer import BREAK, Tokenizer
from .tool_calls import ToolCallReader
from .tool_choice import offered
from .tool_formats import format_named, format_of

__all__ = ["CTransformersBackend"]


class CTransformersBackend:
    """Answers with the model in one GGUF file: a `Backend` and a `Resident`.

    name: what it is called, by default the file's name without its suffix.
    context_length: tokens of prompt and answer together, at most what the model was
    trained for. threads: by default one core is left free. queue: how many requests wait
    while one is answered; a further one is `Overloaded`. keep_alive: seconds to keep the
    model in memory after an answer, unless the prompt says otherwise; a model that is due
    is dropped at the next call. cache: where an adapted copy of the file is kept, see
    `gguf_legacy.adapt`. chat_template: in place of the model's own. tool_format: how the
    model writes tool calls, one of `tool_formats.FORMATS`; by default its chat template
    tells.

    The model is loaded on first use, in a thread. Where the prompt leaves it open, tokens
    are sampled with temperature 0.8, top_k 40 and top_p 0.95; `typical_p` is ignored. The
    penalties count the last `repeat_last_n` (64) tokens of prompt and answer; -1 counts all.
    Log-probabilities are those before penalties, bias and temperature. Special tokens are
    recognised in `Prompt.text`, whose author writes the whole prompt, and never in a message.
    An object may be shared by event loops in several threads.

    Raises `OSError` if the file cannot be read, `GgufError` if this engine cannot run it,
    `ValueError` for an unknown tool format, and `ImportError` if ctransformers or Jinja2 is
    not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        context_length: int = 2048,
        threads: int | None = None,
        queue: int = 16,
        keep_alive: float = 300.0,
        cache: Path | None = None,
        chat_template: str | None = None,
        tool_format: str | None = None,
    ) -> None:
        require_installed()
        file = gguf.read(path)
        gguf_legacy.require_loadable(file)
        self._path = file.path
        self._fim = gguf.fim_ids(file.metadata)
        self._tokenizer = Tokenizer(file.metadata)
        described = gguf.model_of(file, name=name, template=chat_template)
        self._template = _template(file, self._tokenizer, described.template)
        self._model = replace(
            described,
            # The engine cannot tell thought from text.
            capabilities=described.capabilities & {"completion", "insert", "tools"},
        )
        self._tool_format = (
            format_named(tool_format) if tool_format else format_of(described.template)
        )
        self._tool_marks = self._tokenizer.ids_of(self._tool_format.marks)
        self._context_length = min(context_length, self._model.context_length or context_length)
        self._threads = threads or max(1, (os.cpu_count() or 1) - 1)
        self._keep_alive = keep_alive
        self._cache = cache
        self._slots = Slots(1, queue)
        self._busy = False
        self._engine: Engine | None = None
        self._expires: float | None = None
        self._closed = False

    async def generate(self, prompt: Prompt, /) -> AsyncGenerator[Event, None]:
        """See `Backend.generate`. Stops before the next token when it is closed."""
        self._require(prompt.model)
        check(prompt, self._model)

        def work(feed: Feed[Event]) -> None:
            self._answer(prompt, feed)

        async with (
            self._turn(prompt.model, prompt.keep_alive),
            aclosing(read_thread(work, name="llmount-ctransformers")) as events,
        ):
            async for event in events:
                yield event

    async def models(self) -> Sequence[Model]:
        return [self._model]

    async def load(self, model: str, keep_alive: float | None, /) -> None:
        async with self._turn(model, keep_alive):
            await anyio.to_thread.run_sync(self._loaded)

    async def unload(self, model: str, /) -> None:
        async with self._turn(model, 0):
            pass

    async def resident(self) -> Sequence[Residency]:
        self._drop_if_due()
        if self._engine is None:
            return []
        return [
            Residency(
                model=self._model,
                size=self._model.size,
                context_length=self._context_length,
                expires=self._expires,
            )
        ]

    async def aclose(self) -> None:
        """Take no more requests, refuse those that wait, and free the model.

        An answer under way goes on; the model is freed when it ends.
        """
        self._closed = True
        if not self._busy:
            self._engine = None

    def _require(self, model: str) -> None:
        if model != self._model.name:
            raise ModelNotFound(model)
        if self._closed:
            raise BackendUnavailable()

    @asynccontextmanager
    async def _turn(self, model: str, keep_alive: float | None) -> AsyncGenerator[None, None]:
        """Have the engine to oneself; afterwards keep it for as long as asked."""
        self._require(model)
        async with self._slots:
            self._require(model)
            self._busy = True
            try:
                yield
            finally:
                self._busy = False
                self._keep(keep_alive)

    def _keep(self, keep_alive: float | None) -> None:
        seconds = self._keep_alive if keep_alive is None else keep_alive
        self._expires = time.time() + seconds if seconds >= 0 else None
        if seconds == 0 or self._closed:
            self._engine = None

    def _drop_if_due(self) -> None:
        due = self._expires is not None and self._expires <= time.time()
        if due and not self._busy:
            self._engine = None

    # In the thread, by whoever has the turn

    def _loaded(self) -> Engine:
        if self._engine is None:
            try:
                file = gguf.read(self._path)
                path = gguf_legacy.adapt(file, cache=self._cache)
                self._engine = Engine(path, self._context_length, self._threads)
            except (OSError, ValueError, RuntimeError, ImportError) as error:
                raise BackendUnavailable("the model cannot be loaded") from error
            if self._engine.size != self._tokenizer.size:
                self._engine = None
                raise BackendUnavailable("the model's file has changed")
        return self._engine

    def _answer(self, prompt: Prompt, feed: Feed[Event]) -> None:
        clock = [time.perf_counter_ns()]
        engine = self._loaded()
        clock.append(time.perf_counter_ns())
        ids = self._prompt_ids(prompt)
        choice = logits.choose(prompt.sampling, self._tokenizer.size)
        try:
            cached = engine.begin(ids)
            for start in range(cached, len(ids), CHUNK):
                if feed.stopped:
                    return
                engine.evaluate(ids[start : start + CHUNK])
            clock.append(time.perf_counter_ns())
            answer = self._continue(engine, prompt, ids, choice, feed)
        except RuntimeError as error:
            self._engine = None
            raise BackendError("the engine failed") from error
        if answer is None:
            return
        clock.append(time.perf_counter_ns())
        load, evaluation, completion = (b - a for a, b in pairwise(clock))
        feed.put(
            Finish(
                reason=answer.reason,
                usage=Usage(prompt=len(ids), completion=answer.sampled, cached=cached),
                timings=Timings(load=load, prompt=evaluation, completion=completion),
                context=(*ids, *answer.ids),
            )
        )

    def _continue(
        self,
        engine: Engine,
        prompt: Prompt,
        ids: Sequence[int],
        choice: logits.Choice,
        feed: Feed[Event],
    ) -> _Answer | None:
        """Put the deltas of the answer into the feed; None if its reader has left."""
        sampling = prompt.sampling
        room = self._context_length - len(ids)
        asked = sampling.max_tokens
        limit = room if asked is None or asked < 0 else min(asked, room)
        tools = offered(prompt)
        text = AnswerEvents(
            sampling.stop,
            ToolCallReader(self._tool_format, tools) if tools else None,
            most_calls=None if prompt.parallel_tool_calls else 1,
        )
        shown = self._tool_marks if tools else ()
        past, answer = list(ids), list[int]()
        while len(answer) < limit:
            if feed.stopped:
                return None
            token, logprob = self._next(engine, prompt, choice, past)
            if token in self._tokenizer.ends:
                if not _put(feed, text.close()):
                    return None
                return _Answer(answer, len(answer) + 1, text.reason("stop"))
            past.append(token)
            answer.append(token)
            data = self._tokenizer.decode([token], special=token in shown)
            if not _put(feed, text.add(data, logprob)):
                return None
            if text.over:
                if not _put(feed, text.close()):
                    return None
                return _Answer(answer, len(answer), text.reason("stop"))
            if len(answer) < limit:
                engine.evaluate([token])
        if not _put(feed, text.close(cut=True)):
            return None
        return _Answer(answer, len(answer), "length")

    def _next(
        self, engine: Engine, prompt: Prompt, choice: logits.Choice, past: Sequence[int]
    ) -> tuple[int, TokenLogprob | None]:
        row = engine.logits
        before = row[: engine.size] if prompt.logprobs is not None else []
        window = choice.window if choice.window >= 0 else len(past)
        logits.adjust(
            row,
            past[-window:] if window else (),
            repeat=choice.repeat,
            presence=choice.presence,
            frequency=choice.frequency,
            bias=prompt.sampling.logit_bias,
        )
        top_k = choice.top_k
        if choice.min_p > 0 and top_k > 1:
            top_k = min(top_k, logits.surviving(row[: engine.size], choice.min_p))
        token = engine.sample(
            top_k, choice.top_p, choice.temperature, choice.source.getrandbits(31)
        )
        self._tokenizer.check([token])
        return token, self._logprob(token, before, prompt.logprobs or 0) if before else None

    def _logprob(self, token: int, row: Sequence[float], count: int) -> TokenLogprob:
        normaliser = logits.log_normaliser(row)

        def told(number: int, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
            data = self._tokenizer.decode([number], special=True)
            return TokenLogprob(
                data.decode("utf-8", "replace"), row[number] - normaliser, data, top
            )

        return told(token, tuple(told(other) for other in logits.likeliest(row, count)))

    def _prompt_ids(self, prompt: Prompt) -> list[int]:
        try:
            self._tokenizer.check(prompt.context)
        except ValueError as error:
            raise BadRequest(str(error), param="context") from error
        ids = list(prompt.context)
        if prompt.text is None:
            shield = self._tokenizer.shield
            text = self._template.render(prompt.messages, offered(prompt), shield=shield)
            new = self._encode(text, parse_special=True)
        elif prompt.suffix is None:
            new = self._encode(prompt.text, parse_special=True)
        else:
            assert self._fim is not None, "`check` has let a suffix pass"
            prefix, suffix, middle = self._fim
            new = [prefix, *self._encode(prompt.text)]
            new += [suffix, *self._encode(prompt.suffix), middle]
        bos = self._tokenizer.bos
        if (
            bos is not None
            and not ids
            and (not new or (self._tokenizer.adds_bos and new[0] != bos))
        ):
            ids.append(bos)
        ids += new
        if not ids:
            raise BadRequest("the prompt is empty", param="prompt")
        if len(ids) >= self._context_length:
            raise ContextTooLong(len(ids), self._context_length)
        return ids

    def _encode(self, text: str, *, parse_special: bool = False) -> list[int]:
        # However it is cut up, a text has at least this many tokens: do not count a huge one.
        least = -(
            -len(text.replace(BREAK, "").encode("utf-8", "replace")) // self._tokenizer.longest
        )
        if least > self._context_length:
            raise ContextTooLong(least, self._context_length)
        return self._tokenizer.encode(text, parse_special=parse_special)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was generated; `sampled` counts the token that ended it as well."""

    ids: list[int]
    sampled: int
    reason: FinishReason


def _put(feed: Feed[Event], events: Iterable[Event]) -> bool:
    return all(feed.put(event) for event in events)


def _template(file: gguf.Gguf, tokenizer: Tokenizer, source: str) -> ChatTemplate:
    def spelled(key: str) -> str:
        number = file.metadata.get(key)
        if not isinstance(number, int) or not 0 <= number < tokenizer.size:
            return ""
        return tokenizer.decode([number], special=True).decode("utf-8", "replace")

    return ChatTemplate(
        source,
        bos=spelled("tokenizer.ggml.bos_token_id"),
        eos=spelled("tokenizer.ggml.eos_token_id"),
    )
