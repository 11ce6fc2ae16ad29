"""Go's `text/template`, as far as the templates of Ollama's models use it.

`{{ .Field }}`, `{{ $variable }}`, `if`, `else`, `with`, `range`, `break`, `continue`, `end`,
pipelines and parentheses, trim markers, comments, and the functions in `go_template_functions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from .go_syntax import quote
from .go_template_functions import (
    FUNCTIONS,
    Fault,
    Struct,
    TemplateError,
    Tools,
    printed,
    true,
    type_name,
)
from .go_template_parse import Branch, Jump, Node, Operand, Parser, Pipe

__all__ = ["Template", "TemplateError"]


class Template:
    """A template, parsed. Raises `TemplateError` in Go's words."""

    def __init__(self, source: str) -> None:
        try:
            self.nodes = Parser(source).parse()
        except RecursionError:
            raise TemplateError("template: nested too deep") from None
        self.source = source
        self.names = {name.lower() for name in _names(self.nodes)}
        if self.names.isdisjoint({"messages", "response"}):
            self.nodes.append(Pipe([], False, [[Operand("field", None, ("Response",), 0, "")]]))

    def prompt(self, values: Mapping[str, Any]) -> str:
        """What the model is to continue: with what is behind `.Response` cut off.

        values: by Ollama's names. Those that the kind of the template has no use for do
        not reach it: `Prompt` and `Messages` exclude each other, and a `Suffix` both.
        """
        if values.get("Suffix"):
            return self.render(values)
        if "messages" in self.names:
            return self.render({**_without(values, "Prompt"), "Tools": Tools()})
        nodes, _ = _cut(self.nodes)
        return _Run(self.source, _without(values, "Messages")).render(nodes)

    def render(self, values: Mapping[str, Any]) -> str:
        """Raises `TemplateError`."""
        return _Run(self.source, values).render(self.nodes)


