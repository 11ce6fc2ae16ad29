"""JSON Schema, by either of two libraries with one answer.

jsonschema-rs is the default; jsonschema, the reference, is what a property test holds it
to, the fallback where no wheel of the other exists, and a choice (`engine="jsonschema"`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from .errors import Violation
from .types import JSON

try:
    import jsonschema_rs
except ImportError:  # pragma: no cover - no wheel for this platform
    jsonschema_rs = None  # type: ignore[assignment]

__all__ = ["Engine", "Fault", "Schema", "describe", "likeliest", "show"]

E = TypeVar("E")

Engine: TypeAlias = Literal["jsonschema-rs", "jsonschema"]

_MOST_FOUND = 256
_MOST_VIOLATIONS = 16
_MOST_SHOWN = 80


class _Validator(Protocol):
    def is_valid(self, value: JSON, /) -> bool: ...

    def violations(self, value: JSON, /) -> Iterator[Violation]: ...


class Schema:
    """One schema of a document, compiled on first use.

    components: the document's `components`, so that `#/components/…` resolves.
    """

    def __init__(
        self,
        schema: JSON,
        components: Mapping[str, Any] | None = None,
        engine: Engine = "jsonschema-rs",
    ) -> None:
        self.schema = schema
        self.components = components or {}
        self.engine = engine

    @cached_property
    def _validator(self) -> _Validator:
        schema = self.schema
        if isinstance(schema, Mapping):
            schema = {**schema, "components": self.components}
        if self.engine == "jsonschema" or jsonschema_rs is None:
            # Here, because jsonschema takes as long to import as all the rest.
            from .validation_reference import Reference

            return Reference(schema)
        return _Fast(schema)

    @cached_property
    def is_valid(self) -> Any:
        """`is_valid(value) -> bool`, bound once: this is on every request's path."""
        return self._validator.is_valid

    def compile(self) -> None:
        """Compile now rather than on first use. Raises `ValueError` for a bad schema."""
        _ = self.is_valid

    def violations(self, value: JSON, most: int = _MOST_VIOLATIONS) -> tuple[Violation, ...]:
        """What is wrong with the value, at most so many things; empty if nothing is.

        They come as they stand in the value, because the libraries have orders of their
        own; what is missing comes before what is there.
        """
        found = itertools.islice(self._validator.violations(value), _MOST_FOUND)
        return tuple(sorted(found, key=lambda each: _place(value, each.path))[:most])


def _place(value: JSON, path: Sequence[str | int]) -> list[int]:
    """Where the path leads: at each level the number of the member, -1 for a missing one."""
    places = []
    for key in path:
        if isinstance(value, dict):
            places.append(next((number for number, each in enumerate(value) if each == key), -1))
            value = value.get(key)
        else:
            places.append(int(key))
            value = value[key]
    return places


class _Fast:
    def __init__(self, schema: JSON) -> None:
        # mask: an error must not carry a megabyte of the client's own body.
        self._compiled = jsonschema_rs.Draft202012Validator(schema, mask="value")
        self.is_valid = self._compiled.is_valid

    def violations(self, value: JSON) -> Iterator[Violation]:
        numbered = _Numbered()
        for error in self._compiled.iter_errors(value):
            yield self._violation(error, value, numbered)

    def _violation(
        self, error: jsonschema_rs.ValidationError, root: JSON, numbered: _Numbered
    ) -> Violation:
        kind = error.kind
        if (branches := getattr(kind, "context", None)) and (
            best := likeliest(branches, _fault, len(error.instance_path))
        ):
            return self._violation(best, root, numbered)
        path, value = _walk(root, error, numbered)
        extra = tuple(getattr(kind, "unexpected", ()))
        return replace(describe(path, kind.name, kind.value, value), extra=extra)


class Fault(NamedTuple):
    """What a library has against a value: at which depth in it, and by which keyword. Of
    `additionalProperties`, members is how many are not allowed."""

    depth: int
    keyword: str
    members: int = 1


def _fault(error: jsonschema_rs.ValidationError) -> Fault:
    extra = len(getattr(error.kind, "unexpected", ()))
    return Fault(len(error.instance_path), error.kind.name, extra or 1)


