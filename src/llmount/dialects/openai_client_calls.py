"""Tool calls, put together from what servers of OpenAI's API send for their deltas."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..jsontext import dumps, loads
from ..types import JSON, ToolCallDelta
from .upstream import call_id, cut_off, object_of, text_of

__all__ = ["Calls"]


@dataclass(slots=True)
class _Call:
    """A call in the making. key: the server's index of it, which may be anything."""

    index: int
    key: JSON
    id: str
    name: str = ""
    pieces: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


class Calls:
    """The calls of one answer. Nothing of a call is handed out before its name is known."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def __bool__(self) -> bool:
        return bool(self._calls)

    def feed(self, delta: dict[str, JSON]) -> list[ToolCallDelta]:
        """Raises BackendError if the delta makes no sense."""
        function = object_of(delta.get("function"))
        name = text_of(function.get("name"))
        arguments = function.get("arguments")
        text = dumps(arguments) if isinstance(arguments, dict) else text_of(arguments)
        call = self._of(delta.get("index"), text_of(delta.get("id")), name)
        call.pieces.append(text)
        if call.name:
            return [ToolCallDelta(call.index, arguments=text)] if text else []
        if not name:
            return []
        call.name, call.id = name, call.id or call_id()
        return [ToolCallDelta(call.index, call.id, name, call.arguments)]

    def _of(self, key: JSON, id: str, name: str) -> _Call:
        """The call that a delta is of: a new one, or one that it continues.

        Servers leave out the index, give all calls the same, or repeat id and name in
        every delta. So only a delta with a name can begin a call where one is open, and
        it does if the ids differ or, without ids, if the open call has all it needs.
        """
        candidates = [call for call in self._calls if key is None or call.key == key]
        for call in reversed(candidates):
            if id and call.id == id:
                return call
        if not candidates:
            return self._new(key, id)
        last = candidates[-1]
        differ = bool(id and last.id and id != last.id)
        if name and last.name and (differ or _is_object(last.arguments)):
            return self._new(key, id)
        last.id = last.id or id
        return last

    def _new(self, key: JSON, id: str) -> _Call:
        call = _Call(len(self._calls), key, id)
        self._calls.append(call)
        return call

    def close(self) -> list[ToolCallDelta]:
        """What the calls still lack. Raises BackendError for one that has no name."""
        deltas = []
        for call in self._calls:
            if not call.name:
                raise cut_off()
            if not call.arguments.strip():
                call.pieces.append("{}")
                deltas.append(ToolCallDelta(call.index, arguments="{}"))
        return deltas

    def whole(self) -> list[JSON]:
        """The calls as an answer has them that is not streamed."""
        return [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in self._calls
        ]


def _is_object(text: str) -> bool:
    try:
        return isinstance(loads(text), dict)
    except ValueError:
        return False
