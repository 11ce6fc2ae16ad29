"""The calls of a chat completion, as the request's tools want them: function, custom or old."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence

from ..jsontext import loads
from ..types import JSON, FinishReason, ToolCall, ToolCallDelta
from .openai_tools import Offer

__all__ = ["CallDeltas", "InputText", "call_fields", "finish_reason"]


def finish_reason(reason: FinishReason, offer: Offer) -> str:
    """Why an answer ended, in the words of the API."""
    return "function_call" if offer.old and reason == "tool_calls" else reason


def call_fields(calls: Sequence[ToolCall], offer: Offer) -> Mapping[str, JSON]:
    """The fields of a whole message that has these calls."""
    if not calls:
        return {}
    if offer.old:
        return {"function_call": {"name": calls[0].name, "arguments": calls[0].arguments}}
    return {"tool_calls": [_whole(call, offer) for call in calls]}


def _whole(call: ToolCall, offer: Offer) -> JSON:
    if call.name in offer.custom:
        text = InputText()
        said = text.feed(call.arguments) + text.rest()
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": said}}
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


class CallDeltas:
    """Writes the calls of one streamed answer, piece by piece."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._inputs: dict[int, InputText] = {}

    def write(self, delta: ToolCallDelta) -> JSON:
        """The fields of a chunk's delta; None if there is nothing to tell."""
        if self._offer.old:
            return None if delta.index else {"function_call": _function(delta)}
        if delta.name in self._offer.custom:
            self._inputs[delta.index] = InputText()
        if (text := self._inputs.get(delta.index)) is None:
            return _piece(delta, "function", _function(delta))
        said = text.feed(delta.arguments)
        if delta.name is None:
            return _piece(delta, "custom", {"input": said}) if said else None
        return _piece(delta, "custom", {"name": delta.name, "input": said})

    def rest(self) -> Iterator[JSON]:
        """What is left to tell at the end."""
        for index, text in self._inputs.items():
            if said := text.rest():
                yield _piece(ToolCallDelta(index), "custom", {"input": said})


def _function(delta: ToolCallDelta) -> JSON:
    name = {} if delta.name is None else {"name": delta.name}
    return {**name, "arguments": delta.arguments}


def _piece(delta: ToolCallDelta, kind: str, content: JSON) -> JSON:
    head: dict[str, JSON] = {"index": delta.index}
    if delta.name is not None:
        head |= {"id": delta.id or f"call_{secrets.token_hex(12)}", "type": kind}
    return {"tool_calls": [{**head, kind: content}]}


_HEAD = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_CHARACTERS = re.compile(
    r'(?:[^"\\]|\\["\\/bfnrt]'
    r"|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}"
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*"
)

# Models write line ends as they are.
_CONTROL = re.compile(r"[\x00-\x1f]")


def _escape(control: re.Match[str]) -> str:
    return f"\\u{ord(control[0]):04x}"


class InputText:
    """The text within `{"input": "…"}`, as it arrives. Anything else is the text itself."""

    def __init__(self) -> None:
        self._waiting = ""
        self._inside = self._ended = False

    def feed(self, arguments: str) -> str:
        """The text that this piece completes: whole characters."""
        if self._ended:
            return ""
        self._waiting += arguments
        if not self._inside:
            if (head := _HEAD.match(self._waiting)) is None:
                return ""
            self._inside = True
            self._waiting = self._waiting[head.end() :]
        found = _CHARACTERS.match(self._waiting)
        assert found is not None
        self._waiting = self._waiting[found.end() :]
        if self._waiting.startswith('"'):
            self._ended, self._waiting = True, ""
        text: str = loads(f'"{_CONTROL.sub(_escape, found[0])}"')
        return text

    def rest(self) -> str:
        """What arrived and is no part of such an object, at the end."""
        text, self._waiting = self._waiting, ""
        return text
