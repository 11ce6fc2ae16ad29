"""Asking for text completions, and reading what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..testing.reading import listed, number, part, text
from ..types import JSON
from .openai_api import chunks, error, settings, tokens
from .said import Ask, Said

__all__ = ["body", "items", "whole"]


def body(model: str, ask: Ask) -> JSON:
    asked = {"model": model, "prompt": ask.text, "stream": ask.stream, **settings(ask)}
    if ask.logprobs is not None:
        asked["logprobs"] = ask.logprobs
    return asked


def whole(answer: JSON) -> Said:
    return _read([part(answer)])


def items(stream: Sequence[JSON]) -> Said:
    return _read(chunks(stream))


def _read(found: Sequence[Mapping[str, JSON]]) -> Said:
    """What chunks say together; a whole answer is one chunk."""
    texts: dict[int, str] = {}
    finish = wrong = ""
    usage: Mapping[str, JSON] = {}
    logprobs: list[dict[str, Any]] = []
    for chunk in found:
        usage = part(chunk, "usage") or usage
        wrong = error(chunk) or wrong
        for choice in listed(chunk.get("choices")):
            index = number(choice.get("index")) or 0
            texts[index] = texts.get(index, "") + text(choice.get("text"))
            if index == 0:
                finish = text(choice.get("finish_reason")) or finish
                logprobs += _logprobs(part(choice, "logprobs"))
    choices = [texts[index] for index in sorted(texts)]
    return Said(
        text=choices[0] if choices else "",
        finish=finish,
        tokens=tokens(usage),
        choices=choices,
        logprobs=logprobs,
        model=text(found[0].get("model")) if found else "",
        error=wrong,
    )


def _logprobs(said: Mapping[str, JSON]) -> list[dict[str, Any]]:
    """A token an entry, in the form that chat completions have; servers that have that form
    here as well are read too."""
    if content := listed(said.get("content")):
        return [dict(entry) for entry in content]
    columns = [said.get(name) for name in ("tokens", "token_logprobs", "top_logprobs")]
    names, values, tops = (each if isinstance(each, list) else [] for each in columns)
    return [
        {
            "token": name,
            "logprob": values[place] if place < len(values) else None,
            "top_logprobs": list(part(tops[place]).items()) if place < len(tops) else [],
        }
        for place, name in enumerate(names)
    ]
