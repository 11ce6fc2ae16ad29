"""Chunks of OpenAI's API for tests, and what its client half makes of them."""

from typing import Any

from llmount.dialects.openai_client import Answer
from llmount.jsontext import dumps
from llmount.types import (
    Event,
    Finish,
    TextDelta,
)


def feed(answer: Answer, chunks: tuple[Any, ...]) -> list[Event]:
    """Chunks are JSON values; strings and whole events stand for themselves."""
    events: list[Event] = []
    for chunk in chunks:
        if isinstance(chunk, dict) and isinstance(chunk.get("data"), str):
            events += answer.feed(chunk)
        else:
            events += answer.feed({"data": chunk if isinstance(chunk, str) else dumps(chunk)})
    return events


def answer_of(*chunks: Any) -> list[Event]:
    answer = Answer("m")
    return feed(answer, chunks) + answer.close()


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def finish_of(events: list[Event]) -> Finish:
    finishes = [event for event in events if isinstance(event, Finish)]
    assert events[-1:] == finishes
    return finishes[0]


def chunk(delta: Any = None, finish: Any = None, **more: Any) -> Any:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice], **more}


def tool(**more: Any) -> Any:
    return chunk({"tool_calls": [more]})


STOP = chunk({}, "stop")
USAGE = {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}
