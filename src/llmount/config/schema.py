"""The schema of the configuration, and what a file breaks of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path as FilePath
from typing import Any, Final

from .. import contract
from ..errors import Violation
from ..types import JSON
from ..validation import Engine, Schema, show
from .locating import Path
from .problems import Problems, nearest

__all__ = ["defaults", "document", "hold"]

_MOST: Final = 256
_UNKNOWN: Final = ("additionalProperties", "unevaluatedProperties")


@cache
def document() -> dict[str, Any]:
    """The JSON Schema."""
    return contract.read(FilePath(__file__).with_name("schema.yaml"))


@cache
def _schema(engine: Engine) -> Schema:
    return Schema(document(), engine=engine)


def defaults(section: str) -> dict[str, JSON]:
    """What counts of a section where a file says nothing."""
    properties = contract.resolve(document(), document()["properties"][section])["properties"]
    return {key: each["default"] for key, each in properties.items() if "default" in each}


def hold(value: JSON, problems: Problems, engine: Engine = "jsonschema-rs") -> set[Path]:
    """Add what the schema has against a value; the paths of what is wrong. engine: who
    validates, as for `Schema`."""
    violations = _schema(engine).violations(value, most=_MOST)
    wrong: set[Path] = set()
    for violation in violations:
        for path, text in _told(violation, value):
            if path not in wrong:
                wrong.add(path)
                problems.add(path, text)
    return wrong


def _told(violation: Violation, root: JSON) -> Iterator[tuple[Path, str]]:
    """Where, and in words."""
    path, value = violation.path, violation.value
    if violation.keyword in _UNKNOWN:
        known = _properties(root, path)
        for name in value:
            if name not in known:
                text = f"is not known here{nearest(name, known) or _listed(known)}"
                yield (*path, name), text
        return
    if violation.keyword == "propertyNames":
        for schema in _schemas(root, path):
            names = contract.resolve(document(), schema.get("propertyNames", True))
            for name in value:
                if not Schema(names).is_valid(name):
                    yield (*path, name), _words(names, "is no good name")
        return
    words = violation.message.removeprefix(f"{show(path)} ")
    for schema in _schemas(root, path):
        if violation.keyword not in ("required", *_UNKNOWN):
            words = _words(schema, words)
    if violation.keyword == "enum" and isinstance(value, str):
        words += nearest(value, violation.expected)
    yield path, words


def _words(schema: JSON, otherwise: str) -> str:
    return str(schema.get("x-problem", otherwise)) if isinstance(schema, dict) else otherwise


def _listed(known: Iterable[str]) -> str:
    return f"; there are {', '.join(sorted(known))}"


def _properties(root: JSON, path: Path) -> set[str]:
    """The names that a table may have."""
    return {name for schema in _schemas(root, path) for name in schema.get("properties", ())}


def _schemas(root: JSON, path: Path) -> list[dict[str, Any]]:
    """The schemas that apply to what a path leads to."""
    found = [*_applied(document(), root)]
    for key in path:
        root = _member(root, key)
        found = [
            applied
            for schema in found
            for inner in _inner(schema, key)
            for applied in _applied(inner, root)
        ]
    return found


def _member(value: JSON, key: str | int) -> JSON:
    if isinstance(value, dict):
        return value.get(key)
    return value[key] if isinstance(value, list) and isinstance(key, int) else None


def _applied(schema: JSON, value: JSON) -> Iterator[dict[str, Any]]:
    """A schema, and those of its parts that are for this value too."""
    schema = contract.resolve(document(), schema)
    if not isinstance(schema, dict):
        return
    yield schema
    parts = list(schema.get("allOf", ()))
    if "if" in schema and Schema(schema["if"]).is_valid(value):
        parts.append(schema.get("then", True))
    for part in parts:
        yield from _applied(part, value)


def _inner(schema: dict[str, Any], key: str | int) -> Iterator[JSON]:
    """What a schema says of a member."""
    if isinstance(key, int):
        yield schema.get("items", True)
    elif key in schema.get("properties", ()):
        yield schema["properties"][key]
    else:
        yield schema.get("additionalProperties", True)
