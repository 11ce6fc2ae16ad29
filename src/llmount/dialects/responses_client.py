"""OpenAI's responses: the client half. `responses_client_request` writes bodies and
`responses_client_items` reads what an answer is made of.

As tolerant as `openai_client`: what a stream leaves out of its deltas is taken from the items
and the response that it ends with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from ..errors import ApiError, BackendError
from ..framing import framing_of
from ..types import JSON, Event, Finish, FinishReason, Usage
from .openai_client import OPENAI, WholeBody, error
from .responses_client_items import WRITES, Output
from .responses_client_request import request
from .upstream import array, count, cut_off, event_object, object_of, text_of, timings_of

__all__ = ["RESPONSES", "Answer"]

_REASONS: Final[Mapping[str, FinishReason]] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}
_STATUSES: Final = (
    ("rate_limit|insufficient_quota", 429),
    ("model_not_found", 404),
    ("image|context_length|invalid", 400),
)
"""By the first pattern that an error's code and type have: what its status would have been."""

_ENDS: Final = ("response.completed", "response.incomplete")


class Answer:
    """One answer, from the events of its stream. An `Incoming`.

    model: the one that was asked for. An answer that is not streamed is read as the last
    event of a stream.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._output = Output()
        self._response: Mapping[str, JSON] = {}
        self._timings: JSON = None
        self._cut = False
        self.done = False

    @property
    def complete(self) -> bool:
        return self.done

    def feed(self, item: JSON, /) -> list[Event]:
        data = text_of(item.get("data")).strip()
        if not data or data == "[DONE]":
            return []
        event = event_object(data)
        kind = text_of(event.get("type"))
        return list(self._event("error" if item.get("event") == "error" else kind, event))

    def _event(self, kind: str, event: Mapping[str, JSON]) -> Iterator[Event]:
        response = object_of(event.get("response"))
        if not kind and "output" in event:
            # An answer that is not streamed.
            response, kind = event, f"response.{event.get('status') or 'completed'}"
        if kind == "error" or event.get("error") or response.get("status") == "failed":
            raise self._error(event, response)
        place, item = event.get("output_index"), object_of(event.get("item"))
        if kind in WRITES:
            yield from self._output.write(WRITES[kind], event)
        elif kind == "response.output_item.added":
            yield from self._output.begin(item, place)
        elif kind == "response.output_item.done":
            yield from self._output.end(item, place)
        elif kind in _ENDS:
            yield from self._output.close(array(response.get("output")))
            self._response, self._cut = response, kind == "response.incomplete"
            self._timings = event.get("timings")
            self.done = True
        elif kind in ("response.cancelled", "response.failed"):
            raise BackendError("the upstream gave up in the middle of its answer")

    def _error(self, event: Mapping[str, JSON], response: Mapping[str, JSON]) -> ApiError:
        told = object_of(event.get("error")) or object_of(response.get("error")) or event
        code = f"{told.get('code')} {told.get('type')}"
        if numbered := re.match("[45][0-9][0-9] ", code):
            status = int(numbered[0])
        else:
            found = (status for pattern, status in _STATUSES if re.search(pattern, code))
            status = next(found, 500)
        return error(status, {"error": told}, self._model)

    def close(self) -> list[Event]:
        if not self.done:
            raise cut_off()
        usage = object_of(self._response.get("usage"))
        prompt = object_of(usage.get("input_tokens_details"))
        completion = object_of(usage.get("output_tokens_details"))
        finish = Finish(
            reason=self._reason(),
            usage=Usage(
                prompt=count(usage.get("input_tokens")),
                completion=count(usage.get("output_tokens")),
                cached=count(prompt.get("cached_tokens")),
                reasoning=count(completion.get("reasoning_tokens")),
            ),
            timings=timings_of(self._timings),
            raw=self._response,
        )
        return [finish]

    def _reason(self) -> FinishReason:
        if self._cut or self._response.get("status") == "incomplete":
            why = object_of(self._response.get("incomplete_details")).get("reason")
            return _REASONS.get(text_of(why), "length")
        return "tool_calls" if self._output.calls else "stop"


_EVENTS: Final = framing_of("text/event-stream")

RESPONSES: Final = replace(
    OPENAI,
    request=request,
    decoder=lambda media_type: (
        WholeBody() if media_type == "application/json" else _EVENTS.decoder()
    ),
    answer=Answer,
)