def likeliest(branches: Iterable[Sequence[E]], fault: Callable[[E], Fault], depth: int) -> E | None:
    """The first error of the alternative that was most likely meant by a value at this depth.

    An alternative for another kind of value was not meant. Among the others the one was that
    has the least against the value and its own members; then one whose fixed values it has;
    then the one that got deepest into it.
    """
    best, best_rank = None, None
    for errors in branches:
        if not errors:
            continue
        faults = [fault(error) for error in errors]
        foreign = any(each.depth == depth and each.keyword in _KINDS for each in faults)
        rank = (
            not foreign,
            0 if foreign else -sum(each.members for each in faults if each.depth <= depth + 1),
            not any(each.keyword in _KINDS for each in faults),
            faults[0].depth,
        )
        if best_rank is None or rank > best_rank:
            best, best_rank = errors[0], rank
    return best


_KINDS = frozenset({"type", "const", "enum"})


class _Numbered:
    """The keys of objects by the number that jsonschema-rs takes them for: `+7` and `007`
    are 7. Each object is looked through once."""

    def __init__(self) -> None:
        self._known: dict[int, dict[int, list[str]]] = {}

    def keys(self, value: Mapping[str, JSON], number: int) -> list[str]:
        if (known := self._known.get(id(value))) is None:
            known = self._known[id(value)] = {}
            for key in value:
                if match := _NUMBER.fullmatch(key):
                    known.setdefault(int(match[1]), []).append(key)
        return known.get(number, [])


_NUMBER = re.compile(r"\+?0*([0-9]{1,20})", re.ASCII)


_Place: TypeAlias = tuple[tuple[str | int, ...], JSON]
"""A path, the keys as they are, and the value there."""


def _walk(root: JSON, error: jsonschema_rs.ValidationError, numbered: _Numbered) -> _Place:
    places = list(itertools.islice(_places(root, error.instance_path, numbered), _MOST_FOUND))
    if len(places) > 1:
        # Only what it found there tells them apart.
        return next((each for each in places if each[1] == error.instance), places[0])
    return places[0]


def _places(
    value: JSON, path: Sequence[str | int], numbered: _Numbered, before: tuple[str | int, ...] = ()
) -> Iterator[_Place]:
    """Where the path may lead."""
    if not path:
        yield before, value
        return
    key, *rest = path
    if isinstance(value, dict):
        keys = numbered.keys(value, key) if isinstance(key, int) else [key]
        for each in keys:
            if each in value:
                yield from _places(value[each], rest, numbered, (*before, each))
    elif isinstance(value, list) and isinstance(key, int) and key < len(value):
        yield from _places(value[key], rest, numbered, (*before, key))


_WORDS: Mapping[str, str] = {
    "type": "must be of type {expected}",
    "enum": "must be one of {expected}",
    "const": "must be {expected}",
    "required": "is required",
    "minimum": "must be at least {expected}",
    "maximum": "must be at most {expected}",
    "exclusiveMinimum": "must be more than {expected}",
    "exclusiveMaximum": "must be less than {expected}",
    "minLength": "must have at least {expected} characters",
    "maxLength": "must have at most {expected} characters",
    "minItems": "must have at least {expected} items",
    "maxItems": "must have at most {expected} items",
    "minProperties": "must have at least {expected} properties",
    "maxProperties": "must have at most {expected} properties",
    "pattern": "must match {expected}",
    "uniqueItems": "must have no item twice",
    "not": "is not allowed",
    "additionalProperties": "has a property that is not allowed",
    "unevaluatedProperties": "has a property that is not allowed",
    "propertyNames": "has a property that is not allowed",
    "anyOf": "fits none of the allowed forms",
    "oneOf": "fits none of the allowed forms",
}


def describe(path: tuple[str | int, ...], keyword: str, expected: JSON, value: JSON) -> Violation:
    """expected: of `required`, the name that is missing; of `type`, a list."""
    if keyword == "required":
        path = (*path, expected)
    elif keyword == "type":
        expected = sorted(expected if isinstance(expected, (list, tuple)) else [expected])
    elif keyword in ("additionalProperties", "unevaluatedProperties", "propertyNames"):
        # The libraries differ, and one gives the client's own names.
        expected = None
    words = _WORDS.get(keyword, "is not valid").format(expected=_list(expected))
    where = show(path)[:_MOST_SHOWN] or "the body"
    return Violation(path, keyword, f"{where} {words}", expected, value)


def _list(expected: JSON) -> str:
    if isinstance(expected, (list, tuple)):
        text = " or ".join("null" if each is None else str(each) for each in expected)
    else:
        text = str(expected)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…"


def show(path: Sequence[str | int]) -> str:
    """`messages[2].content` of `("messages", 2, "content")`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text
