"""The order of the events of a streamed response; part of `stream_rules`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ..jsontext import loads
from ..types import JSON
from .problem import Fault, Problem
from .reading import listed, number, part, text

__all__ = ["Lifecycle", "Progress", "response_problems", "walk", "wrong_output"]

_FINAL = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
}
"""What ends a stream, and the status that the response then has."""

_WRITTEN = {
    "response.output_text": ("content_index", "text"),
    "response.refusal": ("content_index", "refusal"),
    "response.reasoning_text": ("content_index", "text"),
    "response.reasoning_summary_text": ("summary_index", "text"),
    "response.function_call_arguments": (None, "arguments"),
}
"""What is written in pieces: which field numbers the part, if it is in one, and which field
of the last event has it whole."""

_PARTS = {
    "response.content_part": "content_index",
    "response.reasoning_summary_part": "summary_index",
}


@dataclass(slots=True)
class Item:
    """An item of the output. first: as it was added. written: by the number of its part
    (None without parts) what was written. parts: the numbers of the parts that are begun,
    True while they are open. done: as it was when it was done."""

    first: Mapping[str, JSON]
    written: dict[tuple[str, int] | None, str] = field(default_factory=dict)
    parts: dict[tuple[str, int], bool] = field(default_factory=dict)
    done: JSON = None


@dataclass(slots=True)
class Progress:
    """How far the response has come. first: as it was created. end: what ended it."""

    first: Mapping[str, JSON] = field(default_factory=dict)
    items: dict[int, Item] = field(default_factory=dict)
    end: str = ""


Lifecycle: TypeAlias = Callable[[Progress, str, Mapping[str, JSON]], Iterator[Fault]]
"""From the progress so far, the type of an event that has a response, and that response, to
what is wrong with it."""


def response_problems(items: Sequence[JSON], request: JSON) -> Iterator[Problem]:
    """A `StreamRule` for responses.

    Events are named after their type and numbered from 0. `response.created` and
    `response.in_progress` come first, one of completed, incomplete and failed comes last,
    after an `error` only failed, and `[DONE]` never. Items are added in order and done, and
    so are their parts; what is written in pieces is repeated whole; the last event has the
    items that were done.
    """
    return walk(items, _lifecycle)


def walk(items: Sequence[JSON], lifecycle: Lifecycle) -> Iterator[Problem]:
    """What is wrong with the events but for the responses in them: `lifecycle` says that, and
    of those that end the stream it sets `Progress.end`."""
    response = Progress()
    for place, item in enumerate(items):
        data = text(part(item).get("data"))
        try:
            event = part(loads(data))
        except ValueError:
            rule = "no-done" if data == "[DONE]" else "json"
            yield Problem(rule, f"is not JSON: {data[:40]!r}", place)
            continue
        kind = text(event.get("type"))
        for rule, message in (
            *_placed(response, place, item, event),
            *_event(response, lifecycle, kind, event),
        ):
            yield Problem(rule, f"{kind}: {message}", place)
    if not response.end:
        yield Problem("last-event", "there is no event that ends the stream")


_BEGIN = (("begin", "response.created"), ("in-progress", "response.in_progress"))


def _placed(
    response: Progress, place: int, item: JSON, event: Mapping[str, JSON]
) -> Iterator[Fault]:
    """What is wrong with where an event stands, its name and its number."""
    kind = event.get("type")
    if item.get("event") != kind:
        yield "event-name", f"is named {item.get('event')!r}"
    if event.get("sequence_number") != place:
        yield "sequence", f"has the sequence_number {event.get('sequence_number')!r}"
    if response.end and not (response.end == "error" and kind == "response.failed"):
        yield "after-end", f"comes after {response.end}"
    if place < len(_BEGIN) and kind != _BEGIN[place][1]:
        yield _BEGIN[place][0], "is not how a stream begins"


def _event(
    response: Progress, lifecycle: Lifecycle, kind: str, event: Mapping[str, JSON]
) -> Iterator[Fault]:
    """What is wrong with an event after those before it. Kinds that are not known here,
    such as those of hosted tools, are let pass."""
    if kind in ("response.created", "response.in_progress") or kind in _FINAL:
        yield from lifecycle(response, kind, part(event, "response"))
    elif kind == "error":
        response.end = "error"
    elif kind == "response.output_item.added":
        yield from _added(response, event)
    else:
        yield from _within(response, kind, event)


def _within(response: Progress, kind: str, event: Mapping[str, JSON]) -> Iterator[Fault]:
    if (rule := _RULES.get(kind)) is None:
        return
    index = number(event.get("output_index"))
    item = None if index is None else response.items.get(index)
    if item is None:
        yield "item-unknown", f"there is no item {index}"
    elif item.done is not None:
        yield "item-over", f"item {index} is done"
    else:
        yield from rule(item, kind.rpartition(".")[0], event)


def _lifecycle(response: Progress, kind: str, shown: Mapping[str, JSON]) -> Iterator[Fault]:
    status = _FINAL.get(kind, "in_progress")
    if shown.get("status") != status:
        yield "status", f"the response is {shown.get('status')}"
    response.first = response.first or shown
    for name in ("id", "created_at", "model"):
        if shown.get(name) != response.first.get(name):
            yield (
                f"same-{name}",
                f"{name} is {shown.get(name)!r} and was {response.first.get(name)!r}",
            )
    if bool(shown.get("error")) != (status == "failed"):
        yield "status", f"error is {shown.get('error')!r}"
    if bool(shown.get("incomplete_details")) != (status == "incomplete"):
        yield "status", f"incomplete_details is {shown.get('incomplete_details')!r}"
    if kind in _FINAL:
        response.end = kind
        if status != "failed":
            yield from _whole(response, shown)
    elif shown.get("usage"):
        yield "early-counts", "has token counts"


def _whole(response: Progress, shown: Mapping[str, JSON]) -> Iterator[Fault]:
    yield from wrong_output(response, shown)
    usage = part(shown, "usage")
    counts = [number(usage.get(name)) for name in ("input_tokens", "output_tokens", "total_tokens")]
    if not usage:
        yield "final-counts", "has no token counts"
    elif None not in counts and sum(map(int, filter(None, counts[:2]))) != counts[2]:
        yield "final-counts", "total_tokens is not the sum of the others"


def wrong_output(response: Progress, shown: Mapping[str, JSON]) -> Iterator[Fault]:
    """What is wrong with the output of a response that is whole."""
    for index, item in response.items.items():
        if item.done is None:
            yield "item-done", f"item {index} is not done"
    done = [item.done for _, item in sorted(response.items.items())]
    if shown.get("output") != done:
        yield "output", "output is not what the items were when they were done"


def _added(response: Progress, event: Mapping[str, JSON]) -> Iterator[Fault]:
    index, item, others = number(event.get("output_index")), part(event, "item"), response.items
    if index is None:
        return
    if index != len(others):
        yield "item-order", f"item {index} is added after {len(others)} others"
    # Clients tell items by the one and calls by the other.
    for name in ("id", "call_id"):
        if item.get(name) and item[name] in [each.first.get(name) for each in others.values()]:
            yield "item-ids", f"another item has the {name} {item[name]!r}"
    if (status := item.get("status") or "in_progress") != "in_progress":
        yield "item-begin", f"the item is {status}"
    response.items[index] = Item(item)


def _wrong_id(item: Item, event: Mapping[str, JSON]) -> Iterator[Fault]:
    if (named := event.get("item_id")) != item.first.get("id"):
        yield "item-id", f"item_id is {named!r}, and the item has {item.first.get('id')!r}"


def _part_added(item: Item, subject: str, event: Mapping[str, JSON]) -> Iterator[Fault]:
    yield from _wrong_id(item, event)
    name = _PARTS[subject]
    if (index := number(event.get(name))) is None:
        return
    begun = [each for subject, each in item.parts if subject == name]
    if index != len(begun):
        yield "part-order", f"part {index} is added after {len(begun)} others"
    item.parts[name, index] = True


def _part_done(item: Item, subject: str, event: Mapping[str, JSON]) -> Iterator[Fault]:
    yield from _wrong_id(item, event)
    name = _PARTS[subject]
    if (index := number(event.get(name))) is None:
        return
    if not item.parts.get((name, index)):
        yield "part-open", f"part {index} is not open"
    item.parts[name, index] = False
    if _text(part(event, "part")) != item.written.get((name, index), ""):
        yield "written", f"part {index} is not what was written"


def _piece(item: Item, subject: str, event: Mapping[str, JSON]) -> Iterator[Fault]:
    yield from _wrong_id(item, event)
    key = _place(subject, event)
    if key is not None and not item.parts.get(key):
        yield "part-open", f"part {key[1]} is not open"
    item.written[key] = item.written.get(key, "") + text(event.get("delta"))


def _all_pieces(item: Item, subject: str, event: Mapping[str, JSON]) -> Iterator[Fault]:
    yield from _wrong_id(item, event)
    name = _WRITTEN[subject][1]
    if event.get(name) != item.written.setdefault(_place(subject, event), ""):
        yield "written", f"{name} is not what was written"


def _place(subject: str, event: Mapping[str, JSON]) -> tuple[str, int] | None:
    """The part that an event writes; an event that does not say so writes the first."""
    name = _WRITTEN[subject][0]
    return None if name is None else (name, number(event.get(name)) or 0)


def _item_done(item: Item, subject: str, event: Mapping[str, JSON]) -> Iterator[Fault]:
    shown = part(event, "item")
    item.done = shown
    for name in ("type", "id", "call_id", "name"):
        if shown.get(name) != item.first.get(name):
            yield "item-same", f"{name} is {shown.get(name)!r} and was {item.first.get(name)!r}"
    for (_, index), is_open in item.parts.items():
        if is_open:
            yield "part-done", f"part {index} is not done"
    if shown.get("status") == "in_progress":
        yield "item-end", "the item is in progress"
    for (name, index), content in ((key, each) for key, each in item.written.items() if key):
        parts = listed(shown.get("summary" if name == "summary_index" else "content"))
        if index >= len(parts) or _text(parts[index]) != content:
            yield "written", f"part {index} is not what was written"
    if shown.get("type") == "function_call":
        yield from _called(item, shown)


def _called(item: Item, shown: Mapping[str, JSON]) -> Iterator[Fault]:
    if shown.get("arguments") != item.written.get(None, ""):
        yield "written", "arguments is not what was written"
    if shown.get("status") == "completed":
        try:
            arguments = loads(text(shown.get("arguments")))
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            yield "call-arguments", "the arguments are no JSON object"


def _text(content: Mapping[str, JSON]) -> str:
    return text(content.get("text")) or text(content.get("refusal"))


_RULES: Mapping[str, Callable[[Item, str, Mapping[str, JSON]], Iterator[Fault]]] = {
    **{f"{subject}.added": _part_added for subject in _PARTS},
    **{f"{subject}.done": _part_done for subject in _PARTS},
    **{f"{subject}.delta": _piece for subject in _WRITTEN},
    **{f"{subject}.done": _all_pieces for subject in _WRITTEN},
    "response.output_item.done": _item_done,
}
"""What is looked at in the events of an item, by their type."""
