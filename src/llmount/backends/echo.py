"""A backend that says what its script says: deterministic, instant, and able to fail."""

from __future__ import annotations

import hashlib
import math
import random
import re
import time
import zlib
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import anyio

from ..errors import ContextTooLong, ModelNotFound
from ..jsontext import dumps
from ..types import (
    EmbeddingPrompt,
    Embeddings,
    Event,
    Finish,
    FinishReason,
    Model,
    Prompt,
    ReasoningDelta,
    TextDelta,
    Timings,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from .sample import sample

__all__ = ["Delay", "EchoBackend", "Fail", "Step", "echo", "tokens"]


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait so many seconds; `float("inf")` never ends and has to be cancelled."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Fail:
    """Raise this here: an `ApiError`, or any other exception to play a bug."""

    error: Exception


Step: TypeAlias = Event | Delay | Fail
Script: TypeAlias = Sequence[Step] | Callable[[Prompt], Iterable[Step]]

_TOKEN = re.compile(r"\s*\S+|\s+")


def tokens(text: str) -> list[str]:
    """What counts as tokens here: words, each with the white space before it."""
    return _TOKEN.findall(text)


class EchoBackend:
    """Plays a script; without one it says the last user's words back (`echo`).

    script: events and, among them, `Delay` and `Fail`; or a function of the prompt that
    gives them. A script without a `Finish` gets one, with the usage counted. `max_tokens`,
    `stop` and `logprobs` of the prompt apply to `echo` only; a script is played as it is.
    models: the names that it answers to, or `Model`s. One that is to think by default has
    the capability "thinking", which a mere name does not get.
    delay: seconds before each event; jitter: the share of it, 0 to 1, that varies from
    event to event; seed: makes the variation repeat.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        models: Sequence[str | Model] = ("echo",),
        delay: float = 0.0,
        jitter: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.script: Script = echo if script is None else script
        self._models = {
            model.name: model
            for model in (_model(each) if isinstance(each, str) else each for each in models)
        }
        self.delay = delay
        self.jitter = jitter
        self.seed = seed

    async def models(self) -> Sequence[Model]:
        return tuple(self._models.values())

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        if prompt.model not in self._models:
            raise ModelNotFound(prompt.model)
        started = first = time.perf_counter_ns()
        clock = random.Random(self.seed) if self.delay else None
        completion = reasoning = 0
        called = False
        for step in self.script(prompt) if callable(self.script) else self.script:
            if isinstance(step, Delay):
                await anyio.sleep(step.seconds)
                continue
            if isinstance(step, Fail):
                raise step.error
            if clock is not None:
                await anyio.sleep(self.delay * (1 + self.jitter * clock.uniform(-1, 1)))
            if not completion:
                first = time.perf_counter_ns()
            if isinstance(step, Finish):
                yield step
                return
            completion += 1
            if not isinstance(step, TextDelta):
                reasoning += isinstance(step, ReasoningDelta)
                called |= isinstance(step, ToolCallDelta)
            yield step
        now = time.perf_counter_ns()
        yield Finish(
            reason="tool_calls" if called else "stop",
            usage=Usage(prompt=len(_asked(prompt)), completion=completion, reasoning=reasoning),
            timings=Timings(prompt=max(1, first - started), completion=max(1, now - first)),
        )

    async def embed(self, prompt: EmbeddingPrompt) -> Embeddings:
        """Vectors of the length 1, the same ones for the same text, and no nearer for another."""
        model = self._models.get(prompt.model)
        if model is None:
            raise ModelNotFound(prompt.model)
        limit = model.context_length or None
        asked = [tokens(text) for text in prompt.texts]
        if not prompt.truncate:
            for each in asked:
                if limit is not None and len(each) > limit:
                    raise ContextTooLong(len(each), limit)
        asked = [each[:limit] for each in asked]
        return Embeddings(
            vectors=[_vector("".join(each)) for each in asked],
            usage=Usage(prompt=sum(map(len, asked))),
        )


def _model(name: str) -> Model:
    return Model(
        name=name,
        owner="llmount",
        description="Says the last user's words back.",
        family="echo",
        context_length=1 << 20,
        embedding_length=_LENGTH,
        capabilities=frozenset({"completion", "tools", "insert", "vision"}),
    )


_LENGTH = 64
"""Numbers in an embedding."""


def _vector(text: str) -> list[float]:
    digest = hashlib.blake2b(text.encode(), digest_size=_LENGTH).digest()
    numbers = [byte - 127.5 for byte in digest]
    length = math.hypot(*numbers)
    return [number / length for number in numbers]


def _asked(prompt: Prompt) -> list[str]:
    if prompt.text is not None:
        return tokens(prompt.text + (prompt.suffix or ""))
    return [token for message in prompt.messages for token in tokens(message.text)]


# The script without a script


def echo(prompt: Prompt) -> Iterator[Step]:
    """What `EchoBackend` says by default.

    With `tool_choice` "required" or a name it calls that tool, with arguments that fit its
    schema; with a `format` it gives a value that fits; with `reasoning` it thinks first.
    """
    started = time.perf_counter_ns()
    if prompt.reasoning:
        yield ReasoningDelta("The user said something. I say it back.")
    if (name := _tool(prompt)) is not None:
        parameters = next(tool.parameters for tool in prompt.tools if tool.name == name)
        call_id = f"call_{zlib.crc32(name.encode()):08x}"
        yield ToolCallDelta(0, call_id, name)
        yield ToolCallDelta(0, arguments=dumps(sample(parameters or {"type": "object"})))
        return
    said, reason = _said(prompt)
    if prompt.logprobs is None:
        yield from map(TextDelta, said)
    else:
        for token in said:
            yield _with_logprobs(token, prompt.logprobs)
    asked = _asked(prompt)
    numbers = [zlib.crc32(token.encode()) % 50_000 for token in asked + said]
    thought = 1 if prompt.reasoning else 0
    yield Finish(
        reason=reason,
        usage=Usage(
            prompt=len(prompt.context) + len(asked),
            completion=len(said) + thought,
            reasoning=thought,
        ),
        timings=Timings(prompt=1, completion=max(1, time.perf_counter_ns() - started)),
        context=(*prompt.context, *numbers),
    )


def _said(prompt: Prompt) -> tuple[list[str], FinishReason]:
    """The tokens of the echo, and why there are no more."""
    said = tokens(_text(prompt))
    reason: FinishReason = "stop"
    limit, stops = prompt.sampling.max_tokens, prompt.sampling.stop
    if limit is not None and 0 <= limit < len(said):
        said, reason = said[:limit], "length"
    if not any(stops):
        return said, reason
    text = ""
    for number, token in enumerate(said):
        cut = _cut(text + token, stops)
        if cut is not None:
            # What the token has before the stop sequence, if it does not begin earlier.
            rest = token[: max(0, cut - len(text))]
            return [*said[:number], rest] if rest else said[:number], "stop"
        text += token
    return said, reason


def _tool(prompt: Prompt) -> str | None:
    if not prompt.tools or prompt.tool_choice in ("auto", "none"):
        return None
    return prompt.tools[0].name if prompt.tool_choice == "required" else prompt.tool_choice


def _text(prompt: Prompt) -> str:
    if prompt.format is not None:
        return dumps(sample({"type": "object"} if prompt.format == "json" else prompt.format))
    if prompt.text is not None:
        return prompt.text
    said = [message.text for message in prompt.messages if message.role in ("user", "tool")]
    return said[-1] if said else ""


def _cut(text: str, stops: Sequence[str]) -> int | None:
    """Where the first stop sequence begins."""
    found = [position for stop in stops if stop and (position := text.find(stop)) >= 0]
    return min(found, default=None)


def _with_logprobs(token: str, count: int) -> TextDelta:
    # Some number, but the same one for the same token.
    logprob = -(1 + zlib.crc32(token.encode()) % 999) / 1000
    others = (token, *(f"{token}{number}" for number in range(1, count)))
    top = tuple(
        TokenLogprob(other, logprob - rank, other.encode())
        for rank, other in enumerate(others[:count])
    )
    return TextDelta(token, (TokenLogprob(token, logprob, token.encode(), top),))
