"""The source of one of Go's templates as a tree of nodes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from .go_syntax import quote
from .go_template_functions import FUNCTIONS, TemplateError

__all__ = ["Branch", "Jump", "Node", "Operand", "Parser", "Pipe"]


# The tree


@dataclass(slots=True)
class Operand:
    """kind: "dot", "field", "variable", "constant", "function" or "pipe".

    value: of a constant, else the name or the pipe. path: the fields that follow.
    """

    kind: str
    value: Any
    path: tuple[str, ...]
    position: int
    source: str


@dataclass(slots=True)
class Pipe:
    """names: the variables that get the value. declares: rather than assigns."""

    names: list[str]
    declares: bool
    commands: list[list[Operand]]


@dataclass(slots=True)
class Branch:
    """kind: "if", "with" or "range"."""

    kind: str
    pipe: Pipe
    body: list[Node]
    orelse: list[Node]


@dataclass(slots=True)
class Jump:
    kind: str


Node: TypeAlias = "str | Pipe | Branch | Jump"
"""A str is text."""


# Parsing

_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    | (?P<string>"(?:[^"\\\n]|\\[^\n])*"|`[^`]*`)
    | (?P<character>'(?:[^'\\\n]|\\[^\n])+')
    | (?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|[0-9][0-9_]*(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?))
    | (?P<field>(?:\.[A-Za-z_]\w*)+)
    | (?P<dot>\.)
    | (?P<variable>\$\w*(?:\.[A-Za-z_]\w*)*)
    | (?P<word>[A-Za-z_]\w*)
    | (?P<declare>:=) | (?P<assign>=) | (?P<bar>\|) | (?P<comma>,) | (?P<open>\()
    | (?P<close>\)(?:\.[A-Za-z_]\w*)*)""",
    re.VERBOSE,
)
_LEFT: Final = re.compile(r"\{\{(?:-(?=[ \t\r\n]))?")
_RIGHT: Final = re.compile(r"[ \t\r\n]+-\}\}|\}\}")
_COMMENT: Final = re.compile(r"[ \t\r\n]*/\*.*?\*/(?=[ \t\r\n]+-\}\}|\}\})", re.DOTALL)
_BLANK: Final = " \t\r\n"
_OPENING: Final = ("if", "with", "range")


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


class Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.position = 0
        self.trim = False
        self.tokens: list[_Token] = []
        self.variables: list[str] = ["$"]
        self.ranges = 0

    def fail(self, message: str) -> TemplateError:
        line = self.source.count("\n", 0, min(self.position, len(self.source))) + 1
        return TemplateError(f"template: :{line}: {message}")

    def parse(self) -> list[Node]:
        nodes, ending = self.nodes()
        if ending is not None:
            raise self.fail(f"unexpected {{{{{ending}}}}}")
        return nodes

    def nodes(self) -> tuple[list[Node], str | None]:
        """The nodes up to an `else` or `end`, with that; None at the end of the template."""
        nodes: list[Node] = []
        while True:
            text, begins = self.text()
            if text:
                nodes.append(text)
            if not begins:
                return nodes, None
            if not self.action():
                continue
            first = self.tokens[0].text if self.tokens and self.tokens[0].kind == "word" else ""
            if first in ("else", "end"):
                return nodes, first
            if first in _OPENING:
                nodes.append(self.branch())
            elif first in ("break", "continue"):
                if not self.ranges:
                    raise self.fail(f"{{{{{first}}}}} outside {{{{range}}}}")
                nodes.append(Jump(first))
            elif first in ("define", "template", "block"):
                raise self.fail(f"{{{{{first}}}}} is not supported")
            else:
                nodes.append(self.pipe("command"))

    def text(self) -> tuple[str, bool]:
        """The text up to the next action, and whether there is one."""
        left = _LEFT.search(self.source, self.position)
        end = left.start() if left else len(self.source)
        text = self.source[self.position : end]
        if self.trim:
            text = text.lstrip(_BLANK)
        if left and left[0].endswith("-"):
            text = text.rstrip(_BLANK)
        self.position = left.end() if left else end
        return text, left is not None

    def action(self) -> bool:
        """Read the tokens of an action; False for a comment."""
        self.tokens = []
        comment = _COMMENT.match(self.source, self.position)
        if comment:
            self.position = comment.end()
        while (right := _RIGHT.match(self.source, self.position)) is None:
            token = _TOKEN.match(self.source, self.position)
            if token is None or token.lastgroup is None:
                raise self.fail(self.unlexed())
            if token.lastgroup != "space":
                self.tokens.append(_Token(token.lastgroup, token[0], token.start()))
            self.position = token.end()
        self.position = right.end()
        self.trim = right[0] != "}}"
        return comment is None

    def unlexed(self) -> str:
        rest = self.source[self.position :]
        if not rest:
            return "unclosed action"
        if rest[0] in "\"'`":
            names = {'"': "quoted string", "'": "character constant", "`": "raw quoted string"}
            return f"unterminated {names[rest[0]]}"
        if rest.startswith("/*"):
            return "unclosed comment"
        return f"unexpected {quote(rest[0])} in operand"

    def branch(self) -> Branch:
        kind = self.tokens.pop(0).text
        known = len(self.variables)
        pipe = self.pipe(kind)
        self.ranges += kind == "range"
        body, ending = self.nodes()
        self.ranges -= kind == "range"
        orelse: list[Node] = []
        if ending == "else":
            self.tokens.pop(0)
            nested = self.tokens[0].text if self.tokens else ""
            if nested and nested == kind != "range":
                # `else if` and `else with` share the end of what they belong to.
                orelse, ending = [self.branch()], "end"
            elif nested:
                raise self.fail(f"unexpected <{nested}> in else")
            else:
                orelse, ending = self.nodes()
        if ending is None:
            raise self.fail("unexpected EOF")
        if ending == "else":
            raise self.fail("expected end; found {{else}}")
        del self.variables[known:]
        return Branch(kind, pipe, body, orelse)

    def pipe(self, context: str, *, nested: bool = False) -> Pipe:
        names, declares = ([], False) if nested else self.declaration(context)
        commands: list[list[Operand]] = [[]]
        while self.tokens:
            token = self.tokens.pop(0)
            if token.kind == "close":
                if not nested:
                    raise self.fail("unexpected right paren")
                self.tokens.insert(0, token)
                break
            if token.kind == "bar":
                if not commands[-1]:
                    raise self.fail(f"missing value for {context}")
                commands.append([])
            else:
                commands[-1].append(self.operand(token))
        if len(commands) > 1 and not commands[-1]:
            # Go does not mind a bar at the end.
            commands.pop()
        if not commands[-1]:
            raise self.fail(f"missing value for {context}")
        for command in commands[1:]:
            if command[0].kind not in ("function", "field", "variable"):
                raise self.fail(f"non executable command in pipeline stage {len(commands)}")
        if declares:
            self.variables.extend(names)
        return Pipe(names, declares, commands)

    def declaration(self, context: str) -> tuple[list[str], bool]:
        kinds = tuple(token.kind for token in self.tokens[:4])
        for shape in (("variable",), ("variable", "comma", "variable")):
            count = len(shape)
            if kinds[:count] != shape or kinds[count : count + 1] not in _SETTING:
                continue
            if count > 1 and context != "range":
                raise self.fail(f"too many declarations in {context}")
            names = [token.text for token in self.tokens[:count:2]]
            declares = kinds[count] == "declare"
            del self.tokens[: count + 1]
            for name in names if not declares else ():
                self.known(name)
            return names, declares
        return [], False

    def known(self, name: str) -> None:
        if name not in self.variables:
            raise self.fail(f"undefined variable {quote(name)}")

    def operand(self, token: _Token) -> Operand:
        kind, text, at = token.kind, token.text, token.position
        if kind == "open":
            pipe = self.pipe("parenthesized pipeline", nested=True)
            if not self.tokens:
                raise self.fail("unclosed left paren")
            close = self.tokens.pop(0)
            source = self.source[at : close.position + len(close.text)]
            return Operand("pipe", pipe, tuple(close.text.split(".")[1:]), at, source)
        if kind == "field":
            return Operand("field", None, tuple(text.split(".")[1:]), at, text)
        if kind == "dot":
            return Operand("dot", None, (), at, text)
        if kind == "variable":
            name, *path = text.split(".")
            self.known(name)
            return Operand("variable", name, tuple(path), at, text)
        if kind == "word" and text not in _WORDS:
            if text not in FUNCTIONS:
                raise self.fail(f"function {quote(text)} not defined")
            return Operand("function", text, (), at, text)
        if kind in ("word", "string", "character", "number"):
            return Operand("constant", self.constant(token), (), at, text)
        raise self.fail(f"unexpected {quote(text)} in operand")

    def constant(self, token: _Token) -> Any:
        text = token.text
        if token.kind == "word":
            return _WORDS[text]
        try:
            if token.kind == "number":
                return _number(text)
            if text.startswith("`"):
                return text[1:-1]
            value = json.loads('"' + text[1:-1].replace("\\'", "'") + '"')
            return ord(value) if token.kind == "character" else value
        except (ValueError, TypeError):
            what = "bad number syntax" if token.kind == "number" else "invalid syntax"
            raise self.fail(f"{what}: {quote(text[:_LONGEST_NUMBER])}") from None


def _number(text: str) -> int | float:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError
    if "x" in text.lower() or not re.search("[.eE]", text):
        return int(text, 0)
    number = float(text)
    if math.isinf(number):
        raise ValueError
    return number


_WORDS: Final[Mapping[str, Any]] = {"true": True, "false": False, "nil": None}
_LONGEST_NUMBER: Final = 40
_SETTING: Final = (("declare",), ("assign",))
