"""Whether the chunks of a stream of OpenAI's come in the order that their readers rely on:
those of chat completions, and those of text completions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from ..jsontext import loads
from ..types import JSON
from .problem import Fault, Problem
from .reading import listed, number, part, text

__all__ = [
    "chat_completion_problems",
    "named_end_problems",
    "roleless_chat_problems",
    "text_completion_problems",
]


@dataclass(slots=True)
class _Call:
    """A call so far: "function", "custom" or "old", and its arguments or input."""

    kind: str
    text: str = ""


@dataclass(slots=True)
class _Choice:
    """How far one of the answers has come. calls: by index."""

    number: int
    role: bool = False
    begun: bool = False
    finish: str | None = None
    calls: dict[int, _Call] = field(default_factory=dict)


_Chunks: TypeAlias = list[tuple[int, Mapping[str, JSON]]]
"""The chunks of a stream, with the numbers of their events."""

_Step: TypeAlias = Callable[[_Choice, Mapping[str, JSON], JSON], Iterator[Fault]]
"""From a choice, what a chunk says of it and the request, to what is wrong with that."""


def chat_completion_problems(items: Sequence[JSON], request: JSON) -> Iterator[Problem]:
    """A `StreamRule` for chat completions.

    Of each choice the role comes first and once, and `finish_reason` last and once; choices
    begin in order; the first piece of a call, and no other, has its id and name; `id`,
    `created` and `model` never change. Then come the token counts, once, if the request
    asked for them, and `[DONE]`. An error may come instead, and is the last.
    """
    yield from _problems(items, request, _said, answers=_several(request))


def roleless_chat_problems(items: Sequence[JSON], request: JSON) -> Iterator[Problem]:
    """A `StreamRule` for chat completions whose chunks have no role."""
    yield from _problems(items, request, partial(_said, roles=False), answers=1)


def named_end_problems(items: Sequence[JSON], request: JSON) -> Iterator[Problem]:
    """A `StreamRule` for chat completions whose last event is named `done`."""
    ended = bool(items) and items[-1] == {"event": "done", "data": "[DONE]"}
    plain = [*items[:-1], {"data": "[DONE]"}] if ended else items
    yield from _problems(plain, request, _said, answers=1)


def text_completion_problems(items: Sequence[JSON], request: JSON) -> Iterator[Problem]:
    """A `StreamRule` for text completions: as for chat completions, but for roles and calls.

    With `echo` the text of each choice begins with its prompt.
    """
    prompt = part(request).get("prompt")
    prompts = len(prompt) if isinstance(prompt, list) else 1
    yield from _problems(items, request, _written, answers=prompts * _several(request))


def _several(request: JSON) -> int:
    return number(part(request).get("n")) or 1


def _problems(
    items: Sequence[JSON], request: JSON, step: _Step, *, answers: int
) -> Iterator[Problem]:
    chunks: _Chunks = []
    end = ""
    for position, item in enumerate(items):
        if end:
            yield Problem("after-end", f"comes after {end}", position)
        for name in part(item).keys() - {"data"}:
            yield Problem("event-fields", f"has the field {name}", position)
        data = text(part(item).get("data"))
        if data == "[DONE]":
            end = "[DONE]"
            continue
        try:
            chunk = part(loads(data))
        except ValueError as error:
            yield Problem("json", f"is not JSON: {error}", position)
            continue
        if chunk.get("error"):
            end = "an error"
        else:
            chunks.append((position, chunk))
    if not end:
        yield Problem("end", "there is neither [DONE] nor an error at the end")
    yield from _same(chunks)
    choices: dict[int, _Choice] = {}
    for position, chunk in chunks:
        for said in listed(chunk.get("choices")):
            if (index := number(said.get("index"))) is None:
                continue
            if index not in choices:
                if index != len(choices):
                    message = f"choice {index} begins after {len(choices)} others"
                    yield Problem("choice-order", message, position)
                choices[index] = _Choice(index)
            for rule, message in _choice(choices[index], said, request, step):
                yield Problem(rule, f"choice {index}: {message}", position)
    if end == "[DONE]" or not end:
        yield from _finished(choices, answers)
    yield from _counts(chunks, request, whole=end == "[DONE]")


def _same(chunks: _Chunks) -> Iterator[Problem]:
    # Azure begins with a chunk that is about the prompt, and has nothing of the answer.
    answering = [each for each in chunks if each[1].get("choices") or each[1].get("usage")]
    for name in ("id", "object", "created", "model"):
        first = answering[0][1].get(name) if answering else None
        for position, chunk in answering:
            if chunk.get(name) != first:
                message = f"{name} is {chunk.get(name)!r} and was {first!r}"
                yield Problem(f"same-{name}", message, position)
                break


def _choice(
    choice: _Choice, said: Mapping[str, JSON], request: JSON, step: _Step
) -> Iterator[Fault]:
    reason = text(said.get("finish_reason"))
    if choice.finish is not None:
        if reason:
            yield "finish-once", "goes on after its finish_reason, with another"
        else:
            yield "after-finish", "goes on after its finish_reason"
    yield from step(choice, said, request)
    if reason:
        choice.finish = reason


def _written(choice: _Choice, said: Mapping[str, JSON], request: JSON) -> Iterator[Fault]:
    asked = part(request)
    prompt = asked.get("prompt") or ""
    if isinstance(prompt, list):
        prompt = prompt[choice.number // _several(request) % len(prompt)]
    if (
        asked.get("echo")
        and not choice.begun
        and isinstance(prompt, str)
        and not text(said.get("text")).startswith(prompt)
    ):
        yield "echo", "does not begin with its prompt"
    choice.begun = True
    lists = [each for each in part(said, "logprobs").values() if isinstance(each, list)]
    if len(set(map(len, lists))) > 1:
        yield "logprob-lists", "has lists of log probabilities that differ in length"


def _said(
    choice: _Choice, said: Mapping[str, JSON], request: JSON, *, roles: bool = True
) -> Iterator[Fault]:
    delta = part(said, "delta")
    if roles and delta.get("role") is not None:
        if choice.role:
            yield "role-once", "has its role again"
    elif roles and not choice.role:
        yield "role", "begins without its role"
    choice.role = True
    for call in listed(delta.get("tool_calls")):
        yield from _call(choice.calls, call)
    if isinstance(function := delta.get("function_call"), dict):
        yield from _old_call(choice.calls, function)


def _call(calls: dict[int, _Call], said: Mapping[str, JSON]) -> Iterator[Fault]:
    kind = "custom" if said.get("custom") else "function"
    content = part(said, kind)
    if (index := number(said.get("index"))) is None:
        yield "call-index", "a piece of a call has no index"
        return
    if index not in calls:
        if index != len(calls):
            yield "call-order", f"call {index} begins after {len(calls)} others"
        if not said.get("id") or said.get("type") != kind or not content.get("name"):
            yield "call-begin", f"call {index} begins without its id, type or name"
        calls[index] = _Call(kind)
    else:
        if said.get("id") or said.get("type") or content.get("name"):
            yield "call-once", f"call {index} has its id, type or name again"
        if calls[index].kind != kind:
            yield "call-kind", f"call {index} is of another kind than before"
    calls[index].text += text(content.get("arguments" if kind == "function" else "input"))


def _old_call(calls: dict[int, _Call], said: Mapping[str, JSON]) -> Iterator[Fault]:
    if not calls:
        if not said.get("name"):
            yield "call-begin", "the function_call begins without its name"
        calls[0] = _Call("old")
    elif said.get("name"):
        yield "call-once", "the function_call has its name again"
    calls[0].text += text(said.get("arguments"))


_CALLING = ("tool_calls", "function_call")


def _finished(choices: Mapping[int, _Choice], answers: int) -> Iterator[Problem]:
    if len(choices) != answers:
        yield Problem("choice-count", f"there are {len(choices)} choices, not {answers}")
    for index, choice in choices.items():
        if choice.finish is None:
            yield Problem("finish", f"choice {index} has no finish_reason")
        if choice.finish in _CALLING and not choice.calls:
            message = f"choice {index} finishes for {choice.finish} and has none"
            yield Problem("finish-calls", message)
        if choice.finish in ("stop", *_CALLING):
            for position, call in choice.calls.items():
                if call.kind != "custom" and not _is_object(call.text):
                    message = f"the arguments of call {position} are no JSON object"
                    yield Problem("call-arguments", f"choice {index}: {message}")


def _is_object(content: str) -> bool:
    try:
        return isinstance(loads(content), dict)
    except ValueError:
        return False


def _counts(chunks: _Chunks, request: JSON, *, whole: bool) -> Iterator[Problem]:
    asked = bool(part(request, "stream_options").get("include_usage"))
    counted = [place for place, (_, chunk) in enumerate(chunks) if chunk.get("usage")]
    for place in counted:
        position, chunk = chunks[place]
        if not asked:
            yield Problem("usage-unasked", "has token counts that nobody asked for", position)
        if place != counted[-1]:
            yield Problem("usage-once", "has token counts, and a later one has too", position)
        if place != len(chunks) - 1:
            yield Problem("usage-last", "has token counts and is not the last chunk", position)
        if chunk.get("choices"):
            yield Problem("usage-alone", "has token counts beside a choice", position)
        if any(_content(said) for said in listed(chunk.get("choices"))):
            yield Problem("usage-content", "has token counts beside a piece of text", position)
    if not asked:
        return
    if whole and not counted:
        yield Problem("usage", "the token counts come 0 times, not once")
    for position, chunk in chunks:
        if "usage" not in chunk:
            yield Problem("usage-null", "has no usage, not even null", position)
            break


def _content(said: Mapping[str, JSON]) -> bool:
    delta = part(said, "delta")
    return bool(said.get("text") or delta.get("content") or delta.get("tool_calls"))
