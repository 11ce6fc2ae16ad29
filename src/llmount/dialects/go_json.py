"""JSON as Go's `encoding/json` reads it into the structs behind a document.

Keys are matched in any case, `null` is as good as absent, the last of several equal keys
counts, what comes after the first value is not looked at, and bytes that are no UTF-8 become
U+FFFD. Go names its types in its errors, so a schema tells with `x-go-type` what does not
follow from its other keywords.
"""

from __future__ import annotations

import base64
import codecs
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import isinf
from typing import Final

from ..contract import Operation
from ..decoding import MAX_DEPTH, decode
from ..errors import BadRequest, InvalidRequest
from ..jsontext import strict_decoder
from ..types import JSON
from . import go_values
from .go_syntax import scan
from .go_types import GoType, folded, go_type

__all__ = ["GoReader"]


class GoReader:
    """Reads the bodies of one operation."""

    def __init__(self, operation: Operation) -> None:
        assert operation.body is not None
        self._schema = operation.body
        self._is_valid = operation.body.is_valid
        self._type = go_type(operation.body)

    def __call__(self, body: bytes) -> tuple[dict[str, JSON], bool]:
        """The object in `body`, by the document's names, and whether its schema allows it.

        Of the right types it is in any case. Raises `MalformedBody` for what is no JSON,
        `BadRequest` for a wrong type; both in Go's words.
        """
        try:
            value = _quickly(body)
        except (ValueError, RecursionError):
            value = None
        if type(value) is dict and self._is_valid(value) and _is_plain(value, self._type):
            return value, True
        if len(body) > _MOST_EXACT:
            return self._strictly(body), True
        value = self._exactly(body)
        return value, self._is_valid(value)

    def _strictly(self, body: bytes) -> dict[str, JSON]:
        """As any other dialect reads it, in a time that no sender can stretch."""
        value: dict[str, JSON] = decode(body)
        if not self._is_valid(value):
            raise InvalidRequest(*self._schema.violations(value))
        if not _is_plain(value, self._type):
            raise BadRequest(_NOT_PLAIN)
        return value

    def _exactly(self, body: bytes) -> dict[str, JSON]:
        start, end = scan(body)
        text = body[start:end].decode("utf-8", "go")
        place = _Place()
        bound = _bind(_with_pairs(text), self._type, place)
        place.settle()
        return {} if bound is None else bound


_MOST_EXACT: Final = 128 * 1024
"""Bytes. Reading exactly takes a microsecond or two a byte, which none may cost."""

_NOT_PLAIN: Final = (
    f"a body of more than {_MOST_EXACT} bytes must have its names in their own case, integers "
    "without a fraction, images as texts, no null in an array and a good keep_alive"
)

# Most bodies need no exactness: what follows finds out whether one does.

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_SPACE: Final = re.compile(r"[ \t\r\n]*")


def _quickly(body: bytes) -> JSON:
    """Raises ValueError for a body that wants a closer look."""
    text = body.decode()
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH or _SURROGATE.search(body):
        raise ValueError
    start = _SPACE.match(text)
    value, _ = _without_repetition(text, start.end() if start else 0)
    return value


