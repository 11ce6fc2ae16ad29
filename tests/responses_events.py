"""Events of OpenAI's responses for tests, and what their client half makes of them."""

from __future__ import annotations

from typing import Any

from llmount.dialects.responses_client import Answer
from llmount.framing import framing_of
from llmount.jsontext import dumps
from llmount.types import Event

__all__ = ["answer_of", "done", "ended", "event", "feed", "message", "wire"]


def event(kind: str, **fields: Any) -> Any:
    return {"type": f"response.{kind}", **fields}


def message(text: str, id: str = "msg_1", **more: Any) -> Any:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": [], **more}
    return {"id": id, "type": "message", "role": "assistant", "content": [part]}


def done(item: Any, place: int | None = 0) -> Any:
    where = {} if place is None else {"output_index": place}
    return event("output_item.done", item=item, **where)


def ended(*output: Any, **more: Any) -> Any:
    response = {"id": "resp_1", "object": "response", "status": "completed", "output": [*output]}
    return event("completed", response={**response, **more})


def feed(answer: Answer, *events: Any) -> list[Event]:
    """Events are their data; one with a key "data" stands for itself."""
    found: list[Event] = []
    for each in events:
        found += answer.feed(each if "data" in each else {"data": dumps(each)})
    return found


def answer_of(*events: Any) -> list[Event]:
    answer = Answer("m")
    return feed(answer, *events) + answer.close()


def wire(*events: Any) -> bytes:
    """As they are sent."""
    encode = framing_of("text/event-stream").encode
    return b"".join(encode({"event": each["type"], "data": dumps(each)}) for each in events)
