"""Asking CodeInferflow for code, and reading what it says."""

from __future__ import annotations

from ..testing.reading import listed, number, part, text
from ..types import JSON
from .said import Ask, Said, Tokens

__all__ = ["code", "complete", "error", "generated", "written"]


def code(model: str, ask: Ask) -> JSON:
    return {"model": model, "prompt": ask.text}


def generated(answer: JSON) -> Said:
    found = part(answer)
    said = text(found.get("response"))
    seconds = found.get("total_duration")
    return Said(
        text=said,
        tokens=Tokens(number(found.get("input_tokens")), number(found.get("output_tokens"))),
        choices=(said,),
        durations={"total_duration": seconds * 1e9} if isinstance(seconds, int | float) else {},
        model=text(found.get("model")),
        error=error(answer) or "",
    )


def error(body: JSON) -> str | None:
    """`{"text": "", "error_text": text, …}`."""
    message = part(body).get("error_text")
    return message if isinstance(message, str) else None


def complete(model: str, ask: Ask) -> JSON:
    return {"language": "python", "segments": {"prefix": ask.text}}


def written(answer: JSON) -> Said:
    choices = [text(choice.get("text")) for choice in listed(part(answer).get("choices"))]
    return Said(text=choices[0] if choices else "", choices=choices)
