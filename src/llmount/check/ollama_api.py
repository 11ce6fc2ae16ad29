"""Asking Ollama, and reading what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..jsontext import dumps
from ..testing.reading import listed, number, part, text
from ..types import JSON
from .openai_api import messages
from .said import Ask, Call, Said, Tokens

__all__ = ["chat", "coded_error", "error", "generate", "items", "whole"]


def generate(model: str, ask: Ask) -> JSON:
    body = {"model": model, "prompt": ask.text, **_common(ask)}
    if ask.system:
        body["system"] = ask.system
    if ask.context:
        body["context"] = list(ask.context)
    return body


def chat(model: str, ask: Ask) -> JSON:
    body = {"model": model, "messages": messages(ask), **_common(ask)}
    if ask.tools:
        body["tools"] = [
            {"type": "function", "function": {"name": name, "parameters": schema}}
            for name, schema in ask.tools.items()
        ]
    return body


def _common(ask: Ask) -> dict[str, Any]:
    options = {
        "num_predict": ask.max_tokens,
        "temperature": ask.temperature,
        "seed": ask.seed,
        "stop": list(ask.stop) or None,
    }
    body: dict[str, Any] = {"stream": ask.stream}
    if options := {name: value for name, value in options.items() if value is not None}:
        body["options"] = options
    if ask.schema is not None:
        body["format"] = ask.schema
    elif ask.json:
        body["format"] = "json"
    if ask.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": ask.logprobs}
    if ask.thinking is not None:
        body["think"] = ask.thinking
    return body


def whole(answer: JSON) -> Said:
    return items([answer])


def items(stream: Sequence[JSON]) -> Said:
    lines = listed(list(stream))
    last: Mapping[str, JSON] = lines[-1] if lines else {}
    said = "".join(text(line.get("response")) or text(_message(line, "content")) for line in lines)
    thought = "".join(
        text(line.get("thinking")) or text(_message(line, "thinking")) for line in lines
    )
    calls = [
        Call(text(function.get("name")), dumps(function.get("arguments")))
        for line in lines
        for call in listed(_message(line, "tool_calls"))
        for function in (part(call, "function"),)
    ]
    return Said(
        text=said,
        reasoning=thought,
        calls=calls,
        finish="tool_calls" if calls else text(last.get("done_reason")),
        tokens=Tokens(number(last.get("prompt_eval_count")), number(last.get("eval_count"))),
        choices=(said,),
        logprobs=[entry for line in lines for entry in listed(line.get("logprobs"))],
        durations={
            name: float(value)
            for name, value in last.items()
            if name.endswith("_duration") and isinstance(value, int | float)
        },
        context=last.get("context") or (),
        model=text(last.get("model")),
        error=error(last) or coded_error(last) or "",
    )


def _message(line: Mapping[str, JSON], name: str) -> JSON:
    return part(line, "message").get(name)


def error(body: JSON) -> str | None:
    """`{"error": text}`."""
    message = part(body).get("error")
    return message if isinstance(message, str) else None


def coded_error(body: JSON) -> str | None:
    """`{"error": {"code": text, "message": text}}`, as AJ STUDIOZ has it."""
    found = part(body, "error")
    message = found.get("message")
    return message if isinstance(message, str) and "code" in found else None