def _unrepeated(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


_without_repetition = strict_decoder(_unrepeated).raw_decode


def _is_plain(value: JSON, go: GoType) -> bool:
    """Whether Go reads a value that the schema allows just as it stands."""
    if value is None:
        return True
    if go.fields:
        if value.keys() <= go.shallow:
            return True
        for key, each in value.items():
            inner = go.fields.get(key)
            if inner is None:
                if folded(key) in go.folded:
                    return False
            elif inner.deep and not _is_plain(each, inner):
                return False
        return True
    if go.item is None:
        return _CHECKS[go.kind](value)
    if go.kind == "slice" and None in value and _zero(go.item) is not None:
        return False
    if go.item.kind == "int":
        return float not in set(map(type, value))
    if go.item.kind == "string":
        return True
    each_item = value if go.kind == "slice" else value.values()
    return all(_is_plain(each, go.item) for each in each_item)


def _accepted(read: Callable[[JSON], object]) -> Callable[[JSON], bool]:
    def check(value: JSON) -> bool:
        try:
            read(value)
        except BadRequest:
            return False
        return True

    return check


_CHECKS: Final[Mapping[str, Callable[[JSON], bool]]] = {
    "int": lambda value: type(value) is not float,
    # An array of numbers becomes a text.
    "image": lambda value: type(value) is str,
    "duration": _accepted(go_values.seconds),
    "names": lambda value: type(value) is str or None not in value,
}
"""What a schema cannot tell."""


# Reading exactly


class _Pairs(list[tuple[str, JSON]]):
    """An object, with its keys as often as they stand there."""


class _Number(str):
    """A number's text."""


_with_pairs = json.JSONDecoder(
    object_pairs_hook=_Pairs, parse_int=_Number, parse_float=_Number
).decode


def _replace_byte(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\ufffd", error.start + 1


codecs.register_error("go", _replace_byte)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands, as Go tells it.

    own: inside of a type that reads itself, where Go no longer names the innermost struct.
    faults: the wrong types so far. Go goes on after one and tells the first at the end,
    but what a type that reads itself has to say ends it all.
    """

    struct: str = ""
    path: tuple[str, ...] = ()
    own: bool = False
    faults: list[BadRequest] = field(default_factory=list)

    def settle(self) -> None:
        """Raise the first fault."""
        if self.faults:
            raise self.faults[0]

    def wrong(self, value: JSON, go_type: str) -> None:
        kind = next(name for kind, name in _KINDS.items() if isinstance(value, kind))
        if isinstance(value, _Number) and go_type in _NUMBERS:
            kind = f"number {value[:100]}"
        into = f"struct field {self.struct}.{'.'.join(self.path)}" if self.path else "value"
        fault = BadRequest(
            f"json: cannot unmarshal {kind} into Go {into} of type {go_type}",
            param=".".join(self.path) or None,
        )
        self.faults.append(fault)


_KINDS: Final[Mapping[type, str]] = {
    bool: "bool",
    _Number: "number",
    str: "string",
    _Pairs: "object",
    list: "array",
}
_NUMBERS: Final = ("int", "int32", "uint8", "float64")
_BITS: Final[Mapping[str, tuple[int, int]]] = {
    "int": (-(2**63), 2**63),
    "int32": (-(2**31), 2**31),
    "uint8": (0, 2**8),
}

Binder = Callable[[JSON, GoType, _Place], JSON]


def _bind(value: JSON, go: GoType, place: _Place) -> JSON:
    """The value, None for null and for a fault of `place`. Raises one that ends it all."""
    return None if value is None else _BINDERS[go.kind](value, go, place)


def _struct(value: JSON, go: GoType, place: _Place) -> JSON:
    if not isinstance(value, _Pairs):
        return place.wrong(value, go.name)
    struct = place.struct if place.own else go.name.rpartition(".")[2]
    found: dict[str, JSON] = {}
    for key, each in value:
        key = _text(key)
        name = key if key in go.fields else go.folded.get(folded(key), "")
        if not name:
            found |= _ignored(key, each)
            continue
        inner = replace(place, struct=struct, path=(*place.path, name))
        bound = _bind(each, go.fields[name], inner)
        if bound is not None:
            found[name] = bound
    return found


def _ignored(key: str, value: JSON) -> dict[str, JSON]:
    """A field that Go does not know, as far as it can be kept; engines may."""
    place = _Place()
    found = _any(value, _ANY, place)
    return {} if place.faults else {key: found}


def _message(value: JSON, go: GoType, place: _Place) -> JSON:
    inner = replace(place, own=True, faults=[])
    message = _struct(value, replace(go, name="api.Alias"), inner)
    inner.settle()
    if "role" in message:
        message["role"] = message["role"].lower()
    return message


def _slice(value: JSON, go: GoType, place: _Place) -> JSON:
    if not isinstance(value, list) or isinstance(value, _Pairs):
        return place.wrong(value, go.name)
    assert go.item is not None
    return [_bind(_zero(go.item) if each is None else each, go.item, place) for each in value]


def _zero(go: GoType) -> JSON:
    """What Go has for null in an array."""
    zeros = {"struct": _Pairs(), "message": _Pairs(), "int": _Number("0"), "string": ""}
    return zeros.get(go.kind)


def _map(value: JSON, go: GoType, place: _Place) -> JSON:
    if not isinstance(value, _Pairs):
        return place.wrong(value, go.name)
    return _any(value, _ANY, place)


def _ordered(value: JSON, go: GoType, place: _Place) -> JSON:
    if not isinstance(value, _Pairs):
        # What the library says that Ollama reads these with.
        raise BadRequest(
            "Value looks like object, but can't find closing '}' symbol",
            param=".".join(place.path),
        )
    item = go.item or _ANY
    inner = replace(place, own=True, faults=[])
    found = {_text(key): _bind(each, item, inner) for key, each in value}
    inner.settle()
    return found


def _string(value: JSON, go: GoType, place: _Place) -> JSON:
    if not isinstance(value, str) or isinstance(value, _Number):
        return place.wrong(value, go.name)
    return _text(value)


def _bool(value: JSON, go: GoType, place: _Place) -> JSON:
    if not isinstance(value, bool):
        return place.wrong(value, go.name)
    return value


def _int(value: JSON, go: GoType, place: _Place) -> JSON:
    lowest, beyond = _BITS[go.name]
    if isinstance(value, _Number) and re.fullmatch("-?[0-9]{1,20}", value):
        number = int(value)
        if lowest <= number < beyond:
            return number
    return place.wrong(value, go.name)


def _any(value: JSON, go: GoType, place: _Place) -> JSON:
    if isinstance(value, _Number):
        number = float(value)
        if isinf(number):
            return place.wrong(value, "float64")
        return int(value) if re.fullmatch("-?[0-9]+", value) else number
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, _Pairs):
        return {_text(key): _any(each, go, place) for key, each in value}
    if isinstance(value, list):
        return [_any(each, go, place) for each in value]
    return value


def _names(value: JSON, go: GoType, place: _Place) -> JSON:
    if isinstance(value, str) and not isinstance(value, _Number):
        return _text(value)
    inner = replace(place, faults=[])
    found = _slice(value, _STRINGS, inner)
    inner.settle()
    return found


def _image(value: JSON, go: GoType, place: _Place) -> JSON:
    if isinstance(value, list) and not isinstance(value, _Pairs):
        # Go takes the bytes as numbers, too.
        numbers = _slice(value, _BYTES, place)
        return base64.b64encode(bytes(number or 0 for number in numbers)).decode()
    text = _string(value, go, place)
    try:
        go_values.image(text or "")
    except BadRequest as fault:
        place.faults.append(fault)
    return text


def _duration(value: JSON, go: GoType, place: _Place) -> JSON:
    inner = replace(place, faults=[])
    found = _any(value, _ANY, inner)
    inner.settle()
    go_values.seconds(found)
    return found


def _think(value: JSON, go: GoType, place: _Place) -> JSON:
    # A number's text is a string here, but not there.
    return go_values.think(0 if isinstance(value, _Number) else _any(value, _ANY, place))


_BINDERS: Final[Mapping[str, Binder]] = {
    "any": _any,
    "bool": _bool,
    "duration": _duration,
    "image": _image,
    "int": _int,
    "map": _map,
    "message": _message,
    "names": _names,
    "ordered": _ordered,
    "slice": _slice,
    "string": _string,
    "struct": _struct,
    "think": _think,
}

_ANY: Final = GoType("any", "interface {}")
_BYTES: Final = GoType("slice", "api.ImageData", item=GoType("int", "uint8"))
_STRINGS: Final = GoType("slice", "[]string", item=GoType("string", "string"))

_LONE: Final = re.compile("[\ud800-\udfff]")


def _text(text: str) -> str:
    """Half a surrogate pair is no character."""
    return str(_LONE.sub("\ufffd", text))
