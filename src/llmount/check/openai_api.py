"""Asking for chat completions, and reading what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..jsontext import loads
from ..testing.reading import listed, number, part, text
from ..types import JSON
from .said import Ask, Call, Said, Tokens

__all__ = [
    "chat",
    "chunks",
    "error",
    "function_tools",
    "items",
    "messages",
    "response_format",
    "settings",
    "tokens",
    "whole",
]


def chat(model: str, ask: Ask) -> JSON:
    body = {"model": model, "messages": messages(ask), "stream": ask.stream, **settings(ask)}
    if ask.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": ask.logprobs}
    if shape := response_format(ask):
        body["response_format"] = shape
    if ask.tools:
        body["tools"] = [{"type": "function", "function": tool} for tool in function_tools(ask)]
    if ask.tool_choice in ("none", "required"):
        body["tool_choice"] = ask.tool_choice
    elif ask.tool_choice:
        body["tool_choice"] = {"type": "function", "function": {"name": ask.tool_choice}}
    return body


def messages(ask: Ask) -> list[dict[str, JSON]]:
    turns = [{"role": turn.role, "content": turn.text} for turn in ask.history]
    instructions = [{"role": "system", "content": ask.system}] if ask.system else []
    return [*instructions, *turns, {"role": "user", "content": ask.text}]


def settings(ask: Ask) -> dict[str, Any]:
    """What chat and text completions are both asked for, by the same names."""
    found: dict[str, Any] = {
        "max_tokens": ask.max_tokens,
        "temperature": ask.temperature,
        "stop": list(ask.stop) or None,
        "seed": ask.seed,
        "n": ask.n,
        "stream_options": {"include_usage": True} if ask.usage else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def function_tools(ask: Ask) -> list[dict[str, JSON]]:
    return [
        {"name": name, "description": f"Call {name}.", "parameters": schema}
        for name, schema in ask.tools.items()
    ]


def response_format(ask: Ask) -> dict[str, JSON] | None:
    if ask.schema is not None:
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": ask.schema}}
    return {"type": "json_object"} if ask.json else None


def whole(answer: JSON) -> Said:
    return _said(part(answer), [(choice, part(choice, "message")) for choice in _choices(answer)])


def items(stream: Sequence[JSON]) -> Said:
    """Of the events of a stream, as `llmount.framing` decodes them."""
    found = chunks(stream)
    head: dict[str, JSON] = dict(found[0]) if found else {}
    gathered: dict[int, tuple[dict[str, JSON], dict[str, Any]]] = {}
    for chunk in found:
        if chunk.get("usage"):
            head["usage"] = chunk["usage"]
        if chunk.get("error"):
            head["error"] = chunk["error"]
        for choice in _choices(chunk):
            index = number(choice.get("index")) or 0
            _gather(*gathered.setdefault(index, ({}, {"calls": {}})), choice)
    return _said(
        head,
        [
            (choice, {**message, "tool_calls": list(message["calls"].values())})
            for _, (choice, message) in sorted(gathered.items())
        ],
    )


def chunks(stream: Sequence[JSON]) -> list[Mapping[str, JSON]]:
    """The JSON objects that the events carry."""
    found = []
    for event in listed(list(stream)):
        try:
            found.append(loads(text(event.get("data"))))
        except ValueError:
            continue
    return listed(found)


def _gather(choice: dict[str, JSON], message: dict[str, Any], said: Mapping[str, JSON]) -> None:
    delta = part(said, "delta")
    if said.get("finish_reason"):
        choice["finish_reason"] = said["finish_reason"]
    if entries := listed(part(said, "logprobs").get("content")):
        before = choice.setdefault("logprobs", {"content": []})
        before["content"] += entries
    for name in ("content", "reasoning_content", "reasoning"):
        if piece := text(delta.get(name)):
            message[name] = message.get(name, "") + piece
    for position, call in enumerate(listed(delta.get("tool_calls"))):
        index = number(call.get("index"))
        function = part(call, "function")
        known = message["calls"].setdefault(
            position if index is None else index, {"function": {"name": "", "arguments": ""}}
        )
        for name in ("name", "arguments"):
            known["function"][name] += text(function.get(name))


def _choices(answer: JSON) -> list[Mapping[str, JSON]]:
    return listed(part(answer).get("choices"))


def _said(
    answer: Mapping[str, JSON],
    choices: Sequence[tuple[Mapping[str, JSON], Mapping[str, JSON]]],
) -> Said:
    first, message = choices[0] if choices else ({}, {})
    return Said(
        text=text(message.get("content")),
        reasoning=text(message.get("reasoning_content")) or text(message.get("reasoning")),
        calls=[
            Call(text(function.get("name")), text(function.get("arguments")))
            for call in listed(message.get("tool_calls"))
            for function in (part(call, "function"),)
        ],
        finish=text(first.get("finish_reason")),
        tokens=tokens(part(answer, "usage")),
        choices=[text(each.get("content")) for _, each in choices],
        logprobs=listed(part(first, "logprobs").get("content")),
        model=text(answer.get("model")),
        error=error(answer) or "",
    )


def tokens(usage: Mapping[str, JSON]) -> Tokens:
    return Tokens(
        number(usage.get("prompt_tokens")),
        number(usage.get("completion_tokens")),
        number(usage.get("total_tokens")),
    )


def error(body: JSON) -> str | None:
    """`{"error": {"message": text, …}}`."""
    message = part(body, "error").get("message")
    return message if isinstance(message, str) else None
