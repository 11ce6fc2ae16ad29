"""What the backends that stand before several others have in common."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from typing import TypeVar

__all__ = ["close_all", "distinct", "name_key", "told"]

B = TypeVar("B")


def name_key(name: str) -> str:
    """What names of one model have in common, as Ollama compares them: without regard to
    case, and `:latest` is what a name without a tag means."""
    return name.strip().casefold().removesuffix(":latest")


def distinct(backends: Iterable[B]) -> Sequence[B]:
    """Each backend once, in the order of its first place."""
    return tuple({id(backend): backend for backend in backends}.values())


def told(error: BaseException) -> str:
    """An error for the log, on one line, with what an upstream said."""
    lines = "".join(traceback.format_exception_only(error)).splitlines()
    return "; ".join(filter(None, map(str.strip, lines)))


async def close_all(backends: Iterable[object]) -> None:
    """Close each backend that can be closed, once."""
    for backend in distinct(backends):
        if hasattr(backend, "aclose"):
            await backend.aclose()
