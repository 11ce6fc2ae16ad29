"""The output of a response, put together from what servers send of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..types import JSON, Event, ReasoningDelta, TextDelta, TokenLogprob, ToolCallDelta
from .upstream import array, call_id, count, malformed, text_of, token_logprobs

__all__ = ["WRITES", "Output"]

WRITES: Final = {
    "response.output_text.delta": "message",
    "response.refusal.delta": "message",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.function_call_arguments.delta": "function_call",
}
"""The events that are a further piece of an item, and the type of that item."""

_TYPES: Final = frozenset(WRITES.values())


@dataclass(slots=True)
class _Item:
    """What was heard of an item. name: its id, "" if nobody said. place: where in the output,
    None likewise. call: its number among the calls, -1 for none. source: the event that
    writes it, the first one. parts: the numbers of the parts of a summary that have begun."""

    type: str
    name: str
    place: int | None
    said: str = ""
    heard: bool = False
    call: int = -1
    source: str = ""
    parts: set[int] = field(default_factory=set)


class Output:
    """The items of one answer. calls: how many of them are calls.

    Servers leave out ids or places, or give an item another id at the end; so an item is
    known by its id, else by its place, else it is the last one of its type. Methods raise
    BackendError for what makes no sense.
    """

    def __init__(self) -> None:
        self._items: list[_Item] = []
        self.calls = 0

    def begin(self, shown: Mapping[str, JSON], place: JSON) -> Iterator[Event]:
        """The item is about to be written."""
        if (type_ := shown.get("type")) in _TYPES:
            yield from self._begin(self._new(str(type_), _names(shown), place), shown)

    def write(self, type_: str, event: Mapping[str, JSON]) -> Iterator[Event]:
        """A further piece of an item."""
        names, place = _names({"id": event.get("item_id")}), event.get("output_index")
        item = self._find(type_, names, place) or self._new(type_, names, place)
        delta, source = text_of(event.get("delta")), str(event.get("type"))
        item.source = item.source or source
        if type_ == "reasoning":
            # Some servers tell the same twice: as it was thought, and as its summary.
            if source == item.source:
                yield from self._think(item, delta, count(event.get("summary_index")))
            return
        if type_ == "message":
            logprobs = token_logprobs(event.get("logprobs"))
            if delta or logprobs:
                item.heard = True
                yield from _said(item, delta, logprobs)
        elif item.call < 0:
            raise malformed()
        else:
            yield from _said(item, delta)

    def end(self, shown: Mapping[str, JSON], place: JSON) -> Iterator[Event]:
        """The item is done: what it has, and no event before told."""
        if (type_ := str(shown.get("type"))) in _TYPES:
            names = _names(shown)
            item = self._find(type_, names, place) or self._new(type_, names, place)
            yield from self._end(item, shown)

    def close(self, output: Sequence[Mapping[str, JSON]]) -> Iterator[Event]:
        """All are done. output: the items as the whole response has them, if it has them."""
        shown = [each for each in output if each.get("type") in _TYPES]
        known = {name for each in shown for name in _names(each)}
        # Those that go by other names here, in their order.
        renamed = [item for item in self._items if item.name not in known]
        for each in shown:
            type_, names = str(each["type"]), _names(each)
            item = self._named(type_, names)
            if item is None and (item := _first(renamed, type_)) is not None:
                renamed.remove(item)
            yield from self._end(item or self._new(type_, names, None), each)
        for item in self._items:
            if item.call >= 0 and not item.said.strip():
                yield from _said(item, "{}")

    def _find(self, type_: str, names: Sequence[str], place: JSON) -> _Item | None:
        if (item := self._named(type_, names)) is not None:
            return item
        alike = [item for item in self._items if item.type == type_]
        if isinstance(place, int):
            return next((item for item in alike if item.place == place), None)
        # Two that have different names are two.
        return alike[-1] if alike and not (alike[-1].name and names) else None

    def _named(self, type_: str, names: Sequence[str]) -> _Item | None:
        return next(
            (
                item
                for name in names
                for item in self._items
                if (item.type, item.name) == (type_, name)
            ),
            None,
        )

    def _new(self, type_: str, names: Sequence[str], place: JSON) -> _Item:
        name = names[0] if names else ""
        self._items.append(_Item(type_, name, place if isinstance(place, int) else None))
        return self._items[-1]

    def _begin(self, item: _Item, shown: Mapping[str, JSON]) -> Iterator[Event]:
        if item.type == "function_call" and item.call < 0:
            name = text_of(shown.get("name"))
            if not name:
                raise malformed()
            item.call, self.calls = self.calls, self.calls + 1
            item.said = text_of(shown.get("arguments"))
            id_ = text_of(shown.get("call_id")) or call_id()
            yield ToolCallDelta(item.call, id_, name, item.said)

    def _think(self, item: _Item, delta: str, part: int) -> Iterator[Event]:
        if part and part not in item.parts:
            # The parts of a summary are paragraphs.
            delta = "\n\n" + delta
        item.parts.add(part)
        yield from _said(item, delta)

    def _end(self, item: _Item, shown: Mapping[str, JSON]) -> Iterator[Event]:
        item.name = next(iter(_names(shown)), item.name)
        yield from self._begin(item, shown)
        whole, logprobs = _read(shown)
        # The probabilities of what was said before are among them.
        untold = () if item.heard else logprobs
        item.heard = True
        if whole.startswith(item.said):
            yield from _said(item, whole.removeprefix(item.said), untold)


def _first(items: Iterable[_Item], type_: str) -> _Item | None:
    return next((item for item in items if item.type == type_), None)


def _names(shown: Mapping[str, JSON]) -> list[str]:
    """What an item goes by, the best first. llama.cpp has had calls without an id."""
    return [text for name in ("id", "call_id") if (text := text_of(shown.get(name)))]


def _said(item: _Item, text: str, logprobs: tuple[TokenLogprob, ...] = ()) -> Iterator[Event]:
    if not text and not logprobs:
        return
    item.said += text
    match item.type:
        case "message":
            yield TextDelta(text, logprobs)
        case "reasoning":
            yield ReasoningDelta(text)
        case _:
            yield ToolCallDelta(item.call, arguments=text)


def _read(shown: Mapping[str, JSON]) -> tuple[str, tuple[TokenLogprob, ...]]:
    """All of the text of an item that is done."""
    content, summary = array(shown.get("content")), array(shown.get("summary"))
    match shown["type"]:
        case "message":
            # A refusal is what the model tells the user, so it is its text.
            text = "".join(text_of(part.get("text", part.get("refusal"))) for part in content)
            return text, tuple(
                each for part in content for each in token_logprobs(part.get("logprobs"))
            )
        case "reasoning":
            thought = "".join(text_of(part.get("text")) for part in content)
            return thought or "\n\n".join(text_of(part.get("text")) for part in summary), ()
    return text_of(shown.get("arguments")), ()
