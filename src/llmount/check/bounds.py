"""Keeping the answers to generated requests short, by the table `bounds.yaml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from ..contract import Operation
from ..types import JSON

__all__ = ["bounded"]


def bounded(contract: str, operation: Operation, body: JSON) -> JSON:
    """The body with its limits lowered, and added where there are none.

    The document allows what comes out if, and only if, it allows the body.
    """
    table = _table().get(contract, {})
    rows = [row for name in ("*", operation.id) if (row := table.get(name))]
    if operation.body is None or not isinstance(body, dict) or not rows:
        return body
    allowed = operation.body.is_valid(body)
    for path, value in [change for row in rows for change in _changes(row, body)]:
        changed = _with(body, path, value)
        if changed is not None and operation.body.is_valid(changed) == allowed:
            body = changed
    return body


@cache
def _table() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    text = files(__package__).joinpath("bounds.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Mapping[str, Mapping[str, Any]]] = yaml.safe_load(text)
    return found


def _changes(
    row: Mapping[str, Any], body: Mapping[str, JSON]
) -> list[tuple[Sequence[str], int | None]]:
    """Paths, and what to put there; None to leave the field out."""
    changes: list[tuple[Sequence[str], int | None]] = [
        (field.split("."), None) for field in row.get("without", ())
    ]
    for kind in ("always", "present"):
        for limit in row.get(kind, ()):
            paths = [field.split(".") for field in limit["fields"]]
            values = [_at(body, path) for path in paths]
            changes += [
                (path, limit["most"])
                for path, value in zip(paths, values, strict=True)
                if _is_above(value, limit["most"])
            ]
            if kind == "always" and all(value is None for value in values):
                changes.append((paths[0], limit["most"]))
    return changes


def _is_above(value: JSON, most: int) -> bool:
    """Zero and less are no limit to some servers."""
    return type(value) is int and not 1 <= value <= most


def _at(body: JSON, path: Sequence[str]) -> JSON:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body


def _with(body: Mapping[str, JSON], path: Sequence[str], value: JSON) -> dict[str, JSON] | None:
    """The body with another value at the path, without the field for None; None if there is
    no such place."""
    name, *rest = path
    if not rest:
        others = {key: each for key, each in body.items() if key != name}
        return others if value is None else {**others, name: value}
    inner = body.get(name)
    if inner is None:
        inner = {}
    if not isinstance(inner, dict) or (value is None and not inner):
        return None
    changed = _with(inner, rest, value)
    return None if changed is None else {**body, name: changed}
