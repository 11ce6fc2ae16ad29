"""The items of a response's output: how each is begun, written and done."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import ClassVar, TypeAlias

from ..jsontext import dumps, loads
from ..types import JSON, ReasoningDelta, TextDelta, ToolCallDelta
from .openai_answer import token_logprobs

__all__ = ["Call", "Item", "Message", "Numbered", "Reasoning", "Said", "Summary"]

Said: TypeAlias = tuple[str, Mapping[str, JSON]]
"""An event of the stream: its type, and its fields but for the number."""


class Numbered:
    """Makes the events of one stream its items: named after their type, numbered from 0."""

    def __init__(self) -> None:
        self._number = 0

    def __call__(self, type_: str, fields: Mapping[str, JSON]) -> JSON:
        number = self._number
        self._number += 1
        return {
            "event": type_,
            "data": dumps({"type": type_, "sequence_number": number, **fields}),
        }


class Item:
    """One item of the output. `status` is "in_progress" until it is done.

    index: its place in the output.
    """

    prefix: ClassVar[str]

    def __init__(self, index: int) -> None:
        self.id = f"{self.prefix}_{secrets.token_hex(24)}"
        self.index = index
        self.status = "in_progress"
        self.pieces: list[str] = []

    @property
    def text(self) -> str:
        """All that was written so far."""
        return "".join(self.pieces)

    def begin(self) -> Iterator[Said]:
        yield "response.output_item.added", {"output_index": self.index, "item": self.shown()}

    def end(self, status: str) -> Iterator[Said]:
        self.status = status
        yield "response.output_item.done", {"output_index": self.index, "item": self.shown()}

    def shown(self) -> JSON:
        """The item as the output has it: while it is in progress, without what is in it."""
        raise NotImplementedError

    @property
    def _whole(self) -> bool:
        return self.status != "in_progress"


class _Parted(Item):
    """An item with one part of text in it."""

    part_event: ClassVar[str] = "response.content_part"
    text_event: ClassVar[str]
    index_name: ClassVar[str] = "content_index"

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.where = {"item_id": self.id, "output_index": index, self.index_name: 0}

    def begin(self) -> Iterator[Said]:
        yield from super().begin()
        yield f"{self.part_event}.added", {**self.where, "part": self.part()}

    def end(self, status: str) -> Iterator[Said]:
        yield f"{self.text_event}.done", {**self.where, "text": self.text, **self.besides()}
        yield f"{self.part_event}.done", {**self.where, "part": self.part()}
        yield from super().end(status)

    def part(self) -> JSON:
        raise NotImplementedError

    def besides(self) -> Mapping[str, JSON]:
        """What the event of the whole text has besides it."""
        return {}

    def parts(self) -> JSON:
        return [self.part()] if self._whole else []


class Message(_Parted):
    prefix = "msg"
    text_event = "response.output_text"

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.logprobs: list[JSON] = []

    def write(self, delta: TextDelta) -> Said:
        logprobs = token_logprobs(delta.logprobs)
        self.pieces.append(delta.text)
        self.logprobs.extend(logprobs)
        return f"{self.text_event}.delta", {
            **self.where,
            "delta": delta.text,
            "logprobs": logprobs,
        }

    def part(self) -> JSON:
        return {
            "type": "output_text",
            "annotations": [],
            "logprobs": self.logprobs,
            "text": self.text,
        }

    def besides(self) -> Mapping[str, JSON]:
        return {"logprobs": self.logprobs}

    def shown(self) -> JSON:
        return {
            "id": self.id,
            "type": "message",
            "status": self.status,
            "content": self.parts(),
            "role": "assistant",
        }


class Reasoning(_Parted):
    """What the model thought, as it thought it."""

    prefix = "rs"
    text_event = "response.reasoning_text"

    def write(self, delta: ReasoningDelta) -> Said:
        self.pieces.append(delta.text)
        return f"{self.text_event}.delta", {**self.where, "delta": delta.text}

    def part(self) -> JSON:
        return {"type": "reasoning_text", "text": self.text}

    def shown(self) -> JSON:
        return {
            "id": self.id,
            "type": "reasoning",
            "status": self.status,
            "summary": [],
            "content": self.parts(),
        }


class Summary(Reasoning):
    """What the model thought, in the place of a summary of it."""

    part_event = "response.reasoning_summary_part"
    text_event = "response.reasoning_summary_text"
    index_name = "summary_index"

    def part(self) -> JSON:
        return {"type": "summary_text", "text": self.text}

    def shown(self) -> JSON:
        return {**super().shown(), "summary": self.parts(), "content": []}


class Call(Item):
    """A call of a function. `first` is its first delta, which has its name."""

    prefix = "fc"

    def __init__(self, index: int, first: ToolCallDelta) -> None:
        super().__init__(index)
        self.call_id = first.id or f"call_{secrets.token_hex(12)}"
        self.name = first.name or ""
        self.where = {"item_id": self.id, "output_index": index}

    @property
    def complete(self) -> bool:
        """Whether its arguments are a whole object by now."""
        try:
            return isinstance(loads(self.text), dict)
        except ValueError:
            return False

    def write(self, delta: ToolCallDelta) -> Said:
        self.pieces.append(delta.arguments)
        return "response.function_call_arguments.delta", {**self.where, "delta": delta.arguments}

    def end(self, status: str) -> Iterator[Said]:
        yield (
            "response.function_call_arguments.done",
            {**self.where, "name": self.name, "arguments": self.text},
        )
        yield from super().end(status)

    def shown(self) -> JSON:
        return {
            "id": self.id,
            "type": "function_call",
            "status": self.status,
            "arguments": self.text if self._whole else "",
            "call_id": self.call_id,
            "name": self.name,
        }
