"""Tool calls, as servers of OpenAI's API stream them.

The names in the table are those of defects that real servers have had.
"""

from typing import Any

import pytest
from tests.openai_chunks import STOP, answer_of, chunk, finish_of, tool

from llmount.types import (
    ToolCallDelta,
)

F, G = {"name": "f", "arguments": '{"a"'}, {"name": "g", "arguments": "{}"}
REST = {"arguments": ":1}"}


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param(
            (
                tool(index=0, id="x", type="function", function=F),
                tool(index=0, function=REST),
                tool(index=1, id="y", type="function", function=G),
            ),
            id="canonical",
        ),
        pytest.param(
            (tool(id="x", function=F), tool(function=REST), tool(id="y", function=G)), id="noindex"
        ),
        pytest.param(
            (
                tool(index=0, id="x", function=F),
                tool(index=0, id="x", function={**REST, "name": "f"}),
                tool(index=1, id="y", function=G),
            ),
            id="repeat_name",
        ),
        pytest.param(
            (
                tool(index=0, id="x", function=F),
                tool(index=0, function={**REST, "name": "f"}),
                tool(index=1, id="y", function=G),
            ),
            id="repeat_name_without_id",
        ),
        pytest.param(
            (
                tool(index=0, id="x", type="function", function=F),
                tool(index=0, id=None, type=None, function={"name": None, **REST}),
                tool(index=1, id="y", function=G),
            ),
            id="null_later",
        ),
        pytest.param(
            (
                tool(index=0, id="x", function=F),
                tool(index=0, id="", function={"name": "", **REST}),
                tool(index=0, id="y", function=G),
            ),
            id="two_index0",
        ),
        pytest.param(
            (
                tool(index=1, id="x", function=F),
                tool(index=1, function=REST),
                tool(index=2, id="y", function=G),
            ),
            id="index1_first",
        ),
        pytest.param(
            (
                tool(index=0, id="x", function={"name": "f", "arguments": {"a": 1}}),
                tool(index=1, id="y", function={"name": "g", "arguments": {}}),
            ),
            id="args_object",
        ),
        pytest.param(
            (
                tool(index=0, id="x", function=F),
                tool(index=1, id="y", function={"name": "g", "arguments": ""}),
                tool(index=0, function=REST),
            ),
            id="interleaved_and_without_arguments",
        ),
        pytest.param(
            (
                tool(index=0, id="x"),
                tool(index=0, function=F),
                tool(index=0, function=REST),
                tool(index=1, id="y", function=G),
            ),
            id="name_later",
        ),
    ],
)
@pytest.mark.parametrize("reason", ["tool_calls", "stop"])
def test_calls_are_put_together(chunks: tuple[Any, ...], reason: str) -> None:
    events = answer_of(*chunks, chunk({}, reason), "[DONE]")
    calls: dict[int, list[str | None]] = {}
    for delta in events:
        if isinstance(delta, ToolCallDelta):
            if delta.index not in calls:
                assert delta.index == len(calls)
                calls[delta.index] = [delta.id, delta.name, ""]
            else:
                assert (delta.id, delta.name) == (None, None)
            calls[delta.index][2] = f"{calls[delta.index][2]}{delta.arguments}"

    assert list(calls.values()) == [["x", "f", '{"a":1}'], ["y", "g", "{}"]]
    finish = finish_of(events)
    assert finish.reason == "tool_calls"
    message = (finish.raw or {})["choices"][0]["message"]
    assert message["content"] is None
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == ['{"a":1}', "{}"]


def test_calls_without_ids_get_some() -> None:
    chunks = tool(function=G), tool(function=G)
    deltas = [event for event in answer_of(*chunks, STOP) if isinstance(event, ToolCallDelta)]

    assert [(delta.index, delta.name) for delta in deltas] == [(0, "g"), (1, "g")]
    assert len({*(delta.id for delta in deltas), None}) == 3


def test_a_call_of_the_old_kind_is_a_call() -> None:
    events = answer_of(
        chunk({"function_call": F}), chunk({"function_call": REST}), chunk({}, "function_call")
    )

    assert [event.arguments for event in events if isinstance(event, ToolCallDelta)] == [
        '{"a"',
        ":1}",
    ]
    assert finish_of(events).reason == "tool_calls"
