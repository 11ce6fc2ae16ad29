"""OpenAI's responses: the client half. `responses_client_request` writes bodies.

As tolerant as `openai_client`: what a stream leaves out of its deltas is taken from the items
and the response that it ends with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ..errors import ApiError
from ..framing import framing_of
from ..jsontext import loads
from ..types import (
    JSON,
    Event,
    Finish,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from .openai_client import OPENAI, WholeBody, error
from .responses_client_request import request
from .upstream import array, call_id, count, cut_off, malformed, object_of, text_of, token_logprobs

__all__ = ["RESPONSES", "Answer"]

_REASONS: Final[Mapping[str, FinishReason]] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}
_STATUSES: Final[Mapping[str, int]] = {
    "rate_limit_exceeded": 429,
    "invalid_prompt": 400,
    "model_not_found": 404,
}
_WRITES: Final = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "text",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.function_call_arguments.delta": "arguments",
}
_ENDS: Final = ("response.completed", "response.incomplete")


@dataclass(slots=True)
class _Item:
    """What was heard of an item of the output. heard: a piece of it came. call: its number
    among the calls, -1 for none. parts: the numbers of the parts of a summary that have begun."""

    id: str
    index: int
    said: str = ""
    heard: bool = False
    call: int = -1
    parts: set[int] = field(default_factory=set)


class Answer:
    """One answer, from the events of its stream. An `Incoming`.

    model: the one that was asked for. An answer that is not streamed is read as the last
    event of a stream.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._items: list[_Item] = []
        self._calls = 0
        self._response: Mapping[str, JSON] = {}
        self.done = False

    @property
    def complete(self) -> bool:
        return self.done

    def feed(self, item: JSON, /) -> list[Event]:
        data = text_of(item.get("data")).strip()
        if not data or data == "[DONE]":
            return []
        try:
            event = loads(data)
        except ValueError as fault:
            raise malformed() from fault
        if not isinstance(event, dict):
            raise malformed()
        return list(self._event(event, text_of(event.get("type"))))

    def _event(self, event: Mapping[str, JSON], kind: str) -> Iterator[Event]:
        response = object_of(event.get("response")) or (event if "output" in event else {})
        if kind == "error" or event.get("error") or response.get("status") == "failed":
            raise self._error(event, response)
        if kind in _WRITES:
            yield from self._write(event, _WRITES[kind])
        elif kind == "response.output_item.added":
            yield from self._begin(event.get("output_index"), object_of(event.get("item")))
        elif kind == "response.output_item.done":
            yield from self._rest(event.get("output_index"), object_of(event.get("item")))
        elif kind in _ENDS or (not kind and response):
            for number, each in enumerate(array(response.get("output"))):
                yield from self._rest(number, each)
            self._response = response
            self.done = True

    def _error(self, event: Mapping[str, JSON], response: Mapping[str, JSON]) -> ApiError:
        told = object_of(event.get("error")) or object_of(response.get("error")) or event
        code = text_of(told.get("code"))
        return error(_STATUSES.get(code, 500), {"error": dict(told)}, self._model)

    def _write(self, event: Mapping[str, JSON], what: str) -> Iterator[Event]:
        item = self._item(event.get("item_id"), event.get("output_index"))
        item.heard = True
        delta = text_of(event.get("delta"))
        if what == "reasoning":
            part = count(event.get("summary_index"))
            # The parts of a summary are paragraphs.
            apart = "\n\n" if part and part not in item.parts else ""
            item.parts.add(part)
            item.said += apart + delta
            yield ReasoningDelta(apart + delta)
        elif what == "text":
            item.said += delta
            logprobs = token_logprobs(event.get("logprobs"))
            if delta or logprobs:
                yield TextDelta(delta, logprobs)
        elif item.call < 0:
            raise malformed()
        elif delta:
            item.said += delta
            yield ToolCallDelta(item.call, arguments=delta)

    def _item(self, id_: JSON, index: JSON) -> _Item:
        """The item of this id, or at this place. Servers leave out one or the other."""
        id_ = text_of(id_)
        for item in self._items:
            if id_ and item.id == id_:
                return item
        place = index if isinstance(index, int) else len(self._items)
        for item in self._items:
            if item.index == place:
                return item
        self._items.append(_Item(id_, place))
        return self._items[-1]

    def _begin(self, index: JSON, shown: Mapping[str, JSON]) -> Iterator[Event]:
        item = self._item(shown.get("id"), index)
        if shown.get("type") == "function_call" and item.call < 0:
            item.call = self._calls
            self._calls += 1
            item.said = text_of(shown.get("arguments"))
            id_ = text_of(shown.get("call_id")) or call_id()
            yield ToolCallDelta(item.call, id_, text_of(shown.get("name")), item.said)

    def _rest(self, index: JSON, shown: Mapping[str, JSON]) -> Iterator[Event]:
        """What an item that is done has, and no event before it told."""
        yield from self._begin(index, shown)
        item = self._item(shown.get("id"), index)
        whole, event = _read(shown, item.call)
        if event is None or not whole.startswith(item.said):
            return
        if isinstance(event, TextDelta) and item.heard:
            # The probabilities of what was said before are among them.
            event = TextDelta("")
        missing = whole.removeprefix(item.said)
        item.said, item.heard = whole, True
        if missing or (isinstance(event, TextDelta) and event.logprobs):
            yield replace(event, **{_FIELDS[type(event)]: missing})

    def close(self) -> list[Event]:
        if not self.done:
            raise cut_off()
        usage = object_of(self._response.get("usage"))
        reason = object_of(self._response.get("incomplete_details")).get("reason")
        finished: FinishReason = "tool_calls" if self._calls else "stop"
        return [
            Finish(
                reason=_REASONS.get(reason, "length") if reason else finished,
                usage=Usage(
                    prompt=count(usage.get("input_tokens")),
                    completion=count(usage.get("output_tokens")),
                    cached=count(object_of(usage.get("input_tokens_details")).get("cached_tokens")),
                    reasoning=count(
                        object_of(usage.get("output_tokens_details")).get("reasoning_tokens")
                    ),
                ),
                raw=self._response,
            )
        ]


_FIELDS: Final[Mapping[type, str]] = {
    TextDelta: "text",
    ReasoningDelta: "text",
    ToolCallDelta: "arguments",
}


def _read(shown: Mapping[str, JSON], call: int) -> tuple[str, Any]:
    """The text of an item that is done, and an event to tell it with."""
    content, summary = array(shown.get("content")), array(shown.get("summary"))
    match shown.get("type"):
        case "message":
            pieces = [text_of(part.get("text", part.get("refusal"))) for part in content]
            logprobs = [token for part in content for token in token_logprobs(part.get("logprobs"))]
            return "".join(pieces), TextDelta("", tuple(logprobs))
        case "reasoning":
            texts = [text_of(part.get("text")) for part in content or summary]
            return ("" if content else "\n\n").join(texts), ReasoningDelta("")
        case "function_call":
            return text_of(shown.get("arguments")), ToolCallDelta(call)
    return "", None


_EVENTS: Final = framing_of("text/event-stream")

RESPONSES: Final = replace(
    OPENAI,
    request=request,
    decoder=lambda media_type: (
        WholeBody() if media_type == "application/json" else _EVENTS.decoder()
    ),
    answer=Answer,
)
