"""Whether the events of a stream come in the order that their readers rely on.

The document says what each event is like; this says what no schema can: what comes first,
what comes once, what comes last, and what has to agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from ..jsontext import loads
from ..types import JSON
from .response_rules import response_problems

__all__ = ["STREAM_RULES", "StreamRule", "chat_completion_problems", "response_problems"]

StreamRule: TypeAlias = Callable[[Sequence[JSON], JSON], Iterator[str]]
"""From the events of a whole stream, as `llmount.framing` decodes them, and the body of the
request, to what is wrong with them: a sentence each, none if nothing is. Each event has to
fit its schema, which is looked at first; with others it may raise anything."""


@dataclass(slots=True)
class _Choice:
    """How far one of the answers has come. calls: the arguments so far, by index."""

    role: bool = False
    finish: str | None = None
    calls: dict[int, str] = field(default_factory=dict)


def chat_completion_problems(items: Sequence[JSON], request: JSON) -> Iterator[str]:
    """A `StreamRule` for chat completions.

    Of each choice the role comes first and once, and `finish_reason` last and once; choices
    begin in order; the first piece of a call, and no other, has its id and name; `id`,
    `created` and `model` never change. Then come the token counts, once, if the request
    asked for them, and `[DONE]`. An error may come instead, and is the last.
    """
    chunks: list[tuple[str, JSON]] = []
    end = ""
    for number, item in enumerate(items):
        where = f"event {number}"
        if end:
            yield f"{where} comes after {end}"
        for name in item.keys() - {"data"}:
            yield f"{where} has the field {name}"
        if item["data"] == "[DONE]":
            end = "[DONE]"
            continue
        try:
            chunk = loads(item["data"])
        except ValueError as error:
            yield f"{where} is not JSON: {error}"
            continue
        if chunk.get("error"):
            end = "an error"
        else:
            chunks.append((where, chunk))
    if not end:
        yield "there is neither [DONE] nor an error at the end"
    yield from _same(chunks)
    choices: dict[int, _Choice] = {}
    for where, chunk in chunks:
        for each in chunk["choices"]:
            if each["index"] not in choices:
                if each["index"] != len(choices):
                    yield f"{where}: choice {each['index']} begins after {len(choices)} others"
                choices[each["index"]] = _Choice()
            for problem in _choice(choices[each["index"]], each):
                yield f"{where}: choice {each['index']}: {problem}"
    if end == "[DONE]":
        yield from _finished(choices, request)
    yield from _counts(chunks, request, whole=end == "[DONE]")


def _same(chunks: Sequence[tuple[str, JSON]]) -> Iterator[str]:
    for name in ("id", "object", "created", "model"):
        for (_, before), (where, chunk) in pairwise(chunks):
            if chunk.get(name) != before.get(name):
                yield f"{where}: {name} is {chunk.get(name)!r} and was {before.get(name)!r}"


def _choice(choice: _Choice, said: JSON) -> Iterator[str]:
    delta = said["delta"]
    if choice.finish is not None:
        yield "goes on after its finish_reason"
    if delta.get("role") is not None:
        if choice.role:
            yield "has its role again"
    elif not choice.role:
        yield "begins without its role"
    choice.role = True
    for call in delta.get("tool_calls") or ():
        yield from _call(choice.calls, call)
    if (reason := said["finish_reason"]) is not None:
        choice.finish = reason


def _call(calls: dict[int, str], said: JSON) -> Iterator[str]:
    index, function = said.get("index"), said.get("function") or {}
    if index not in calls:
        if index != len(calls):
            yield f"call {index} begins after {len(calls)} others"
        if not said.get("id") or said.get("type") != "function" or not function.get("name"):
            yield f"call {index} begins without its id, type or name"
    elif said.get("id") or said.get("type") or function.get("name"):
        yield f"call {index} has its id, type or name again"
    calls[index] = calls.get(index, "") + (function.get("arguments") or "")


def _finished(choices: Mapping[int, _Choice], request: JSON) -> Iterator[str]:
    wanted = int(request.get("n") or 1)
    if len(choices) != wanted:
        yield f"there are {len(choices)} choices, not {wanted}"
    for index, choice in choices.items():
        if choice.finish is None:
            yield f"choice {index} has no finish_reason"
        if choice.finish == "tool_calls" and not choice.calls:
            yield f"choice {index} finishes for tool_calls and has none"
        if choice.finish in ("stop", "tool_calls"):
            for number, arguments in choice.calls.items():
                if not _is_object(arguments):
                    yield f"choice {index}: the arguments of call {number} are no JSON object"


def _is_object(text: str) -> bool:
    try:
        return isinstance(loads(text), dict)
    except ValueError:
        return False


def _counts(chunks: Sequence[tuple[str, JSON]], request: JSON, *, whole: bool) -> Iterator[str]:
    asked = bool((request.get("stream_options") or {}).get("include_usage"))
    counted = [number for number, (_, chunk) in enumerate(chunks) if chunk.get("usage")]
    for number in counted:
        where, chunk = chunks[number]
        if not asked:
            yield f"{where} has token counts that nobody asked for"
        if number != len(chunks) - 1:
            yield f"{where} has token counts and is not the last chunk"
        if chunk["choices"]:
            yield f"{where} has token counts beside a choice"
    if asked:
        if whole and len(counted) != 1:
            yield f"the token counts come {len(counted)} times, not once"
        for where, chunk in chunks:
            if "usage" not in chunk:
                yield f"{where} has no usage, not even null"


STREAM_RULES: Mapping[str, StreamRule] = {
    "chat/openai": chat_completion_problems,
    "chat/responses": response_problems,
}
"""By the name of the document."""
