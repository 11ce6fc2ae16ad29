"""What an answer may tell, thing by thing: the rows of the second table of directions, and
what is told by the answers of servers of ours and of real models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio

from llmount.dialects.ollama import CHAT, GENERATE, Written
from llmount.dialects.openai_answer import Chunks
from llmount.dialects.protocol import Codec
from llmount.dialects.responses_codec import ResponseCodec
from llmount.framing import framing_of
from llmount.jsontext import dumps, loads
from llmount.types import (
    Event,
    Finish,
    Message,
    Prompt,
    ReasoningDelta,
    Sampling,
    TextDelta,
    TextPart,
    Timings,
    TokenLogprob,
    Tool,
    ToolCallDelta,
    Usage,
)
from tests.direction_evidence import UPSTREAMS, answer_of
from tests.direction_models import open_engine

__all__ = ["ANSWERED", "told_by_engine", "told_by_upstream"]

FINISH = Finish(
    reason="tool_calls",
    usage=Usage(prompt=4, completion=7, cached=2, reasoning=1),
    timings=Timings(prompt=3_000_000, completion=5_000_000),
    context=(1, 2),
)
DELTAS: Sequence[Event] = (
    ReasoningDelta("Hm."),
    TextDelta("Hello", (TokenLogprob("Hello", -0.5, top=(TokenLogprob("Hi", -1.5),)),)),
    ToolCallDelta(0, "call_a", "look", '{"at":"x"}'),
)
SCRIPTS: Sequence[Sequence[Event]] = (
    (*DELTAS, FINISH),
    (TextDelta("Hello"), replace(FINISH, reason="length")),
    (TextDelta("Hello"), replace(FINISH, reason="content_filter")),
)


# Servers

_RESPONSE = {"model": "m", "parallel_tool_calls": True, "input": "", "stream": True}
_SERVERS: Mapping[str, tuple[str, Sequence[Callable[[], Codec]]]] = {
    "ollama": (
        "application/x-ndjson",
        (lambda: Written("m", CHAT, 0), lambda: Written("m", GENERATE, 0)),
    ),
    "openai": ("text/event-stream", (lambda: Chunks("m", usage=True),)),
    "responses": ("text/event-stream", (lambda: ResponseCodec(_RESPONSE),)),
}
"""By upstream: its media type, and what writes its answers."""


def told_by_upstream(upstream: str) -> Iterator[Sequence[Event]]:
    """What the client half hears of the answers of a server that says all it can."""
    media_type, codecs = _SERVERS[upstream]
    encode, client = framing_of(media_type).encode, UPSTREAMS[upstream]
    for script in SCRIPTS:
        for codec in (each() for each in codecs):
            body = b"".join(encode(item) for event in script for item in codec.items(event))
            decoder, answer = client.decoder(media_type), client.answer("m")
            items = decoder.feed(body) + decoder.close()
            if media_type == "text/event-stream":
                _time(items)
            yield [event for item in items for event in answer.feed(item)] + answer.close()


def _time(items: list[Any]) -> None:
    """Say how long it took, as llama.cpp does; OpenAI's API itself has no word for it."""
    last = next(item for item in reversed(items) if item["data"] != "[DONE]")
    last["data"] = dumps(loads(last["data"]) | {"timings": {"prompt_ms": 3, "predicted_ms": 5}})


# Engines


def told_by_engine(engine: str, folder: Path) -> Iterator[Sequence[Event]]:
    """The answers of models that say all that a model of this engine can. One of them is
    asked twice, so that it may remember."""
    tools = (Tool("get_weather"), Tool("get_time"))
    question = Prompt(
        model="m",
        messages=(Message("user", (TextPart("Hi"),)),),
        sampling=Sampling(temperature=0.0, max_tokens=20),
    )
    asked = [
        ("babbles", replace(question, logprobs=1)),
        ("calls", replace(question, tools=tools)),
        ("thinks", question),
    ]
    for model, prompt in asked:
        yield from anyio.run(_twice, engine, model, folder, prompt)


async def _twice(engine: str, model: str, folder: Path, prompt: Prompt) -> list[list[Event]]:
    backend = open_engine(engine, model, folder)
    try:
        return [await answer_of(backend, prompt) for _ in range(2)]
    finally:
        await backend.aclose()


# Rows

Seen = Callable[[Any], Any]


def _delta(kind: type[Any], seen: Seen) -> Seen:
    return lambda event: isinstance(event, kind) and seen(event)


def _end(seen: Seen) -> Seen:
    return _delta(Finish, seen)


ANSWERED: Mapping[str, Seen] = {
    "text": _delta(TextDelta, lambda event: event.text),
    "thinking": _delta(ReasoningDelta, lambda event: event.text),
    "calls": _delta(ToolCallDelta, lambda event: event.name),
    "ids of calls": _delta(ToolCallDelta, lambda event: event.id),
    "log probabilities": _delta(TextDelta, lambda event: event.logprobs),
    "other tokens beside them": _delta(
        TextDelta, lambda event: any(each.top for each in event.logprobs)
    ),
    "the end at `max_tokens`": _end(lambda finish: finish.reason == "length"),
    "the end by a filter": _end(lambda finish: finish.reason == "content_filter"),
    "tokens of the prompt": _end(lambda finish: finish.usage.prompt),
    "tokens of the answer": _end(lambda finish: finish.usage.completion),
    "cached tokens": _end(lambda finish: finish.usage.cached),
    "tokens of thinking": _end(lambda finish: finish.usage.reasoning),
    "times": _end(lambda finish: finish.timings.prompt and finish.timings.completion),
    "tokens to go on from": _end(lambda finish: finish.context),
    "the server's own answer": _end(lambda finish: finish.raw),
}
"""What an event has that tells it."""
