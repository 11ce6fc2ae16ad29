"""HTML and SVG, in which a text cannot be taken for anything else."""

from __future__ import annotations

from html import escape

from .wording import printable

__all__ = ["Markup", "joined", "prose", "tag"]


class Markup(str):
    """A text that is HTML; any other is escaped."""


_VOID = frozenset({"circle", "input", "line", "rect"})


def tag(name: str, *children: str, **attributes: str | float | bool | None) -> Markup:
    """An element. attributes: `_` in a name is `-`, but for one at its end, which is for
    Python's sake; True stands for an attribute without a value, None and False for none."""
    given = "".join(
        _attribute(key.rstrip("_").replace("_", "-"), value)
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{joined(*children)}</{name}>")


def joined(*children: str) -> Markup:
    """The children one after the other."""
    return Markup("".join(map(_escaped, children)))


def prose(text: str) -> Markup:
    """A text in which backticks stand around code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return joined(text)
    return joined(*(tag("code", part) if n % 2 else part for n, part in enumerate(parts)))


def _escaped(child: str) -> str:
    return child if isinstance(child, Markup) else escape(printable(child))


def _attribute(name: str, value: str | float | bool) -> str:
    return f" {name}" if value is True else f' {name}="{escape(printable(str(value)))}"'
