"""Picking what is there out of JSON that may be anything."""

from __future__ import annotations

from collections.abc import Mapping

from ..types import JSON

__all__ = ["listed", "number", "part", "text"]


def part(value: JSON, *path: str) -> Mapping[str, JSON]:
    """The object at the end of a path; an empty one where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def listed(value: JSON) -> list[Mapping[str, JSON]]:
    """The objects of a list."""
    if not isinstance(value, list):
        return []
    return [each for each in value if isinstance(each, dict)]


def text(value: JSON) -> str:
    return value if isinstance(value, str) else ""


def number(value: JSON) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
