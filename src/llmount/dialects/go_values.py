"""Values that Ollama's fields read from JSON in ways of their own: durations, bytes, think."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from ..errors import BadRequest
from ..types import JSON
from .go_syntax import quote

__all__ = ["duration", "image", "seconds", "think"]


# Durations

_UNITS: Final[Mapping[str, int]] = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PIECE: Final = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")
_MOST: Final = 2**63
_MOST_DIGITS: Final = 20
_MOST_SHOWN: Final = 200


def duration(text: str) -> int:
    """The nanoseconds of Go's notation, such as `1h30m`. Raises `BadRequest` in Go's words."""
    negative, start = text[:1] == "-", 1 if text[:1] in ("-", "+") else 0
    if text[start:] == "0":
        return 0
    total = 0
    while True:
        piece = _PIECE.match(text, start)
        assert piece is not None
        whole, fraction, unit = piece[1], piece[2], piece[3]
        if not (whole or fraction):
            raise _bad_duration("invalid duration", text)
        if not unit:
            raise _bad_duration("missing unit in duration", text)
        if unit not in _UNITS:
            raise _bad_duration(f"unknown unit {_quoted(unit[:_MOST_SHOWN])} in duration", text)
        digits = whole.lstrip("0")
        # Not even counted, what no duration has.
        total += int(digits or 0) * _UNITS[unit] if len(digits) < _MOST_DIGITS else _MOST + 1
        total += int(float(f"0.{fraction or 0}") * _UNITS[unit])
        if total > _MOST:
            raise _bad_duration("invalid duration", text)
        start = piece.end()
        if start == len(text):
            break
    if not negative and total == _MOST:
        raise _bad_duration("invalid duration", text)
    return -total if negative else total


def _bad_duration(what: str, text: str) -> BadRequest:
    return BadRequest(f"time: {what} {_quoted(text[:_MOST_SHOWN])}", param="keep_alive")


def _quoted(text: str) -> str:
    """As Go's package time quotes: byte by byte where it is not ASCII."""
    quoted = ""
    for character in text:
        if character in '"\\':
            quoted += "\\" + character
        elif " " <= character < "\x80":
            quoted += character
        else:
            quoted += "".join(f"\\x{byte:02x}" for byte in character.encode())
    return f'"{quoted}"'


_KINDS: Final[Mapping[type, str]] = {
    bool: "bool",
    dict: "map[string]interface {}",
    list: "[]interface {}",
}


def seconds(value: JSON) -> float | None:
    """A `keep_alive` in seconds; negative is for ever. Raises `BadRequest`."""
    if isinstance(value, str):
        return duration(value) / 10**9
    if kind := _KINDS.get(type(value)):
        raise BadRequest(f"Unsupported type: '{kind}'", param="keep_alive")
    found: float | None = value
    return found


# Bytes

_ALPHABET: Final = re.compile(rb"[A-Za-z0-9+/\r\n]*")
_LINE_ENDS: Final = re.compile(rb"[\r\n]*")


def image(text: str) -> bytes:
    """The bytes of base64 as Go reads it. Raises `BadRequest` with the place of the fault."""
    # Python takes more padding than belongs there, and four further signs of it at that.
    if len(text) % 4 == 0 and not text.endswith("==="):
        with suppress(ValueError):
            return base64.b64decode(text, validate=True)
    data = text.encode()
    if (position := _fault(data)) is not None:
        raise BadRequest(f"illegal base64 data at input byte {position}", param="images")
    return binascii.a2b_base64(data)


def _fault(data: bytes) -> int | None:
    """Where Go finds base64 to be wrong: padding is required, line ends do not matter."""
    good = _ALPHABET.match(data)
    assert good is not None
    end = good.end()
    digits = len(good[0].translate(None, b"\r\n")) % 4
    if end == len(data):
        return end - digits if digits else None
    if data[end : end + 1] != b"=" or digits < 2:
        return end
    position = _behind(data, end + 1)
    if digits == 2:
        if position == len(data):
            return position
        if data[position : position + 1] != b"=":
            return position - 1
        position = _behind(data, position + 1)
    return position if position < len(data) else None


def _behind(data: bytes, position: int) -> int:
    """Past the line ends there."""
    match = _LINE_ENDS.match(data, position)
    return match.end() if match else position


# Think

_EFFORTS: Final = ("high", "medium", "low", "max")
_ALLOWED: Final = '"high", "medium", "low", "max", true, or false'


def think(value: JSON) -> bool | str:
    """Raises `BadRequest` for what is neither a bool nor an effort."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise BadRequest(f"think must be a boolean or string ({_ALLOWED})", param="think")
    if value not in _EFFORTS:
        raise BadRequest(
            f"invalid think value: {quote(value[:200])} (must be {_ALLOWED})", param="think"
        )
    return value
