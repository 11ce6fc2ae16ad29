"""The project's JSON: text to values and back, stricter than `json` in both directions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from json.encoder import c_make_encoder, encode_basestring  # type: ignore[attr-defined]
from math import isinf
from typing import Final, NoReturn

from .types import JSON

__all__ = ["NotFinite", "TooDeep", "dumps", "dumps_bytes", "loads", "strict_decoder"]


class NotFinite(ValueError):
    """A number that is none in JSON (NaN, an infinity), or is out of Python's range."""


class TooDeep(ValueError):
    """More levels of nesting than Python can follow."""


_encoder: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False
)


def _encoding() -> Callable[[JSON], str]:
    if c_make_encoder is None:
        return _encoder.encode
    # `_encoder.encode` makes one of these for every value, which takes as long as its work.
    pieces = c_make_encoder(
        None, _encoder.default, encode_basestring, None, ":", ",", False, False, False
    )
    return lambda value: "".join(pieces(value, 0))


_encode: Final = _encoding()

# Line readers (httpx, str.splitlines) break at the first three; a lone surrogate has no UTF-8.
_ESCAPED: Final = re.compile("[\x85\u2028\u2029\ud800-\udfff]")


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def dumps(value: JSON) -> str:
    """`value` as compact JSON on one line, by any reader's idea of a line.

    Raises ValueError for NaN and the infinities, TypeError for what JSON has no word
    for, RecursionError for a value that is too deep or contains itself.
    """
    text = encode_basestring(value) if type(value) is str else _encode(value)
    return text if text.isascii() else _ESCAPED.sub(_escape, text)


def dumps_bytes(value: JSON) -> bytes:
    """`dumps`, in UTF-8."""
    return dumps(value).encode()


def _refuse_constant(name: str) -> NoReturn:
    raise NotFinite(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if isinf(number):
        raise NotFinite("a number is out of range")
    return number


def strict_decoder(
    pairs: Callable[[list[tuple[str, JSON]]], JSON] | None = None,
) -> json.JSONDecoder:
    """A decoder that raises `NotFinite` for NaN, the infinities and floats out of range.

    pairs: makes the value of an object of its keys and values.
    """
    return json.JSONDecoder(
        object_pairs_hook=pairs, parse_constant=_refuse_constant, parse_float=_finite
    )


_decode: Final = strict_decoder().decode


def loads(text: str) -> JSON:
    """The value of a JSON text, whose every number is finite: `dumps` takes it again.

    Raises ValueError for anything else: `json.JSONDecodeError` for what is no JSON text,
    `NotFinite` for a number, `TooDeep`.
    """
    try:
        return _decode(text)
    except RecursionError:
        raise TooDeep("the JSON is nested too deep") from None
    except (json.JSONDecodeError, NotFinite):
        raise
    except ValueError:
        # Python refuses integers of more than a few thousand digits.
        raise NotFinite("a number is out of range") from None
