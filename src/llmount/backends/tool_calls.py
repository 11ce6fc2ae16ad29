"""Tool calls, read out of the text that a model writes, as it comes."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, TypeVar

from ..errors import BackendError
from ..jsontext import dumps, loads
from ..types import JSON, TextDelta, Tool, ToolCallDelta
from .tool_calls_json import JsonScanner
from .tool_formats import Body, ToolFormat

__all__ = ["ToolCallReader", "fresh_id"]

T = TypeVar("T")
_Delta: TypeAlias = TextDelta | ToolCallDelta
_Steps: TypeAlias = Generator[_Delta | None, None, T]
"""Reading that yields what is known, None when it needs more text, and returns a result."""

_BLANK = re.compile(r"[ \t\r\n]*")
_KEYS = {dumps(key): key for key in ("name", "arguments", "parameters", "type", "id")}
_LETTERS = string.ascii_letters + string.digits


class _NoCallError(Exception):
    """What stands here is not what a call goes on with."""


class ToolCallReader:
    """Turns the text of one answer into text and calls of the tools that were offered.

    What looks like a call and is none, as it names no such tool or is no JSON, is text. No
    text is lost but the marks of calls and the white space around them. Text is held back
    only while it may be the beginning of a call; arguments are told as they are written.

    begun, complete: how many calls were begun and how many are whole by now.
    """

    def __init__(self, format: ToolFormat, tools: Sequence[Tool]) -> None:
        self.begun = 0
        self.complete = 0
        self._openings = format.openings
        self._tools = {tool.name: tool for tool in tools}
        self._quoted = {dumps(name): name for name in self._tools}
        first = {mark[:1] for mark in (each.mark for each in self._openings) if mark}
        bare = "{[" if any(not each.mark for each in self._openings) else ""
        self._first = re.compile(f"[{re.escape(''.join(sorted(first)) + bare)}]")
        # All positions count from the beginning of the answer. Kept is what is not told yet;
        # up to `_plain` it is known to be text.
        self._kept = ""
        self._told = 0
        self._plain = 0
        self._before: Literal["nothing", "text", "call"] = "nothing"
        self._opened: int | None = None
        self._ended = False
        self._steps = self._read_all()

    def read(self, delta: TextDelta) -> Iterator[_Delta]:
        """Take a piece of the answer; what can be told by now. Log-probabilities are passed
        on at once, with whatever text there is.

        Raises `BackendError` for a call that is no longer one when it is half told.
        """
        self._kept += delta.text
        events = self._advance()
        if delta.logprobs:
            first = next(events, None)
            if isinstance(first, TextDelta):
                yield replace(first, logprobs=delta.logprobs)
            else:
                yield TextDelta("", delta.logprobs)
                if first is not None:
                    yield first
        yield from events

    def close(self, *, cut: bool = False) -> Iterator[_Delta]:
        """What was held back, when the answer is over.

        cut: the answer was longer than it might be, so that a call may lack its end. Raises
        `BackendError` if one does otherwise.
        """
        self._ended = True
        yield from self._advance()
        if self.begun > self.complete and not cut:
            raise _broken_off()
        yield from self._text_until(self._end, last=True)

    @property
    def _end(self) -> int:
        return self._told + len(self._kept)

    def _advance(self) -> Iterator[_Delta]:
        for event in self._steps:
            if event is None:
                break
            yield event
        yield from self._text_until(self._plain)

    # What is told

    def _text_until(self, end: int, *, last: bool = False) -> Iterator[TextDelta]:
        """The text up to there, without white space that a call may follow or precede."""
        text = self._kept[: max(0, end - self._told)]
        kept = text if last else text.rstrip()
        told = kept.lstrip() if self._before == "call" else kept
        if told:
            self._take(self._told + len(kept), "text")
            yield TextDelta(told)

    def _take(self, end: int, what: Literal["text", "call"]) -> None:
        self._kept = self._kept[end - self._told :]
        self._told = end
        self._plain = max(self._plain, end)
        self._before = what

    def _begin(self, name: str) -> Iterator[_Delta]:
        """Once a call is begun, it cannot be text any more."""
        if self._opened is not None:
            yield from self._text_until(self._opened)
            self._opened = None
        yield ToolCallDelta(self.begun, fresh_id(), name)
        self.begun += 1

    def _pass(self, arguments: str) -> ToolCallDelta:
        return ToolCallDelta(self.begun - 1, arguments=arguments)

    def _finish(self, end: int) -> None:
        self.complete += 1
        self._take(end, "call")

    # Where a call may begin

    def _read_all(self) -> _Steps[None]:
        while True:
            found = self._first.search(self._kept, self._plain - self._told)
            at = self._plain = self._told + found.start() if found else self._end
            if found is None:
                if self._ended:
                    return
                yield None
                continue
            try:
                yield from self._calls(at)
            except _NoCallError:
                if self.begun > self.complete:
                    if not self._ended:
                        raise _broken_off() from None
                    self._take(self._end, "call")
                # Behind the calls that were made, or behind the mark that was none.
                self._plain = max(self._told, at + 1)

    def _calls(self, at: int) -> _Steps[None]:
        self._opened = at
        line = self._kept[: at - self._told]
        alone = (self._before != "text" or "\n" in line) and not line.rpartition("\n")[2].strip()
        openings = {each.mark: each for each in self._openings if alone or not each.alone}
        mark = yield from self._match(at, openings)
        if mark is None:
            raise _NoCallError
        opening = openings[mark]
        yield from self._body(opening.body, at + len(mark))
        end = yield from self._blank(self._told)
        if opening.close and (yield from self._match(end, (opening.close,))):
            self._take(end + len(opening.close), "call")

    # What calls look like. Each takes what it has read, and raises if it cannot.

    def _body(self, body: Body, at: int) -> _Steps[None]:
        at = yield from self._blank(at)
        if body == "function":
            yield from self._function(at)
        elif (yield from self._match(at, ("{", "["))) is not None:
            yield from self._json(at)
        elif body == "json or named":
            yield from self._named(at)
        elif body == "json or function":
            _, at = yield from self._expect(at, ("<function=",))
            yield from self._function(at)
        else:
            raise _NoCallError

    def _json(self, at: int) -> _Steps[None]:
        if (yield from self._match(at, ("[",))):
            separator = "["
            while separator != "]":
                at = yield from self._object((yield from self._blank(at + 1)))
                at = yield from self._blank(at)
                separator, end = yield from self._expect(at, (",", "]"))
            self._take(end, "call")
            return
        while True:
            at = yield from self._blank((yield from self._object(at)))
            if (yield from self._match(at, (";",))):
                at = yield from self._blank(at + 1)
            if (yield from self._match(at, ("{",))) is None:
                return

    def _object(self, at: int) -> _Steps[int]:
        """A call as a JSON object; where it ends."""
        name: str | None = None
        held: str | None = None
        called = False
        separator, at = yield from self._expect(at, ("{",))
        while separator != "}":
            key, at = yield from self._expect((yield from self._blank(at)), _KEYS)
            _, at = yield from self._expect((yield from self._blank(at)), (":",))
            at = yield from self._blank(at)
            if called and _KEYS[key] not in ("type", "id"):
                raise _NoCallError
            if _KEYS[key] == "name":
                quoted, at = yield from self._expect(at, self._quoted)
                name = self._quoted[quoted]
            elif _KEYS[key] in ("type", "id"):
                _, at = yield from self._value(at)
            elif name is None:
                held, at = yield from self._value(at)
            else:
                at = yield from self._arguments(name, at)
                called = True
            at = yield from self._blank(at)
            separator, at = yield from self._expect(at, (",", "}"))
        if name is None:
            raise _NoCallError
        if not called:
            yield from self._whole(name, held or "{}", at)
        self._take(at, "call")
        return at

    def _arguments(self, name: str, at: int) -> _Steps[int]:
        """Arguments as they come, of an object; and whole, of a string that holds one."""
        if (yield from self._match(at, ("{",))) is None:
            text, at = yield from self._value(at)
            yield from self._whole(name, text, at)
            return at
        yield from self._expect((yield from self._blank(at + 1)), ('"', "}"))
        yield from self._begin(name)
        self._take(at, "call")
        scanner = JsonScanner()
        while True:
            used, text = scanner.feed(self._kept)
            self._take(self._told + used, "call")
            if text:
                yield self._pass(text)
            if scanner.complete:
                self._finish(self._told)
                return self._told
            if scanner.broken or self._ended:
                raise _NoCallError
            yield None

    def _whole(self, name: str, text: str, end: int) -> Iterator[_Delta]:
        value = _loads(text)
        if isinstance(value, str):
            text, value = value, _loads(value)
        if value is None:
            text, value = "{}", {}
        if not isinstance(value, dict):
            raise _NoCallError
        yield from self._begin(name)
        yield self._pass(text)
        self._finish(end)

    def _function(self, at: int) -> _Steps[None]:
        names = {f"{name}>": name for name in self._tools}
        tag, at = yield from self._expect(at, names)
        name = names[tag]
        at = yield from self._blank(at)
        if (yield from self._match(at, ("{",))):
            at = yield from self._blank((yield from self._arguments(name, at)))
            if (yield from self._match(at, ("</function>",))):
                self._take(at + len("</function>"), "call")
            return
        tag, at = yield from self._expect(at, ("<parameter=", "</function>"))
        yield from self._begin(name)
        comma = "{"
        while tag == "<parameter=":
            end = yield from self._find(at, ">")
            key, at = self._text(at, end), end + 1
            end = yield from self._find(at, "</parameter>")
            value = _argument(self._tools[name], key, self._text(at, end))
            yield self._pass(f"{comma}{dumps(key)}: {dumps(value)}")
            comma = ", "
            at = yield from self._blank(end + len("</parameter>"))
            tag, at = yield from self._expect(at, ("<parameter=", "</function>"))
        yield self._pass("{}" if comma == "{" else "}")
        self._finish(at)

    def _named(self, at: int) -> _Steps[None]:
        name, at = yield from self._expect(at, self._tools)
        mark, end = yield from self._expect(at, ("[ARGS]", "[CALL_ID]", "{"))
        if mark == "[CALL_ID]":
            end = (yield from self._find(end, "[ARGS]")) + len("[ARGS]")
        yield from self._arguments(name, at if mark == "{" else (yield from self._blank(end)))

    # Reading, which waits for as much text as it needs

    def _match(self, at: int, words: Mapping[str, object] | Sequence[str]) -> _Steps[str | None]:
        """The longest of the words that stands there, None for none."""
        while True:
            start = at - self._told
            rest = len(self._kept) - start
            undecided = not self._ended and any(
                len(word) > rest and word.startswith(self._kept[start:]) for word in words
            )
            if not undecided:
                there = (word for word in words if self._kept.startswith(word, start))
                return max(there, key=len, default=None)
            yield None

    def _expect(
        self, at: int, words: Mapping[str, object] | Sequence[str]
    ) -> _Steps[tuple[str, int]]:
        """The word that stands there, and where it ends."""
        found = yield from self._match(at, words)
        if found is None:
            raise _NoCallError
        return found, at + len(found)

    def _blank(self, at: int) -> _Steps[int]:
        """Where the white space ends that begins there."""
        while True:
            found = _BLANK.match(self._kept, at - self._told)
            end = self._told + found.end() if found else at
            if end < self._end or self._ended:
                return end
            yield None

    def _value(self, at: int) -> _Steps[tuple[str, int]]:
        """A JSON value, and where it ends."""
        scanner, text = JsonScanner(), ""
        while True:
            used, piece = scanner.feed(self._kept[at - self._told :])
            at, text = at + used, text + piece
            if scanner.complete:
                return text, at
            if scanner.broken or self._ended:
                raise _NoCallError
            yield None

    def _find(self, at: int, mark: str) -> _Steps[int]:
        """Where a mark stands, the next one."""
        while (found := self._kept.find(mark, at - self._told)) < 0:
            if self._ended:
                raise _NoCallError
            yield None
        return self._told + found

    def _text(self, at: int, end: int) -> str:
        return self._kept[at - self._told : end - self._told]


def _broken_off() -> BackendError:
    return BackendError("the model wrote a tool call that breaks off or is no JSON")


def fresh_id() -> str:
    """An id for a call."""
    # Mistral's templates take ids of nine letters and digits, and no others.
    return "".join(secrets.choice(_LETTERS) for _ in range(9))


def _loads(text: str) -> JSON:
    try:
        return loads(text)
    except ValueError:
        raise _NoCallError from None


def _argument(tool: Tool, key: str, text: str) -> JSON:
    """A value that was written without JSON's quotes: text, where the schema wants text."""
    text = text.removeprefix("\n").removesuffix("\n")
    properties = tool.parameters.get("properties")
    schema = properties.get(key) if isinstance(properties, Mapping) else None
    if isinstance(schema, Mapping) and schema.get("type") == "string":
        return text
    try:
        return loads(text)
    except ValueError:
        return text
