"""The events of one answer, gathered, or of several in turn."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ..errors import BackendError
from ..types import (
    Event,
    Finish,
    Prompt,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
)

__all__ = ["Choice", "Completion", "ToolCalls", "gather", "in_turn", "repeated"]


class ToolCalls:
    """Puts calls together from their deltas."""

    def __init__(self) -> None:
        self._calls: dict[int, ToolCall] = {}

    def add(self, delta: ToolCallDelta) -> None:
        call = self._calls.get(delta.index) or ToolCall(delta.id or "", delta.name or "", "")
        self._calls[delta.index] = replace(call, arguments=call.arguments + delta.arguments)

    def __iter__(self) -> Iterator[ToolCall]:
        return iter(self._calls.values())

    def __bool__(self) -> bool:
        return bool(self._calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A whole answer."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: Finish = field(default_factory=Finish)


def gather(events: Iterable[Event]) -> Completion:
    """The whole answer that the events make. Raises `BackendError` if it has no end."""
    text: list[str] = []
    reasoning: list[str] = []
    calls = ToolCalls()
    logprobs: list[TokenLogprob] = []
    for event in events:
        if isinstance(event, TextDelta):
            text.append(event.text)
            if event.logprobs:
                logprobs.extend(event.logprobs)
        elif isinstance(event, ReasoningDelta):
            reasoning.append(event.text)
        elif isinstance(event, ToolCallDelta):
            calls.add(event)
        else:
            return Completion(
                text="".join(text),
                reasoning="".join(reasoning),
                tool_calls=tuple(calls),
                logprobs=tuple(logprobs),
                finish=event,
            )
    raise BackendError("the backend ended its answer without finishing it")


Choice: TypeAlias = tuple[int, Event]
"""The number of one of several answers, and an event of it."""


def repeated(prompt: Prompt, count: int) -> Iterator[Prompt]:
    """The prompt for each of several answers: a seed is another one each time, so that the
    answers differ and yet repeat."""
    sampling = prompt.sampling
    for number in range(count):
        if sampling.seed is None or number == 0:
            yield prompt
        else:
            yield replace(prompt, sampling=replace(sampling, seed=sampling.seed + number))


async def in_turn(
    generate: Callable[[Prompt], AsyncGenerator[Event, None]], prompts: Sequence[Prompt]
) -> AsyncGenerator[Choice, None]:
    """The events of an answer to each prompt, each until its `Finish`.

    One answer after another: an engine has few places, and answers that are begun but not
    read keep theirs, so that two of one request could wait for each other for ever.
    """
    for index, prompt in enumerate(prompts):
        async with aclosing(generate(prompt)) as events:
            async for event in events:
                yield index, event
                if isinstance(event, Finish):
                    break
            else:
                raise BackendError("the backend ended its answer without finishing it")
