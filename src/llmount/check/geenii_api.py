"""Asking geenii for completions, and reading what they say."""

from __future__ import annotations

from collections.abc import Sequence

from ..testing.reading import listed, part, text
from ..types import JSON
from .openai_api import chunks
from .said import Ask, Said

__all__ = ["body", "error", "items", "whole"]


def body(model: str, ask: Ask) -> JSON:
    asked = {
        "model": model,
        "prompt": ask.text,
        "stream": ask.stream,
        "max_tokens": ask.max_tokens,
        "temperature": ask.temperature,
        "system": ask.system or None,
    }
    return {name: value for name, value in asked.items() if value is not None}


def whole(answer: JSON) -> Said:
    found = part(answer)
    said = text(found.get("output_text"))
    names = [text(found.get(name)) for name in ("provider", "model")]
    return Said(
        text=said,
        choices=(said,),
        model=":".join(names) if all(names) else "",
        error=text(found.get("error")),
    )


def items(stream: Sequence[JSON]) -> Said:
    """What the last event carries."""
    events = chunks(stream)
    last = events[-1] if events else {}
    return whole(part(last, "response") or last)


def error(body: JSON) -> str | None:
    """`{"error": text}`; of what concerns the request, `{"detail": text}`, or a list of
    violations, each with its `msg`."""
    found = part(body)
    for message in (found.get("error"), found.get("detail")):
        if isinstance(message, str):
            return message
    violations = [text(each.get("msg")) for each in listed(found.get("detail"))]
    return "; ".join(violations) if violations else None
