"""How to pick tokens, as a request tells it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..types import JSON, Sampling

__all__ = ["sampling"]


def sampling(told: Mapping[str, JSON], *same: str, **renamed: str) -> Sampling:
    """The settings that are told, where None is as good as untold.

    same: the fields of `Sampling` that have the same name there. renamed: what the others
    are called there. `stop` may be one text or several.
    """
    names = {**dict(zip(same, same, strict=True)), **renamed}
    values = {ours: told.get(theirs) for ours, theirs in names.items()}
    return Sampling(
        **{
            ours: _READERS[ours](value) if ours in _READERS else value
            for ours, value in values.items()
            if value is not None
        }
    )


def _texts(stop: str | list[str]) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    # JSON Schema takes 20.0 for an integer.
    **dict.fromkeys(("max_tokens", "top_k", "repeat_last_n", "seed"), int),
    "stop": _texts,
}
