"""Events into a server's dialect and back out of its client half; and through a gateway.

What a dialect cannot carry is in the `_lost_*` functions, one for each of its forms, and
nothing else may be lost:

* Ollama has no count of cached or reasoning tokens, no reason to finish but the length,
  and sends calls whole, so that they come last. `/api/chat` has no `context`,
  `/api/generate` no ids of calls.
* OpenAI's API has no times and no `context`; neither have its responses, which have no
  word for a finish with calls but the calls.
* An answer that is not streamed says all its reasoning before all its text; a response
  has both in their order.
* What ends with a call is finished by its calls, unless it ran out of tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings

from llmount.dialects.client import Client
from llmount.dialects.ollama import CHAT, GENERATE, Form, Written
from llmount.dialects.ollama_client import OLLAMA
from llmount.dialects.openai_answer import Chunks
from llmount.dialects.openai_client import OPENAI
from llmount.dialects.protocol import Codec
from llmount.dialects.responses_client import RESPONSES
from llmount.dialects.responses_codec import ResponseCodec
from llmount.framing import framing_of
from llmount.jsontext import dumps_bytes
from llmount.types import Event, ReasoningDelta, Timings, Usage
from tests.neutral_events import Call, events, merged


@dataclass(frozen=True)
class Direction:
    """A dialect's two halves. lost: the merged events as the wire can carry them. ordered:
    a whole answer has text and reasoning as they came."""

    codec: Callable[[], Codec]
    client: Client
    media_type: str
    lost: Callable[[list[Any]], list[Any]]
    ids: bool = True
    ordered: bool = False

    def heard(self, body: bytes, media_type: str) -> list[Any]:
        """What the client half makes of a body, merged; calls are nameless if ids are
        made up there."""
        decoder, answer = self.client.decoder(media_type), self.client.answer("m")
        items = decoder.feed(body) + decoder.close()
        said = [event for item in items for event in answer.feed(item)] + answer.close()
        return merged(said) if self.ids else _nameless(merged(said))


def _nameless(merged: list[Any]) -> list[Any]:
    return [replace(each, id="") if isinstance(each, Call) else each for each in merged]


def _finish(merged: list[Any], **lost: Any) -> list[Any]:
    *others, finish = merged
    finish = replace(finish, **lost)
    if finish.reason == "stop" and any(isinstance(each, Call) for each in others):
        finish = replace(finish, reason="tool_calls")
    return [*others, finish]


def _lost_to_ollama(merged: list[Any]) -> list[Any]:
    finish = merged[-1]
    usage = Usage(prompt=finish.usage.prompt, completion=finish.usage.completion)
    reason = "length" if finish.reason == "length" else "stop"
    return _finish(merged, usage=usage, reason=reason)


def _lost_to_chat(merged: list[Any]) -> list[Any]:
    return _finish(_lost_to_ollama(merged), context=())


def _lost_to_generate(merged: list[Any]) -> list[Any]:
    return _nameless(_lost_to_ollama(merged))


def _lost_to_openai(merged: list[Any]) -> list[Any]:
    return _finish(merged, context=(), timings=Timings())


def _ollama(form: Form) -> Callable[[], Codec]:
    return lambda: Written("m", form, 0)


def _lost_to_responses(merged: list[Any]) -> list[Any]:
    *others, finish = _lost_to_openai(merged)
    if finish.reason == "tool_calls" and not any(isinstance(each, Call) for each in others):
        finish = replace(finish, reason="stop")
    return [*others, finish]


def _response() -> Codec:
    body = {"model": "m", "parallel_tool_calls": True, "input": "", "stream": True}
    return ResponseCodec(body)


LINES, EVENTS = "application/x-ndjson", "text/event-stream"
DIRECTIONS = {
    "/api/chat": Direction(_ollama(CHAT), OLLAMA, LINES, _lost_to_chat),
    "/api/generate": Direction(_ollama(GENERATE), OLLAMA, LINES, _lost_to_generate, ids=False),
    "/v1/chat/completions": Direction(
        lambda: Chunks("m", usage=True), OPENAI, EVENTS, _lost_to_openai
    ),
    "/v1/responses": Direction(_response, RESPONSES, EVENTS, _lost_to_responses, ordered=True),
}


@pytest.mark.parametrize("path", DIRECTIONS)
@given(events())
@settings(deadline=None)
def test_a_streamed_answer_comes_back_as_it_was_given(path: str, given: list[Event]) -> None:
    direction = DIRECTIONS[path]
    codec, encode = direction.codec(), framing_of(direction.media_type).encode

    body = b"".join(encode(item) for event in given for item in codec.items(event))

    assert codec.finished
    assert direction.heard(body, direction.media_type) == direction.lost(merged(given))


@pytest.mark.parametrize("path", DIRECTIONS)
@given(events())
@settings(deadline=None)
def test_a_whole_answer_comes_back_as_it_was_given(path: str, given: list[Event]) -> None:
    direction = DIRECTIONS[path]
    told = given
    if not direction.ordered:
        told = sorted(given, key=lambda event: not isinstance(event, ReasoningDelta))

    body = dumps_bytes(direction.codec().whole(given))

    assert direction.heard(body, "application/json") == direction.lost(merged(told))
