"""The order of the events of a streamed response; part of `stream_rules`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..jsontext import loads
from ..types import JSON

__all__ = ["response_problems"]

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
class _Item:
    """An item of the output. first: as it was added. written: by the number of its part
    (None without parts) what was written. parts: the numbers of the parts that are begun,
    True while they are open. done: as it was when it was done."""

    first: JSON
    written: dict[tuple[str, int] | None, str] = field(default_factory=dict)
    parts: dict[tuple[str, int], bool] = field(default_factory=dict)
    done: JSON = None


@dataclass(slots=True)
class _Response:
    """How far the response has come."""

    first: JSON = None
    items: dict[int, _Item] = field(default_factory=dict)
    end: str = ""


def response_problems(items: Sequence[JSON], request: JSON) -> Iterator[str]:
    """A `StreamRule` for responses.

    Events are named after their type and numbered from 0. `response.created` and
    `response.in_progress` come first, one of completed, incomplete and failed comes last,
    after an `error` only failed, and `[DONE]` never. Items are added in order and done, and
    so are their parts; what is written in pieces is repeated whole; the last event has the
    items that were done.
    """
    response = _Response()
    for number, item in enumerate(items):
        where = f"event {number}"
        try:
            event = loads(item["data"])
        except ValueError:
            yield f"{where} is not JSON: {item['data'][:40]!r}"
            continue
        kind = event.get("type")
        where += f" ({kind})"
        if item.get("event") != kind:
            yield f"{where} is named {item.get('event')!r}"
        if event.get("sequence_number") != number:
            yield f"{where} has the sequence_number {event.get('sequence_number')!r}"
        if response.end and not (response.end == "error" and kind == "response.failed"):
            yield f"{where} comes after {response.end}"
        if number < 2 and kind != ("response.created", "response.in_progress")[number]:
            yield f"{where} is not how a stream begins"
        for problem in _event(response, str(kind), event):
            yield f"{where}: {problem}"
    if not response.end:
        yield "there is no event that ends the stream"


def _event(response: _Response, kind: str, event: JSON) -> Iterator[str]:
    """What is wrong with an event after those before it. Kinds that are not known here,
    such as those of hosted tools, are let pass."""
    if kind in ("response.created", "response.in_progress") or kind in _FINAL:
        yield from _lifecycle(response, kind, event["response"])
    elif kind == "error":
        response.end = "error"
    elif kind == "response.output_item.added":
        yield from _added(response, event)
    else:
        yield from _within(response, kind, event)


def _within(response: _Response, kind: str, event: JSON) -> Iterator[str]:
    if (rule := _RULES.get(kind)) is None:
        return
    item = response.items.get(event["output_index"])
    if item is None:
        yield f"there is no item {event['output_index']}"
    elif item.done is not None:
        yield f"item {event['output_index']} is done"
    else:
        yield from rule(item, kind.rpartition(".")[0], event)


def _lifecycle(response: _Response, kind: str, shown: JSON) -> Iterator[str]:
    status = _FINAL.get(kind, "in_progress")
    if shown.get("status") != status:
        yield f"the response is {shown.get('status')}"
    response.first = response.first or shown
    for name in ("id", "created_at", "model"):
        if shown.get(name) != response.first.get(name):
            yield f"{name} is {shown.get(name)!r} and was {response.first.get(name)!r}"
    if bool(shown.get("error")) != (status == "failed"):
        yield f"error is {shown.get('error')!r}"
    if bool(shown.get("incomplete_details")) != (status == "incomplete"):
        yield f"incomplete_details is {shown.get('incomplete_details')!r}"
    if kind in _FINAL:
        response.end = kind
        if status != "failed":
            yield from _whole(response, shown)
    elif shown.get("usage"):
        yield "has token counts"


def _whole(response: _Response, shown: JSON) -> Iterator[str]:
    for index, item in response.items.items():
        if item.done is None:
            yield f"item {index} is not done"
    done = [item.done for _, item in sorted(response.items.items())]
    if shown.get("output") != done:
        yield "output is not what the items were when they were done"
    usage = shown.get("usage")
    if not usage:
        yield "has no token counts"
    elif usage["total_tokens"] != usage["input_tokens"] + usage["output_tokens"]:
        yield "total_tokens is not the sum of the others"


def _added(response: _Response, event: JSON) -> Iterator[str]:
    index, item, others = event["output_index"], event["item"], response.items.values()
    if index != len(others):
        yield f"item {index} is added after {len(others)} others"
    # Clients tell items by the one and calls by the other.
    for name in ("id", "call_id"):
        if item.get(name) and item[name] in [other.first.get(name) for other in others]:
            yield f"another item has the {name} {item[name]!r}"
    if item.get("status", "in_progress") != "in_progress":
        yield f"the item is {item['status']}"
    response.items[index] = _Item(item)


def _wrong_id(item: _Item, event: JSON) -> Iterator[str]:
    if event["item_id"] != item.first.get("id"):
        yield f"item_id is {event['item_id']!r}, and the item has {item.first.get('id')!r}"


def _part_added(item: _Item, subject: str, event: JSON) -> Iterator[str]:
    yield from _wrong_id(item, event)
    name = _PARTS[subject]
    key = name, event[name]
    begun = [number for each, number in item.parts if each == name]
    if event[name] != len(begun):
        yield f"part {event[name]} is added after {len(begun)} others"
    item.parts[key] = True


def _part_done(item: _Item, subject: str, event: JSON) -> Iterator[str]:
    yield from _wrong_id(item, event)
    name = _PARTS[subject]
    key = name, event[name]
    if not item.parts.get(key):
        yield f"part {event[name]} is not open"
    item.parts[key] = False
    if _text(event["part"]) != item.written.get(key, ""):
        yield f"part {event[name]} is not what was written"


def _piece(item: _Item, subject: str, event: JSON) -> Iterator[str]:
    yield from _wrong_id(item, event)
    key = _place(subject, event)
    if key is not None and not item.parts.get(key):
        yield f"part {key[1]} is not open"
    item.written[key] = item.written.get(key, "") + event["delta"]


def _all_pieces(item: _Item, subject: str, event: JSON) -> Iterator[str]:
    yield from _wrong_id(item, event)
    name = _WRITTEN[subject][1]
    if event[name] != item.written.setdefault(_place(subject, event), ""):
        yield f"{name} is not what was written"


def _place(subject: str, event: JSON) -> tuple[str, int] | None:
    name = _WRITTEN[subject][0]
    return None if name is None else (name, event[name])


def _item_done(item: _Item, subject: str, event: JSON) -> Iterator[str]:
    shown = event["item"]
    item.done = shown
    for name in ("type", "id", "call_id", "name"):
        if shown.get(name) != item.first.get(name):
            yield f"{name} is {shown.get(name)!r} and was {item.first.get(name)!r}"
    for (_, number), is_open in item.parts.items():
        if is_open:
            yield f"part {number} is not done"
    if shown.get("status") == "in_progress":
        yield "the item is in progress"
    for (name, number), text in ((key, each) for key, each in item.written.items() if key):
        parts = shown.get("summary" if name == "summary_index" else "content") or []
        if number >= len(parts) or _text(parts[number]) != text:
            yield f"part {number} is not what was written"
    if shown["type"] == "function_call":
        yield from _called(item, shown)


def _called(item: _Item, shown: JSON) -> Iterator[str]:
    if shown["arguments"] != item.written.get(None, ""):
        yield "arguments is not what was written"
    if shown.get("status") == "completed":
        try:
            arguments = loads(shown["arguments"])
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            yield "the arguments are no JSON object"


def _text(part: JSON) -> str:
    text: str = part.get("text", part.get("refusal", ""))
    return text


_RULES: Mapping[str, Callable[[_Item, str, JSON], Iterator[str]]] = {
    **{f"{subject}.added": _part_added for subject in _PARTS},
    **{f"{subject}.done": _part_done for subject in _PARTS},
    **{f"{subject}.delta": _piece for subject in _WRITTEN},
    **{f"{subject}.done": _all_pieces for subject in _WRITTEN},
    "response.output_item.done": _item_done,
}
"""What is looked at in the events of an item, by their type."""
