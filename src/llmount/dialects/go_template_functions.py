"""What can be called in one of Go's templates, and how Go sees the values there.

Values are those of JSON; a `Struct` has fields that are known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final

from ..errors import BadRequest
from ..jsontext import dumps
from .go_syntax import quote

__all__ = ["FUNCTIONS", "Fault", "Struct", "TemplateError", "Tools", "printed", "true", "type_name"]


class TemplateError(BadRequest):
    """A template that cannot be read, or not be rendered with these values."""


class Fault(Exception):
    """What a function has against its arguments."""


class Struct(dict[str, Any]):
    """An object of a Go type, which has these fields and no others."""

    type = "*template.templateMessage"


class Tools(list[Any]):
    """A list that is printed as JSON."""


def true(value: Any) -> bool:
    """As `if` sees it: not zero and not empty."""
    return isinstance(value, Struct) or bool(value)


def printed(value: Any) -> str:
    if value is None:
        return "<no value>"
    return _shown(value)


def _shown(value: Any) -> str:
    """As Go's `fmt.Sprint`."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int():
            return str(value)
        case float():
            return _float(value)
        case Struct():
            return f"{{{' '.join(map(_shown, value.values()))}}}"
        case Tools():
            return dumps(value) if value else "null"
        case Mapping():
            return (
                f"map[{' '.join(f'{key}:{_shown(each)}' for key, each in sorted(value.items()))}]"
            )
    return f"[{' '.join(map(_shown, value))}]"


def _float(value: float) -> str:
    text = repr(value).removesuffix(".0")
    return re.sub(r"e([+-])([0-9])$", r"e\g<1>0\2", text)


def type_name(value: Any, *, known: bool = True) -> str:
    """known: whether the value comes from where Go knows its type."""
    if value is None:
        return "nil"
    if not known and not isinstance(value, Struct):
        return "interface {}"
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int():
            return "int"
        case float():
            return "float64"
        case Struct():
            return value.type
        case Mapping():
            return "map[string]interface {}"
    return "[]interface {}"


# Comparing


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int():
            return "int"
        case float():
            return "float"
    raise Fault("invalid type for comparison")


def _compare(first: Any, second: Any) -> None:
    if _kind(first) != _kind(second):
        types = f"{type_name(first)} and {type_name(second)}"
        raise Fault(f"incompatible types for comparison: {types}")


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise Fault("missing argument for comparison")
    found = False
    for other in others:
        if first is None or other is None:
            found |= first is other
            continue
        _compare(first, other)
        found |= first == other
    return found


def _less(first: Any, second: Any) -> bool:
    _compare(first, second)
    if isinstance(first, bool):
        raise Fault("invalid type for comparison")
    return bool(first < second)


# Sequences


def _length(value: Any) -> int:
    if value is None:
        raise Fault("len of nil pointer")
    if not isinstance(value, (str, Mapping, Sequence)):
        raise Fault(f"len of type {type_name(value)}")
    return len(value.encode()) if isinstance(value, str) else len(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if value is None:
            raise Fault("index of untyped nil")
        if isinstance(value, Mapping):
            value = value.get(key)
            continue
        if not isinstance(value, (str, Sequence)):
            raise Fault(f"can't index item of type {type_name(value)}")
        values = value.encode() if isinstance(value, str) else value
        _check(key, len(values) - 1)
        value = values[key]
    return value


def _slice(value: Any, *ends: Any) -> Any:
    if value is None:
        raise Fault("slice of untyped nil")
    if not isinstance(value, (str, Sequence)):
        raise Fault(f"can't slice item of type {type_name(value)}")
    values = value.encode() if isinstance(value, str) else value
    for end in ends:
        _check(end, len(values))
    if len(ends) == 2 and ends[0] > ends[1]:
        raise Fault(f"invalid slice index: {ends[0]} > {ends[1]}")
    cut = values[slice(*(*ends, None)[:2])] if ends else values
    return cut.decode("utf-8", "replace") if isinstance(cut, bytes) else cut


def _check(index: Any, most: int) -> None:
    if not isinstance(index, int) or isinstance(index, bool):
        raise Fault(f"cannot index slice/array with type {type_name(index)}")
    if not 0 <= index <= most:
        raise Fault(f"index out of range: {index}")


# Text


def _print(*values: Any) -> str:
    """With a space between two that are both no text."""
    text = ""
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            text += " "
        text += _shown(value)
    return text


_VERB: Final = re.compile(r"%([+# 0-]*)([0-9]{0,4})(?:\.([0-9]{1,2}))?([a-zA-Z%])")


def _printf(pattern: str, *values: Any) -> str:
    """The verbs s, v, d, q, t and f."""
    left = list(values)

    def verb(match: re.Match[str]) -> str:
        flags, width, precision, letter = match.groups()
        if letter == "%":
            return "%"
        if not left:
            return f"%!{letter}(MISSING)"
        value = left.pop(0)
        if letter == "q" and isinstance(value, str):
            text = quote(value)
        elif letter == "f" and isinstance(value, float):
            text = f"{value:.{precision or 6}f}"
        elif letter in "svdt":
            text = _shown(value)
        else:
            return f"%!{letter}({type_name(value)}={_shown(value)})"
        fill = "0" if "0" in flags and letter in "df" else " "
        size = int(width or 0)
        return text.ljust(size) if "-" in flags else text.rjust(size, fill)

    return _VERB.sub(verb, pattern)


def _json(value: Any) -> str:
    text = dumps(dict(value) if isinstance(value, Struct) else value)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


_TYPESCRIPT: Final[Mapping[str, str]] = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


def _typescript(value: Any) -> str:
    """The type of a tool's argument, of its JSON Schema."""
    if not isinstance(value, Mapping):
        return "any"
    if each := value.get("anyOf"):
        return " | ".join(map(_typescript, each))
    types = value.get("type") or ()
    names = [types] if isinstance(types, str) else types
    return " | ".join(_TYPESCRIPT.get(name, "any") for name in names) or "any"


def _day(back: int) -> str:
    return (date.today() - timedelta(days=back)).isoformat()


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    # The first two are called in a way of their own.
    "and": true,
    "or": true,
    "not": lambda value: not true(value),
    "eq": _equal,
    "ne": lambda first, second: not _equal(first, second),
    "lt": _less,
    "le": lambda first, second: _less(first, second) or _equal(first, second),
    "gt": lambda first, second: not _less(first, second) and not _equal(first, second),
    "ge": lambda first, second: not _less(first, second),
    "len": _length,
    "index": _index,
    "slice": _slice,
    "print": _print,
    "println": lambda *values: " ".join(map(_shown, values)) + "\n",
    "printf": _printf,
    "json": _json,
    "currentDate": lambda *format: _day(0),
    "yesterdayDate": lambda *format: _day(1),
    "toTypeScriptType": _typescript,
}
