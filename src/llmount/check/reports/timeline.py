"""A plot of when the items of a stream came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import Final

from ..recording import Recording
from .markup import Markup, joined, tag
from .wording import of_item, when

__all__ = ["timeline"]

_HEIGHT: Final = 84
_AXIS: Final = 60
_LOWEST: Final = 46
_STEP: Final = 6
_MOST_STACKED: Final = 7
"""Items that came at once stand above each other, at most so many."""

_LEFT, _RIGHT = 2.0, 98.0
"""Percent of the width, in which all coordinates are, so that texts keep their size."""

_MAX_HINT: Final = 120


def timeline(recording: Recording, marked: Collection[int] = ()) -> Markup:
    """The plot; x is the time since the request. marked: the numbers of the items at fault."""
    last = max([recording.ended, *(item.at for item in recording.items)]) or 1.0
    levels = _levels(recording, last)
    # The items at fault come last, so that they are on top.
    numbers = sorted(range(len(recording.items)), key=lambda number: number in marked)
    dots = [_dot(recording, n, last, levels[n], n in marked) for n in numbers]
    plot = tag(
        "svg",
        *_axis(last),
        _began(recording, last),
        *dots,
        class_="timeline",
        width="100%",
        height=_HEIGHT,
        role="img",
        aria_label=_words(recording, marked),
    )
    return tag("figure", plot, tag("figcaption", _words(recording, marked)))


def _words(recording: Recording, marked: Collection[int]) -> str:
    items = recording.items
    left_out = recording.left_out.get("items", 0)
    told = [f"{len(items) + left_out} items in {when(recording.ended)}"]
    if left_out:
        told.append(f"the first {len(items)} are shown")
    if recording.began:
        told.append(f"the status line after {when(recording.began)} (dashed)")
    if items:
        told.append(f"the first item after {when(items[0].at)}")
    if len(items) > 1:
        gaps = [later.at - earlier.at for earlier, later in pairwise(items)]
        told.append(f"the longest pause {when(max(gaps))}")
    if shown := sorted(number for number in marked if number < len(items)):
        numbers = ", ".join(map(str, shown))
        told.append(f"at fault: {numbers} (counted from 0)")
    return ", ".join(told)


def _x(seconds: float, last: float) -> str:
    return f"{_LEFT + (_RIGHT - _LEFT) * min(seconds / last, 1.0):.2f}%"


def _levels(recording: Recording, last: float) -> list[int]:
    """Of each item, how many others stand below it."""
    places = [round(100 * item.at / last) for item in recording.items]
    levels, below = [], Counter[int]()
    for place in places:
        levels.append(min(below[place], _MOST_STACKED - 1))
        below[place] += 1
    return levels


def _dot(recording: Recording, number: int, last: float, level: int, marked: bool) -> Markup:
    item = recording.items[number]
    x = _x(item.at, last)
    text = of_item(recording, number)
    hint = f"{number}: {when(item.at)}\n{text[:_MAX_HINT]}{'…' if text[_MAX_HINT:] else ''}"
    y = _LOWEST - _STEP * level
    dot = tag("g", tag("title", hint), tag("circle", cx=x, cy=y, r=7 if marked else 4))
    if not marked:
        return dot
    line = tag("line", x1=x, x2=x, y1=6, y2=_AXIS)
    return tag("g", line, dot, class_="fault")


def _began(recording: Recording, last: float) -> Markup:
    """When the status line came."""
    x = _x(recording.began, last)
    hint = tag("title", f"{recording.status} after {when(recording.began)}")
    return tag("g", hint, tag("line", x1=x, x2=x, y1=10, y2=_AXIS), class_="began")


def _axis(last: float) -> Iterator[Markup]:
    yield tag("line", x1=f"{_LEFT}%", x2=f"{_RIGHT}%", y1=_AXIS, y2=_AXIS, class_="axis")
    for part, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        x = _x(part * last, last)
        tick = tag("line", x1=x, x2=x, y1=_AXIS, y2=_AXIS + 5, class_="axis")
        told = when(part * last) if part else "0"
        yield joined(tick, tag("text", told, x=x, y=_AXIS + 20, text_anchor=anchor))
