"""What the APIs that carry nothing but text have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from ..types import JSON, Event, Finish, FinishReason, Message, TextDelta, TextPart
from .completion import Completion, gather

__all__ = ["Pieces", "PlainReason", "Whole", "conversation", "plain_reason"]

PlainReason = Literal["stop", "length", "content_filter"]


def conversation(messages: Iterable[JSON]) -> tuple[Message, ...]:
    """Turns of a `role` and a `content`, which is a text or a list of text parts."""
    return tuple(map(_turn, messages))


def _turn(message: JSON) -> Message:
    role, content = message["role"], message["content"]
    texts = [content] if isinstance(content, str) else [part["text"] for part in content]
    return Message("system" if role == "developer" else role, tuple(map(TextPart, texts)))


def plain_reason(reason: FinishReason) -> PlainReason:
    """Why an answer ended, where there is no word for a call."""
    return "stop" if reason == "tool_calls" else reason


class Whole:
    """The codec of an answer that is never streamed."""

    finished = False

    def __init__(self, answer: Callable[[Completion], JSON]) -> None:
        self._answer = answer

    def items(self, event: Event) -> Iterable[JSON]:
        raise NotImplementedError("this API has no streams")

    def whole(self, events: Sequence[Event]) -> JSON:
        return self._answer(gather(events))


class Pieces:
    """The codec of a stream of text: an item a piece, one for the end, then `last`."""

    last: Sequence[JSON] = ()

    def __init__(self) -> None:
        self.finished = False

    def item(self, text: str, finish: Finish | None) -> JSON:
        """One item. The one for the end has a `Finish` and no text."""
        raise NotImplementedError

    def items(self, event: Event) -> Iterable[JSON]:
        if isinstance(event, TextDelta):
            if event.text:
                yield self.item(event.text, None)
        elif isinstance(event, Finish):
            self.finished = True
            yield self.item("", event)
            yield from self.last

    def whole(self, events: Sequence[Event]) -> JSON:
        """All items at once, where the API has no other form."""
        return [item for event in events for item in self.items(event)]
