"""A JSON value that is still being written, followed to its end."""

from __future__ import annotations

import re

__all__ = ["JsonScanner"]

_BLANK = " \t\r\n"
_DEEPEST = 128
_IN_STRING = re.compile(r'[^"\\\x00-\x1f]*')
_WORD = re.compile(r"[-+.0-9A-Za-z]*")
_WHOLE_WORD = re.compile(
    r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", re.ASCII
)
_CLOSES = {"{": "}", "[": "]"}


class JsonScanner:
    """Takes one JSON value in pieces of text.

    complete: the value has ended. A number at the top ends with the character behind it.
    broken: what came is no JSON, or is nested more than 128 deep. A control character
    within a string, such as the line feeds that models write there, is let pass.
    """

    def __init__(self) -> None:
        self.complete = False
        self.broken = False
        self._open: list[str] = []
        self._word = ""
        self._hex = 0
        # What comes next: a "value", an "item" (or the array's end), a "name", a "key" (or
        # the object's end), a "colon", a "comma" (or an end); or the rest of a "string",
        # of a "named" (the string is a key), an "escape" or a "word".
        self._expected = "value"
        self._string = "string"

    def feed(self, text: str) -> tuple[int, str]:
        """How many characters of the text are the value's, and these as strict JSON."""
        at, pieces = 0, list[str]()
        while at < len(text) and not (self.complete or self.broken):
            start = at
            if self._expected in ("string", "named"):
                at = self._rest_of_string(text, at, pieces)
            elif self._expected == "word":
                at = self._rest_of_word(text, at)
                pieces.append(text[start:at])
            else:
                self._structure(text[at])
                at += not self.broken
                pieces.append(text[start:at])
        return at, "".join(pieces)

    def _rest_of_string(self, text: str, at: int, pieces: list[str]) -> int:
        found = _IN_STRING.match(text, at)
        end = found.end() if found else at
        pieces.append(text[at:end])
        if end == len(text):
            return end
        if text[end] == '"':
            pieces.append('"')
            self._ended_value() if self._expected == "string" else self._expect("colon")
        elif text[end] == "\\":
            pieces.append("\\")
            self._string = self._expected
            self._expect("escape")
        else:
            pieces.append(f"\\u{ord(text[end]):04x}")
        return end + 1

    def _rest_of_word(self, text: str, at: int) -> int:
        found = _WORD.match(text, at)
        end = found.end() if found else at
        self._word += text[at:end]
        if end < len(text):
            if _WHOLE_WORD.fullmatch(self._word):
                self._ended_value()
            else:
                self.broken = True
        return end

    def _structure(self, char: str) -> None:
        if self._expected == "escape":
            self._escape(char)
            return
        if char in _BLANK:
            return
        match self._expected, char:
            case (("value" | "item"), '"'):
                self._expect("string")
            case (("value" | "item"), ("{" | "[")):
                self._open.append(char)
                self.broken = len(self._open) > _DEEPEST
                self._expect("key" if char == "{" else "item")
            case (("value" | "item"), _) if char == "-" or (char.isascii() and char.isalnum()):
                self._word = char
                self._expect("word")
            case (("key" | "name"), '"'):
                self._expect("named")
            case "colon", ":":
                self._expect("value")
            case "comma", ",":
                self._expect("name" if self._open[-1] == "{" else "value")
            case (("key" | "item" | "comma"), _) if char == _CLOSES[self._open[-1]]:
                self._open.pop()
                self._ended_value()
            case _:
                self.broken = True

    def _escape(self, char: str) -> None:
        if self._hex:
            self._hex -= 1
            self.broken = char not in "0123456789abcdefABCDEF"
        elif char == "u":
            self._hex = 4
        else:
            self.broken = char not in '"\\/bfnrt'
        if not self._hex:
            self._expect(self._string)

    def _expect(self, what: str) -> None:
        self._expected = what

    def _ended_value(self) -> None:
        self.complete = not self._open
        self._expect("comma")
