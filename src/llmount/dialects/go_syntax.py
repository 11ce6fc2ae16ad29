"""JSON as Go's decoder scans it: where the first value ends, or what is wrong and how Go says it.

Slow and exact; it is asked only about a body that a faster decoder did not like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NoReturn

from ..decoding import MAX_DEPTH
from ..errors import MalformedBody

__all__ = ["quote", "quote_character", "scan"]

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_DIGITS: Final = re.compile(r"[0-9]+")
_PLAIN: Final = re.compile(r'[^"\\\x00-\x1f]*')
_LITERALS: Final = {"t": "true", "f": "false", "n": "null"}

_VALUE: Final = "looking for beginning of value"
_KEY: Final = "looking for beginning of object key string"


def scan(body: bytes) -> tuple[int, int]:
    """Where the first value of the body begins and ends; what comes after it does not matter.

    Raises `MalformedBody` with Go's words.
    """
    scanner = _Scanner(body)
    start = scanner.position
    scanner.value()
    return start, scanner.position


class _Scanner:
    # Go names the byte that is wrong as if it were a character of Latin-1.
    def __init__(self, body: bytes) -> None:
        self.text = body.decode("latin-1")
        self.position = 0
        self._space()
        if not self._next():
            raise MalformedBody("missing request body", reason="empty")

    def _next(self) -> str:
        return self.text[self.position : self.position + 1]

    def _space(self) -> str:
        """The next character that is no white space; empty at the end."""
        match = _SPACE.match(self.text, self.position)
        self.position = match.end() if match else self.position
        return self._next()

    def _fail(self, context: str, *, reason: str = "syntax") -> NoReturn:
        found = self._next()
        if not found:
            raise MalformedBody("unexpected EOF", reason="truncated", position=self.position)
        raise MalformedBody(
            f"invalid character {quote_character(found)} {context}",
            reason=reason,
            position=self.position,
            found=found,
        )

    def value(self) -> None:
        """One value, nested ones by a stack of what is open."""
        opened: list[str] = []
        while True:
            found = self._space()
            if found in ("{", "["):
                if len(opened) == MAX_DEPTH:
                    self._fail("exceeded max depth", reason="depth")
                opened.append(found)
                self.position += 1
                if self._space() == ("}" if found == "{" else "]"):
                    self._close(opened)
                elif found == "{":
                    self._key()
                    continue
                else:
                    continue
            else:
                self._scalar(found)
            # Behind a value: what is open goes on, or ends too.
            while opened:
                found = self._space()
                if found == ",":
                    self.position += 1
                    if opened[-1] == "{":
                        self._key()
                    break
                if found != ("}" if opened[-1] == "{" else "]"):
                    what = "object key:value pair" if opened[-1] == "{" else "array element"
                    self._fail(f"after {what}")
                self._close(opened)
            else:
                return

    def _close(self, opened: list[str]) -> None:
        opened.pop()
        self.position += 1

    def _key(self) -> None:
        if self._space() != '"':
            self._fail(_KEY)
        self._string()
        if self._space() != ":":
            self._fail("after object key")
        self.position += 1

    def _scalar(self, found: str) -> None:
        if found == '"':
            self._string()
        elif found in _LITERALS:
            word = _LITERALS[found]
            for expected in word:
                if self._next() != expected:
                    self._fail(f"in literal {word} (expecting {quote_character(expected)})")
                self.position += 1
        elif found and found in "-0123456789":
            self._number()
        else:
            self._fail(_VALUE)

    def _string(self) -> None:
        self.position += 1
        while True:
            match = _PLAIN.match(self.text, self.position)
            self.position = match.end() if match else self.position
            if self._next() == '"':
                self.position += 1
                return
            if self._next() != "\\":
                self._fail("in string literal")
            self.position += 1
            if self._next() == "u":
                self.position += 1
                for _ in range(4):
                    if self._next() not in set("0123456789abcdefABCDEF"):
                        self._fail("in \\u hexadecimal character escape")
                    self.position += 1
            elif self._next() in set('"\\/bfnrt'):
                self.position += 1
            else:
                self._fail("in string escape code")

    def _number(self) -> None:
        self._skip("-")
        if not self._skip("0"):
            self._digits("in numeric literal")
        if self._skip("."):
            self._digits("after decimal point in numeric literal")
        if self._skip("eE"):
            self._skip("+-")
            self._digits("in exponent of numeric literal")

    def _skip(self, characters: str) -> bool:
        found = self._next()
        if not found or found not in characters:
            return False
        self.position += 1
        return True

    def _digits(self, context: str) -> None:
        match = _DIGITS.match(self.text, self.position)
        if match is None:
            self._fail(context)
        self.position = match.end()


# Go's quotes

_ESCAPES: Final[Mapping[str, str]] = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


def quote(text: str) -> str:
    """As `%q` and `strconv.Quote` write it."""
    return '"' + "".join(map(_escaped, text)) + '"'


def quote_character(character: str) -> str:
    if character in "'\"":
        return "'\\''" if character == "'" else "'\"'"
    return f"'{_escaped(character)}'"


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    number = ord(character)
    if number < 0x20 or number == 0x7F:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
