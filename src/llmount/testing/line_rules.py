"""The order of the lines of an answer in NDJSON, as Ollama and its kin write it; part of
`stream_rules`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from ..types import JSON
from .problem import Problem
from .reading import text

__all__ = ["line_problems"]

_ENDINGS = ("_duration", "_count")


def line_problems(items: Sequence[JSON], request: JSON) -> Iterator[Problem]:
    """A `StreamRule` for lines with `done`.

    The last line, and no other, has `done: true`, or is an error; only it says why the answer
    ended and has counts, durations and the context. The model is the same in all lines, and
    time does not run backwards.
    """
    end, model, latest = "", "", datetime.min.replace(tzinfo=UTC)
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            continue
        if end:
            again = end == "done" and item.get("done") is True
            rule = "done-once" if again else "after-done"
            yield Problem(rule, f"comes after {_ENDS[end]}", number)
        if item.get("error"):
            end = "error"
            continue
        if item.get("done") is True:
            end = "done"
        else:
            for name in _final(item):
                yield Problem("early-counts", f"has {name}, and is not the last", number)
        if (named := text(item.get("model"))) != (model := model or named):
            yield Problem("same-model", f"model is {named!r} and was {model!r}", number)
        if (at := _time(item.get("created_at"))) is not None:
            if at < latest:
                yield Problem("time-order", f"created_at is {item['created_at']!r}", number)
            latest = max(at, latest)
    if not end:
        yield Problem("done", "no line has done: true, and none is an error")


_ENDS = {"done": "the line with done: true", "error": "an error"}


def _final(item: dict[str, JSON]) -> list[str]:
    """What an item has that only the last one has."""
    return [
        name
        for name, value in item.items()
        if value and (name.endswith(_ENDINGS) or name in ("context", "done_reason"))
    ]


def _time(value: JSON) -> datetime | None:
    """A time stamp, to the microsecond; None for what is none."""
    head, point, rest = text(value).partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :]
    try:
        at = datetime.fromisoformat(f"{head}{point}{digits[:6]:0<6}{zone}" if point else head)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
