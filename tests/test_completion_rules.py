"""The rules for the streams of geenii's completions pass what is right and find what is wrong.

Those of the items in between are the rules of responses: see `test_stream_rules`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llmount.dialects.geenii_answer import CompletionCodec
from llmount.errors import BackendError
from llmount.jsontext import dumps, loads
from llmount.testing.completion_rules import completion_problems
from llmount.testing.stream_rules import STREAM_RULES
from llmount.types import Event, Finish, ReasoningDelta, TextDelta

ASKED = {"prompt": "Hi", "stream": True}
EVENTS: tuple[Event, ...] = (
    ReasoningDelta("Hm."),
    TextDelta("Hel"),
    TextDelta("lo"),
    Finish(raw={"a": 1}),
)
Edit = Callable[[list[Any]], object]


def codec(provider: str = "mine") -> CompletionCodec:
    return CompletionCodec(provider, "m", "Hi", 0)


def stream(provider: str = "mine", events: tuple[Event, ...] = EVENTS) -> list[Any]:
    writer = codec(provider)
    return [item for event in events for item in writer.items(event)]


def edited(edit: Edit) -> list[Any]:
    """The events after an edit of what they carry, numbered anew."""
    carried = [loads(item["data"]) for item in stream()]
    edit(carried)
    return [
        {"event": each["type"], "data": dumps({**each, "sequence_number": number})}
        for number, each in enumerate(carried)
    ]


@pytest.mark.parametrize("provider", ["mine", "ollama", "openai"])
@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "tool_calls"])
def test_a_good_stream_passes(provider: str, reason: Any) -> None:
    events = (*EVENTS[:-1], Finish(reason=reason))
    assert list(completion_problems(stream(provider, events), ASKED)) == []


def test_an_empty_answer_passes() -> None:
    assert list(completion_problems(stream(events=(Finish(),)), ASKED)) == []


def test_a_stream_that_fails_passes() -> None:
    writer = codec()
    items = [item for event in EVENTS[:2] for item in writer.items(event)]
    assert list(completion_problems([*items, *writer.failed(BackendError())], ASKED)) == []


def test_the_rule_is_that_of_the_operation() -> None:
    assert STREAM_RULES["ai/geenii completion"] is completion_problems


def last(carried: list[Any]) -> Any:
    return carried[-1]["response"]


FAULTS: dict[str, tuple[Edit, str]] = {
    "no created": (lambda c: c.pop(0), "is not how a stream begins"),
    "no end": (lambda c: c.pop(), "no event that ends the stream"),
    "an event after the end": (lambda c: c.append(c[4]), "comes after response.completed"),
    "an end that is none": (
        lambda c: c[-1].update(type="response.failed"),
        "no such event ends a completion",
    ),
    "another id": (lambda c: last(c).update(id="0"), "id is '0' and was"),
    "another time": (lambda c: last(c).update(timestamp=1), "timestamp is 1 and was"),
    "another model": (lambda c: last(c).update(model="n"), "model is 'n' and was 'm'"),
    "another provider": (lambda c: last(c).update(provider="n"), "provider is 'n'"),
    "another prompt": (lambda c: last(c).update(prompt="n"), "prompt is 'n'"),
    "an output too early": (
        lambda c: c[1]["response"].update(output_text="Hello"),
        "something is written before it has ended",
    ),
    "a result too early": (
        lambda c: c[1]["response"].update(model_result={"a": 1}),
        "something is written before it has ended",
    ),
    "an output that was not written": (
        lambda c: last(c).update(output=[]),
        "output is not what the items were when they were done",
    ),
    "a text that is not that of the output": (
        lambda c: last(c).update(output_text="Hallo"),
        "output_text is not the text of the output",
    ),
    "a piece left out": (lambda c: c.pop(4), "text is not what was written"),
    "an item that is not done": (lambda c: c.pop(-2), "item 0 is not done"),
}


@pytest.mark.parametrize(("edit", "complaint"), FAULTS.values(), ids=list(FAULTS))
def test_a_fault_is_found(edit: Edit, complaint: str) -> None:
    found = list(completion_problems(edited(edit), ASKED))
    assert any(complaint in str(each) for each in found), found
