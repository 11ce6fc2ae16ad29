"""Validation by jsonschema, the reference implementation."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any

import jsonschema
from jsonschema.validators import Draft202012Validator, extend

from .errors import Violation
from .types import JSON
from .validation import Fault, describe, likeliest

__all__ = ["Reference"]


def _pattern(validator: Any, pattern: str, value: JSON, schema: JSON) -> Iterator[Any]:
    # In ECMA's regular expressions, which JSON Schema has, `$` is the very end; in
    # Python's it is also before a last line feed.
    pattern = re.sub(r"(?<!\\)\$", r"\\Z", pattern)
    if isinstance(value, str) and not re.search(pattern, value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


_AsECMA: Any = extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]


class Reference:
    """A schema as jsonschema reads it."""

    def __init__(self, schema: JSON) -> None:
        try:
            _AsECMA.check_schema(schema)
        except jsonschema.SchemaError as error:
            raise ValueError(error.message) from None
        self._compiled = _AsECMA(schema)

    def is_valid(self, value: JSON) -> bool:
        return bool(self._compiled.is_valid(value))

    def violations(self, value: JSON) -> Iterator[Violation]:
        for error in self._compiled.iter_errors(value):
            yield self._violation(error, value)

    def _violation(self, error: jsonschema.ValidationError, root: JSON) -> Violation:
        if error.context:
            branches = [
                list(group)
                for _, group in itertools.groupby(error.context, lambda e: e.schema_path[0])
            ]
            best = likeliest(branches, _fault, len(error.absolute_path))
            if best is not None:
                return self._violation(best, root)
        keyword, expected = str(error.validator), error.validator_value
        if keyword == "required":
            # It yields an error for each name, and says which only in words.
            said = error.message.removesuffix(" is a required property")
            expected = next(name for name in expected if repr(name) == said)  # type: ignore[union-attr]
        path, value = tuple(error.absolute_path), error.instance
        if error.validator and (owner := _at(root, path)) is not value:
            # It judges a key, whose path is that of the object.
            keyword, value = "propertyNames", owner
        return describe(path, keyword, expected, value)


def _fault(error: jsonschema.ValidationError) -> Fault:
    keyword, members = str(error.validator), 1
    if keyword == "additionalProperties" and isinstance(error.instance, dict):
        known: Any = error.schema
        members = len(error.instance.keys() - known.get("properties", {}).keys())
    return Fault(len(error.absolute_path), keyword, members)


def _at(value: JSON, path: Iterable[str | int]) -> JSON:
    for key in path:
        value = value[key]
    return value
