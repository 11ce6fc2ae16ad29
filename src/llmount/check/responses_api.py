"""Asking for responses, and reading what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from ..testing.reading import listed, number, part, text
from ..types import JSON
from .openai_api import chunks, error, function_tools
from .said import Ask, Call, Said, Tokens

__all__ = ["body", "items", "whole"]


def body(model: str, ask: Ask) -> JSON:
    turns = [{"role": turn.role, "content": turn.text} for turn in ask.history]
    asked: dict[str, Any] = {
        "model": model,
        "input": [*turns, {"role": "user", "content": ask.text}],
        "stream": ask.stream,
    }
    settings = {
        "max_output_tokens": ask.max_tokens,
        "temperature": ask.temperature,
        "instructions": ask.system or None,
    }
    asked |= {name: value for name, value in settings.items() if value is not None}
    if ask.schema is not None:
        asked["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": ask.schema}}
    elif ask.json:
        asked["text"] = {"format": {"type": "json_object"}}
    if ask.tools:
        asked["tools"] = [{"type": "function", **tool} for tool in function_tools(ask)]
    if ask.tool_choice in ("none", "required"):
        asked["tool_choice"] = ask.tool_choice
    elif ask.tool_choice:
        asked["tool_choice"] = {"type": "function", "name": ask.tool_choice}
    return asked


def whole(answer: JSON) -> Said:
    output = listed(part(answer).get("output"))
    # Clients pass over parts of another type.
    said = _parts(output, "message", "content", {"output_text"})
    usage = part(answer, "usage")
    calls = [
        Call(text(item.get("name")), text(item.get("arguments")))
        for item in output
        if item.get("type") == "function_call"
    ]
    return Said(
        text=said,
        reasoning=_parts(output, "reasoning", "content", {"reasoning_text"})
        or _parts(output, "reasoning", "summary", {"summary_text"}),
        calls=calls,
        finish=_finish(part(answer), calls),
        tokens=Tokens(
            number(usage.get("input_tokens")),
            number(usage.get("output_tokens")),
            number(usage.get("total_tokens")),
        ),
        choices=(said,),
        model=text(part(answer).get("model")),
        error=error(answer) or "",
    )


def items(stream: Sequence[JSON]) -> Said:
    """The response that the last event carries."""
    events = chunks(stream)
    last = events[-1] if events else {}
    return whole(part(last, "response") or last)


def _parts(output: Sequence[Mapping[str, JSON]], kind: str, name: str, types: Set[str]) -> str:
    return "".join(
        text(each.get("text"))
        for item in output
        if item.get("type") == kind
        for each in listed(item.get(name))
        if each.get("type") in types
    )


def _finish(answer: Mapping[str, JSON], calls: Sequence[Call]) -> str:
    if answer.get("status") == "incomplete":
        reason = text(part(answer, "incomplete_details").get("reason"))
        return "length" if reason == "max_output_tokens" else reason
    if answer.get("status") == "completed":
        return "tool_calls" if calls else "stop"
    return text(answer.get("status"))
