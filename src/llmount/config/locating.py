"""Where the values of a TOML text stand in it."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

__all__ = ["Path", "locate"]

Path: TypeAlias = tuple[str | int, ...]
"""Keys and numbers that lead to a value: `("models", 0, "name")`."""

_TOKEN: Final = re.compile(
    r'''(?P<string>"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?'{3,5}|"(?:\\.|[^"\\])*"|'[^']*')'''
    r"""|(?P<comment>\#[^\n]*)|(?P<end>\n)|(?P<mark>[\[\]{}=,.])|(?P<bare>[^\s\[\]{}=,.\#"']+)""",
    re.DOTALL,
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int

    @property
    def key(self) -> str:
        """What it says, as a part of a key."""
        return (
            str(tomllib.loads(f"key = {self.text}")["key"]) if self.kind == "string" else self.text
        )


def locate(text: str) -> dict[Path, int]:
    """The line, from 1, of each key, of each table's header and of each item of an array.

    text: TOML that `tomllib` has read, for nothing is checked here.
    """
    return _Walk(text).lines


class _Walk:
    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {(): 1}
        self._tokens = [*_tokens(text), _Token("end", "\n", text.count("\n") + 1)]
        self._at = 0
        self._arrays: Counter[Path] = Counter()
        table: Path = ()
        while self._at < len(self._tokens):
            token = self._next()
            if token.text == "[" and token.kind == "mark":
                table = self._header(token.line)
            elif token.kind != "end":
                self._at -= 1
                self._pair(table)

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _next(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _skip(self, text: str) -> bool:
        """Whether this mark comes next; it is passed then."""
        found = self._peek().kind == "mark" and self._peek().text == text
        self._at += found
        return found

    def _header(self, line: int) -> Path:
        of_array = self._skip("[")
        path = self._inside(self._key(()))
        if of_array:
            self._arrays[path] += 1
            self._place(path, line)
            path = (*path, self._arrays[path] - 1)
        self._place(path, line)
        while self._skip("]"):
            pass
        return path

    def _inside(self, path: Path) -> Path:
        """The same path, where what is above it in an array of tables is the last of them."""
        found: Path = ()
        for key in path:
            found = (
                (*found, self._arrays[found] - 1, key) if found in self._arrays else (*found, key)
            )
        return found

    def _key(self, table: Path) -> Path:
        path = (*table, self._next().key)
        while self._skip("."):
            path = (*path, self._next().key)
        return path

    def _pair(self, table: Path) -> None:
        line = self._peek().line
        path = self._key(table)
        for length in range(len(table) + 1, len(path) + 1):
            self._place(path[:length], line)
        self._skip("=")
        self._value(path)

    def _place(self, path: Path, line: int) -> None:
        self.lines.setdefault(path, line)

    def _value(self, path: Path) -> None:
        if self._skip("{"):
            while not self._closes("}"):
                self._pair(path)
        elif self._skip("["):
            number = 0
            while not self._closes("]"):
                self._place((*path, number), self._peek().line)
                self._value((*path, number))
                number += 1
        else:
            # A float and a date are several tokens.
            while self._peek().kind != "end" and self._peek().text not in (",", "]", "}"):
                self._next()

    def _closes(self, mark: str) -> bool:
        while self._peek().kind == "end" or self._peek().text == ",":
            self._next()
        return self._skip(mark)


def _tokens(text: str) -> Iterator[_Token]:
    line, seen = 1, 0
    for match in _TOKEN.finditer(text):
        line += text.count("\n", seen, match.start())
        seen = match.start()
        if match.lastgroup != "comment":
            yield _Token(str(match.lastgroup), match[0], line)
