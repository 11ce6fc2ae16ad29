"""Bytes to a JSON value that the rest of the code may trust.

Stricter than `jsontext.loads`, so that what is accepted can be validated, re-encoded and
passed on: UTF-8 only, no lone surrogate, a bounded depth.
"""

from __future__ import annotations

import json
import re

from .errors import MalformedBody
from .jsontext import NotFinite, TooDeep, loads
from .types import JSON

__all__ = ["MAX_DEPTH", "decode"]

MAX_DEPTH = 128
"""Levels of nesting. Deeper values are no message or schema that anybody means."""

_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


def decode(body: bytes, *, max_depth: int = MAX_DEPTH) -> JSON:
    """The JSON value in `body`. Raises `MalformedBody`, which says why and where."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedBody(
            f"invalid UTF-8 at byte {error.start}", reason="encoding", position=error.start
        ) from None
    try:
        value = loads(text)
    except json.JSONDecodeError as error:
        raise _no_json(text, error) from None
    except NotFinite as error:
        raise MalformedBody(str(error), reason="number") from None
    except TooDeep:
        raise _too_deep(max_depth) from None
    # A value cannot be deeper than it has brackets, so most bodies need no walk.
    if body.count(b"[") + body.count(b"{") > max_depth:
        _check_depth(value, max_depth)
    if _SURROGATE_ESCAPE.search(body):
        _check_surrogates(value)
    return value


def _no_json(text: str, error: json.JSONDecodeError) -> MalformedBody:
    if not text or text.isspace():
        return MalformedBody("the request body is empty", reason="empty")
    truncated = not text[error.pos :].strip() or error.msg.startswith("Unterminated string")
    return MalformedBody(
        f"{error.msg} at character {error.pos}",
        reason="truncated" if truncated else "syntax",
        position=error.pos,
        found=text[error.pos : error.pos + 1],
    )


def _too_deep(max_depth: int) -> MalformedBody:
    return MalformedBody(f"nested deeper than {max_depth} levels", reason="depth")


def _check_depth(value: JSON, max_depth: int) -> None:
    level = [value]
    for _ in range(max_depth):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise _too_deep(max_depth)


def _check_surrogates(value: JSON) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedBody("a string has half a surrogate pair", reason="encoding") from None
