"""The events of one answer, gathered."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ..errors import BackendError
from ..types import (
    Event,
    Finish,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
)

__all__ = ["Choice", "Completion", "ToolCalls", "gather", "interleave"]


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
"""An event of one of several answers to the same prompt, and the number of that answer."""


async def interleave(
    answers: Sequence[AsyncGenerator[Event, None]],
) -> AsyncGenerator[Choice, None]:
    """The events of several answers in turn, each until its `Finish`."""
    async with AsyncExitStack() as stack:
        for answer in answers:
            await stack.enter_async_context(aclosing(answer))
        running = dict(enumerate(answers))
        while running:
            for index, answer in tuple(running.items()):
                try:
                    event = await anext(answer)
                except StopAsyncIteration:
                    raise BackendError(
                        "the backend ended its answer without finishing it"
                    ) from None
                if isinstance(event, Finish):
                    del running[index]
                yield index, event