def _without(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return {key: value for key, value in values.items() if key != name}


def _names(nodes: Sequence[Node]) -> set[str]:
    """The fields that the nodes mention."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, Pipe):
            found |= _pipe_names(node)
        elif isinstance(node, Branch):
            found |= _pipe_names(node.pipe) | _names(node.body) | _names(node.orelse)
    return found


def _pipe_names(pipe: Pipe) -> set[str]:
    found: set[str] = set()
    for command in pipe.commands:
        for operand in command:
            if operand.kind in ("field", "variable"):
                found |= set(operand.path)
            elif operand.kind == "pipe" and not operand.path:
                found |= _pipe_names(operand.value)
    return found


def _cut(nodes: Sequence[Node]) -> tuple[list[Node], bool]:
    """The nodes up to `.Response`, and whether that was met."""
    kept: list[Node] = []
    for node in nodes:
        met = False
        if isinstance(node, Branch):
            body, met = _cut(node.body)
            orelse, also = ([], False) if met else _cut(node.orelse)
            node, met = Branch(node.kind, node.pipe, body, orelse), met or also
        elif isinstance(node, Pipe):
            met = any(
                operand.kind == "field" and "Response" in operand.path
                for command in node.commands
                for operand in command
            )
        kept.append(node)
        if met:
            return kept, True
    return kept, False


# Running


class _Leave(Exception):
    """What `break` and `continue` do."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


_STEPS: Final = 100_000
_LENGTH: Final = 64 * 2**20
_TOO_MUCH: Final = "template: it does or writes too much"


class _Run:
    """What a template may do is bounded, because everybody can send one."""

    def __init__(self, source: str, values: Mapping[str, Any]) -> None:
        self.source = source
        self.steps = 0
        self.length = 0
        self.written: list[str] = []
        self.variables: list[tuple[str, Any]] = [("$", values)]

    def render(self, nodes: Sequence[Node]) -> str:
        self.nodes(nodes, self.variables[0][1])
        return "".join(self.written)

    def write(self, text: str) -> None:
        self.length += len(text)
        self.written.append(text)
        self.step()

    def step(self) -> None:
        self.steps += 1
        if self.steps > _STEPS or self.length > _LENGTH:
            raise TemplateError(_TOO_MUCH)

    def nodes(self, nodes: Sequence[Node], dot: Any) -> None:
        for node in nodes:
            if isinstance(node, str):
                self.write(node)
            elif isinstance(node, Jump):
                raise _Leave(node.kind)
            elif isinstance(node, Branch):
                self.branch(node, dot)
            else:
                value = self.pipe(node, dot)
                if not node.names:
                    self.write(printed(value))

    def branch(self, node: Branch, dot: Any) -> None:
        known = len(self.variables)
        value = self.pipe(node.pipe, dot)
        if node.kind == "range":
            self.range(node, value, dot)
        elif true(value):
            self.nodes(node.body, value if node.kind == "with" else dot)
        else:
            self.nodes(node.orelse, dot)
        del self.variables[known:]

    def range(self, node: Branch, value: Any, dot: Any) -> None:
        names, empty = node.pipe.names, True
        for key, each in self.pairs(node.pipe, value):
            empty = False
            known = len(self.variables)
            self.step()
            for name, part in zip(names[::-1], (each, key), strict=False):
                self.set(name, part, declares=node.pipe.declares)
            try:
                self.nodes(node.body, each)
            except _Leave as leave:
                if leave.kind == "break":
                    break
            finally:
                del self.variables[known:]
        if empty:
            self.nodes(node.orelse, dot)

    def pairs(self, pipe: Pipe, value: Any) -> Iterator[tuple[Any, Any]]:
        if value is None:
            return iter(())
        if isinstance(value, Mapping) and not isinstance(value, Struct):
            return iter(sorted(value.items()))
        if isinstance(value, Sequence) and not isinstance(value, str):
            return iter(enumerate(value))
        if isinstance(value, int) and not isinstance(value, bool):
            return ((number, number) for number in range(value))
        first = pipe.commands[0][0]
        raise self.fail(first, f"range can't iterate over {printed(value)}")

    def set(self, name: str, value: Any, *, declares: bool) -> None:
        if declares:
            self.variables.append((name, value))
            return
        for number in range(len(self.variables) - 1, -1, -1):
            if self.variables[number][0] == name:
                self.variables[number] = (name, value)
                return

    def pipe(self, pipe: Pipe, dot: Any) -> Any:
        value: Any = None
        for number, command in enumerate(pipe.commands):
            value = self.command(command, dot, [value] if number else [])
        if len(pipe.names) == 1:
            self.set(pipe.names[0], value, declares=pipe.declares)
        return value

    def command(self, command: Sequence[Operand], dot: Any, last: list[Any]) -> Any:
        first = command[0]
        if first.kind == "function":
            return self.call(command, dot, last)
        if len(command) > 1 or last:
            if first.kind in ("field", "variable") and first.path:
                raise self.fail(first, f"{first.path[-1]} is not a method but has arguments")
            raise self.fail(first, f"can't give argument to non-function {first.source}")
        if first.kind == "constant" and first.value is None:
            raise self.fail(first, "nil is not a command")
        return self.operand(first, dot)

    def call(self, command: Sequence[Operand], dot: Any, last: list[Any]) -> Any:
        first, *rest = command
        if first.value in ("and", "or"):
            # These two look at no more than they need.
            value: Any = None
            for operand in rest:
                value = self.operand(operand, dot)
                if true(value) == (first.value == "or"):
                    return value
            return last[0] if last else value
        arguments = [self.operand(operand, dot) for operand in rest] + last
        if sum(len(each) for each in arguments if isinstance(each, str)) > _LENGTH:
            raise TemplateError(_TOO_MUCH)
        try:
            return FUNCTIONS[first.value](*arguments)
        except Fault as fault:
            message = f"error calling {first.value}: {fault}"
        except TypeError:
            message = f"wrong number of args for {first.value}: got {len(arguments)}"
        whole = " ".join(operand.source for operand in command)
        raise self.fail(replace(first, source=whole), message)

    def operand(self, operand: Operand, dot: Any) -> Any:
        match operand.kind:
            case "constant":
                return operand.value
            case "function":
                return self.call([operand], dot, [])
            case "pipe":
                value = self.pipe(operand.value, dot)
            case "variable":
                value = next(v for name, v in reversed(self.variables) if name == operand.value)
            case _:
                value = dot
        known = False
        for number, name in enumerate(operand.path):
            if isinstance(value, Struct) and name in value:
                value, known = value[name], True
            elif isinstance(value, Mapping) and not isinstance(value, Struct):
                value, known = value.get(name), False
            else:
                raise self.no_field(operand, number, type_name(value, known=known))
        return value

    def no_field(self, operand: Operand, number: int, type_: str) -> TemplateError:
        name = operand.path[number]
        behind = sum(len(each) + 1 for each in operand.path[number:])
        end = operand.position + len(operand.source)
        where = replace(operand, position=max(operand.position, end - behind))
        if type_ == "nil":
            return self.fail(where, f"nil data; no entry for key {quote(name)}")
        return self.fail(where, f"can't evaluate field {name} in type {type_}")

    def fail(self, operand: Operand, message: str) -> TemplateError:
        before = self.source[: operand.position]
        line, column = before.count("\n") + 1, len(before.rpartition("\n")[2].encode())
        where = f'template: :{line}:{column}: executing "" at <{operand.source}>'
        return TemplateError(f"{where}: {message}")
