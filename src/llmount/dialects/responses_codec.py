"""The events of one answer as a response, written event by event or whole."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import ApiError, BackendError
from ..types import JSON, Event, Finish, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from .responses_errors import envelope, failure
from .responses_form import form
from .responses_items import Call, Item, Message, Numbered, Reasoning, Said, Summary

__all__ = ["ResponseCodec"]

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponseCodec:
    """The codec of one response to a request with this body.

    Streamed or not, it is written in the same way: the whole answer is what the last event
    of a stream has.
    """

    def __init__(self, body: JSON) -> None:
        self.finished = False
        self._form = form(body)
        self._thinks = Summary if self._form["reasoning"]["summary"] else Reasoning
        self._item = Numbered()
        self._output: list[Item] = []
        self._calls: dict[int, Call] = {}
        self._response: JSON = None

    def items(self, event: Event) -> list[JSON]:
        return [self._item(*said) for said in self._said(event)]

    def whole(self, events: Sequence[Event]) -> JSON:
        for event in events:
            for _ in self._said(event):
                pass
        if not self.finished:
            raise BackendError("the backend ended its answer without finishing it")
        return self._response

    def failed(self, error: ApiError) -> list[JSON]:
        """The last items of a stream that has begun and cannot be finished."""
        for item in self._open():
            item.status = "incomplete"
        drawn = envelope(error)
        # The service puts the error into an object of its own, and SDKs raise that; its
        # document has the fields here.
        told = {"code": drawn["code"], "message": drawn["message"], "param": drawn["param"]}
        response = self._shown("failed", error=failure(error))
        return [
            self._item("error", {**told, "error": drawn}),
            self._item("response.failed", {"response": response}),
        ]

    def _said(self, event: Event) -> Iterator[Said]:
        if self._response is None:
            self._response = self._shown("in_progress")
            yield "response.created", {"response": self._response}
            yield "response.in_progress", {"response": self._response}
        if isinstance(event, TextDelta):
            if event.text or event.logprobs:
                yield from self._write(Message, event)
        elif isinstance(event, ReasoningDelta):
            if event.text:
                yield from self._write(self._thinks, event)
        elif isinstance(event, ToolCallDelta):
            yield from self._call(event)
        else:
            yield from self._finish(event)

    def _write(self, kind: type[Any], delta: TextDelta | ReasoningDelta) -> Iterator[Said]:
        item: Any = next((each for each in self._open() if not isinstance(each, Call)), None)
        if not isinstance(item, kind):
            yield from self._close(*self._left())
            item = kind(len(self._output))
            yield from self._begin(item)
        yield item.write(delta)

    def _call(self, delta: ToolCallDelta) -> Iterator[Said]:
        call = self._calls.get(delta.index)
        if call is None:
            yield from self._close(*self._left())
            call = self._calls[delta.index] = Call(len(self._output), delta)
            yield from self._begin(call)
        if delta.arguments:
            if call.status != "in_progress":
                raise BackendError("the backend went on with a tool call that was done")
            yield call.write(delta)

    def _finish(self, finish: Finish) -> Iterator[Said]:
        reason = _INCOMPLETE.get(finish.reason)
        if reason is None and not any(isinstance(item, Message | Call) for item in self._output):
            # Clients look for the text of an answer, also of an empty one.
            yield from self._close(*self._open())
            yield from self._begin(Message(len(self._output)))
        status = "incomplete" if reason else "completed"
        yield from self._close(*self._open(), status=status)
        self._response = self._shown(status, reason=reason, usage=_usage(finish.usage))
        self.finished = True
        yield f"response.{status}", {"response": self._response}

    def _begin(self, item: Item) -> Iterator[Said]:
        self._output.append(item)
        yield from item.begin()

    def _close(self, *items: Item, status: str = "completed") -> Iterator[Said]:
        for item in items:
            yield from item.end(status)

    def _open(self) -> Iterator[Item]:
        return (item for item in self._output if item.status == "in_progress")

    def _left(self) -> Iterator[Item]:
        """What is done once something else begins. A call may go on: a backend may write
        several in turns, or something else in between."""
        return (item for item in self._open() if not isinstance(item, Call) or item.complete)

    def _shown(
        self, status: str, *, error: JSON = None, reason: str | None = None, usage: JSON = None
    ) -> JSON:
        """The response as it is now."""
        return {
            **self._form,
            "status": status,
            "completed_at": int(time.time()) if status == "completed" else None,
            "error": error,
            "incomplete_details": {"reason": reason} if reason else None,
            "output": [item.shown() for item in self._output],
            "usage": usage,
        }


def _usage(usage: Usage) -> JSON:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }
