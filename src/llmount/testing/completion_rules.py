"""The order of the events of a completion that geenii streams; part of `stream_rules`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..types import JSON
from .problem import Fault, Problem
from .reading import listed, text
from .response_rules import Progress, walk, wrong_output

__all__ = ["completion_problems"]

_SAME = ("id", "timestamp", "model", "provider", "prompt")
_FINAL = ("response.completed", "response.incomplete")


def completion_problems(items: Sequence[JSON], request: JSON) -> Iterator[Problem]:
    """A `StreamRule` for completions.

    Events are those of a response, but for what is in them: the envelope, in which nothing is
    written until the last event, and then all. An `error` may come instead, and is the last.
    """
    return walk(items, _lifecycle)


def _lifecycle(progress: Progress, kind: str, shown: Mapping[str, JSON]) -> Iterator[Fault]:
    progress.first = progress.first or shown
    for name in _SAME:
        if shown.get(name) != progress.first.get(name):
            message = f"{name} is {shown.get(name)!r} and was {progress.first.get(name)!r}"
            yield f"same-{name}", message
    if kind in _FINAL:
        progress.end = kind
        yield from wrong_output(progress, shown)
        written = "".join(
            text(content.get("text"))
            for item in listed(shown.get("output"))
            for content in listed(item.get("content"))
        )
        if shown.get("output_text") not in (None, written):
            yield "output-text", "output_text is not the text of the output"
    elif kind not in ("response.created", "response.in_progress"):
        yield "last-kind", "no such event ends a completion"
    elif shown.get("output") or shown.get("output_text") or shown.get("model_result"):
        yield "early-output", "something is written before it has ended"
