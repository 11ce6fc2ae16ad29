"""What is wrong with a stream, as `stream_rules` tell it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..types import JSON

__all__ = ["Fault", "Problem", "StreamRule"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A rule that a stream breaks: the rule's id, a sentence, and the number of the item at
    fault, None where it is something that never came."""

    rule: str
    message: str
    item: int | None = None

    def __str__(self) -> str:
        return self.message if self.item is None else f"event {self.item}: {self.message}"


Fault: TypeAlias = tuple[str, str]
"""A rule's id and a sentence, of an item that the caller knows."""

StreamRule: TypeAlias = Callable[[Sequence[JSON], JSON], Iterator[Problem]]
"""From the items of a whole stream, as `llmount.framing` decodes them, and the body of the
request, to what is wrong with them. Items may be any JSON: what does not fit the schema is
left to whoever looks at that."""
