"""The rules for the order of a stream: they let good ones pass and catch each thing that
clients have been seen to stumble over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from llmount.dialects.openai_answer import Chunks
from llmount.dialects.openai_text import Texts, order
from llmount.dialects.openai_tools import Offer
from llmount.dialects.responses_codec import ResponseCodec
from llmount.errors import BackendError
from llmount.jsontext import dumps, loads
from llmount.testing.stream_rules import (
    chat_completion_problems,
    response_problems,
    text_completion_problems,
)
from llmount.types import (
    Event,
    Finish,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)

EVENTS: tuple[Event, ...] = (
    ReasoningDelta("Hm"),
    TextDelta("Hel"),
    TextDelta("lo", (TokenLogprob("lo", -0.5),)),
    ToolCallDelta(0, "call_1", "weather"),
    ToolCallDelta(0, arguments='{"city":'),
    ToolCallDelta(0, arguments='"Oslo"}'),
    ToolCallDelta(1, "call_2", "weather", "{}"),
    Finish(reason="tool_calls", usage=Usage(prompt=9, completion=7)),
)
CHAT = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}
ASKED = {"model": "m", "input": "Hi", "stream": True, "parallel_tool_calls": True}

Payloads = list[Any]
Edit = Callable[[Payloads], Any]


def chat_events() -> list[Any]:
    codec = Chunks("m", usage=True)
    return [item for event in EVENTS for item in codec.items(event)]


def response_events(events: Sequence[Event] = EVENTS, **asked: Any) -> list[Any]:
    codec = ResponseCodec({**ASKED, **asked})
    return [item for event in events for item in codec.items(event)]


def edited(items: Sequence[Any], edit: Edit) -> list[Any]:
    """The events after an edit of what they carry; "[DONE]" is a text there."""
    payloads = [each["data"] if each["data"] == "[DONE]" else loads(each["data"]) for each in items]
    edit(payloads)
    named = "event" in items[0]
    return [
        {"data": each if isinstance(each, str) else dumps(each)}
        | ({"event": each["type"]} if named and not isinstance(each, str) else {})
        for each in payloads
    ]


# Chat completions. The chunks: 0 role, 1 reasoning, 2 and 3 text, 4 to 6 the first call,
# 7 the second one, 8 the finish_reason, 9 the usage, 10 [DONE].


def delta(payloads: Payloads, number: int) -> Any:
    return payloads[number]["choices"][0]["delta"]


def called(payloads: Payloads, number: int) -> Any:
    return delta(payloads, number)["tool_calls"][0]


def test_a_good_stream_of_chunks_passes() -> None:
    assert list(chat_completion_problems(chat_events(), CHAT)) == []


def test_a_stream_of_chunks_that_ends_with_an_error_passes() -> None:
    items = [*chat_events()[:4], {"data": '{"error":{"message":"failed"}}'}]
    assert list(chat_completion_problems(items, CHAT)) == []


CHAT_FAULTS: dict[str, tuple[Edit, str]] = {
    "no [DONE]": (lambda p: p.pop(), "neither [DONE] nor an error"),
    "[DONE] twice": (lambda p: p.append("[DONE]"), "event 11: comes after [DONE]"),
    "a chunk after [DONE]": (lambda p: p.append(p[1]), "event 11: comes after [DONE]"),
    "a chunk after an error": (
        lambda p: p.insert(3, {"error": {"message": "failed"}}),
        "event 4: comes after an error",
    ),
    "a chunk that is not JSON": (lambda p: p.insert(1, "oops"), "event 1: is not JSON"),
    "another id": (lambda p: p[3].update(id="chatcmpl-2"), "event 3: id is 'chatcmpl-2'"),
    "another time": (lambda p: p[3].update(created=1), "event 3: created is 1"),
    "another model": (lambda p: p[3].update(model="n"), "event 3: model is 'n'"),
    "another object": (lambda p: p[3].update(object="chat.completion"), "event 3: object is"),
    "no role": (lambda p: p.pop(0), "event 0: choice 0: begins without its role"),
    "the role twice": (
        lambda p: delta(p, 2).update(role="assistant"),
        "event 2: choice 0: has its role again",
    ),
    "text after the finish": (lambda p: p.insert(9, p[2]), "goes on after its finish_reason"),
    "the finish twice": (lambda p: p.insert(9, p[8]), "goes on after its finish_reason"),
    "no finish": (lambda p: p.pop(8), "choice 0 has no finish_reason"),
    "a finish for calls that are not there": (
        lambda p: p.__delitem__(slice(4, 8)),
        "finishes for tool_calls and has none",
    ),
    "a choice that is out of order": (
        lambda p: [c.update(index=1) for e in p[:9] for c in e["choices"]],
        "choice 1 begins after 0 others",
    ),
    "a call that is out of order": (
        lambda p: called(p, 7).update(index=2),
        "call 2 begins after 1 others",
    ),
    "a call without its id": (lambda p: called(p, 4).pop("id"), "call 0 begins without its id"),
    "a call without its name": (
        lambda p: called(p, 4)["function"].pop("name"),
        "call 0 begins without its id, type or name",
    ),
    "a call with its id again": (
        lambda p: called(p, 5).update(id="call_1"),
        "call 0 has its id, type or name again",
    ),
    "arguments that are cut off": (
        lambda p: p.pop(6),
        "the arguments of call 0 are no JSON object",
    ),
    "usage twice": (
        lambda p: p.insert(9, p[9]),
        "event 9: has token counts and is not the last chunk",
    ),
    "no usage": (lambda p: p.pop(9), "the token counts come 0 times"),
    "usage beside the finish": (
        lambda p: p[8].update(usage=p.pop(9)["usage"]),
        "event 8: has token counts beside a choice",
    ),
    "no null before the usage": (
        lambda p: p[2].pop("usage"),
        "event 2: has no usage, not even null",
    ),
}


@pytest.mark.parametrize(("edit", "complaint"), CHAT_FAULTS.values(), ids=list(CHAT_FAULTS))
def test_a_fault_of_chunks_is_found(edit: Edit, complaint: str) -> None:
    found = list(chat_completion_problems(edited(chat_events(), edit), CHAT))
    assert any(complaint in str(each) for each in found), found


@pytest.mark.parametrize(
    ("request_body", "complaint"),
    [
        ({"model": "m"}, "token counts that nobody asked for"),
        ({**CHAT, "n": 2}, "there are 1 choices, not 2"),
    ],
)
def test_chunks_that_were_not_asked_for_are_found(request_body: Any, complaint: str) -> None:
    found = list(chat_completion_problems(chat_events(), request_body))
    assert any(complaint in str(each) for each in found), found


@pytest.mark.parametrize("field", ["event", "id", "retry"])
def test_a_field_that_breaks_readers_of_chunks_is_found(field: str) -> None:
    items = chat_events()
    items[1] = {**items[1], field: "1"}
    assert [str(each) for each in chat_completion_problems(items, CHAT)] == [
        f"event 1: has the field {field}"
    ]


# Responses. The events: 0 created, 1 in progress; reasoning 2 added, 3 part added, 4 delta,
# 5 text done, 6 part done, 7 done; the message 8 added, 9 part added, 10 and 11 deltas,
# 12 text done, 13 part done, 14 done; the call 15 added, 16 and 17 deltas, 18 arguments
# done, 19 done; the other call 20 added, 21 delta, 22 arguments done, 23 done; 24 completed.


def renumbered(edit: Edit) -> Edit:
    """The edit, with the numbers mended, so that nothing else is wrong."""

    def both(payloads: Payloads) -> None:
        edit(payloads)
        for number, payload in enumerate(payloads):
            payload["sequence_number"] = number

    return both


def item(payloads: Payloads, number: int) -> Any:
    return payloads[number]["item"]


def test_the_events_of_a_response_are_where_the_faults_expect_them() -> None:
    kinds = [each["event"].removeprefix("response.") for each in response_events()]
    assert kinds[7] == kinds[14] == kinds[19] == kinds[23] == "output_item.done"
    assert len(kinds) == 25


@pytest.mark.parametrize("asked", [{}, {"reasoning": {"summary": "auto"}}])
@pytest.mark.parametrize("reason", ["stop", "length"])
def test_a_good_stream_of_a_response_passes(reason: Any, asked: Any) -> None:
    events = [*EVENTS[:-1], Finish(reason=reason)]
    assert list(response_problems(response_events(events, **asked), ASKED)) == []


def test_a_stream_of_a_response_that_fails_passes() -> None:
    codec = ResponseCodec(ASKED)
    items = [item for event in EVENTS[:3] for item in codec.items(event)]
    assert list(response_problems([*items, *codec.failed(BackendError())], ASKED)) == []


def test_an_error_alone_ends_a_response() -> None:
    error = {"type": "error", "sequence_number": 11, "message": "failed"}
    items = [*response_events()[:11], {"event": "error", "data": dumps(error)}]
    assert list(response_problems(items, ASKED)) == []


RESPONSE_FAULTS: dict[str, tuple[Edit, str]] = {
    "a number left out": (
        lambda p: p.pop(4),
        "event 4: response.reasoning_text.done: has the sequence_number 5",
    ),
    "no created": (
        renumbered(lambda p: p.pop(0)),
        "event 0: response.in_progress: is not how a stream begins",
    ),
    "no in_progress": (
        renumbered(lambda p: p.pop(1)),
        "event 1: response.output_item.added: is not how a stream begins",
    ),
    "no end": (lambda p: p.pop(), "no event that ends the stream"),
    "two ends": (
        renumbered(lambda p: p.append({**p[24]})),
        "event 25: response.completed: comes after response.completed",
    ),
    "another id": (lambda p: p[24]["response"].update(id="resp_2"), "id is 'resp_2'"),
    "another time": (lambda p: p[24]["response"].update(created_at=1), "created_at is 1"),
    "another model": (lambda p: p[24]["response"].update(model="n"), "model is 'n'"),
    "another status": (
        lambda p: p[24]["response"].update(status="in_progress"),
        "the response is in_progress",
    ),
    "an error in what is completed": (
        lambda p: p[24]["response"].update(error={"code": "x"}),
        "error is",
    ),
    "details of what is completed": (
        lambda p: p[24]["response"].update(incomplete_details={"reason": "x"}),
        "incomplete_details is",
    ),
    "usage at the beginning": (
        lambda p: p[0]["response"].update(usage={"total_tokens": 1}),
        "event 0: response.created: has token counts",
    ),
    "no usage at the end": (lambda p: p[24]["response"].update(usage=None), "has no token counts"),
    "usage that does not add up": (
        lambda p: p[24]["response"]["usage"].update(total_tokens=1),
        "total_tokens is not the sum",
    ),
    "an item left out at the end": (
        lambda p: p[24]["response"]["output"].pop(),
        "output is not what the items were",
    ),
    "an item that is not done": (renumbered(lambda p: p.pop(23)), "item 3 is not done"),
    "an item out of order": (
        lambda p: p[2].update(output_index=1),
        "item 1 is added after 0 others",
    ),
    "an item that is never added": (
        renumbered(lambda p: p.pop(8)),
        "event 8: response.content_part.added: there is no item 1",
    ),
    "an id twice": (lambda p: item(p, 8).update(id=item(p, 2)["id"]), "another item has the id"),
    "two calls with one id": (
        lambda p: item(p, 20).update(call_id="call_1"),
        "event 20: response.output_item.added: another item has the call_id 'call_1'",
    ),
    "a call that changes": (
        lambda p: item(p, 23).update(name="time"),
        "event 23: response.output_item.done: name is 'time' and was 'weather'",
    ),
    "an item that is completed at once": (
        lambda p: item(p, 8).update(status="completed"),
        "event 8: response.output_item.added: the item is completed",
    ),
    "an item that is never completed": (
        lambda p: item(p, 14).update(status="in_progress"),
        "event 14: response.output_item.done: the item is in progress",
    ),
    "an item that changes": (lambda p: item(p, 14).update(id="msg_2"), "id is 'msg_2' and was"),
    "an item that goes on": (
        renumbered(lambda p: p.insert(15, {**p[11]})),
        "event 15: response.output_text.delta: item 1 is done",
    ),
    "another item's id": (lambda p: p[10].update(item_id="msg_2"), "item_id is 'msg_2'"),
    "a part out of order": (
        lambda p: p[9].update(content_index=1),
        "part 1 is added after 0 others",
    ),
    "a part that is never added": (
        renumbered(lambda p: p.pop(9)),
        "event 9: response.output_text.delta: part 0 is not open",
    ),
    "a part that is not done": (
        renumbered(lambda p: p.pop(13)),
        "event 13: response.output_item.done: part 0 is not done",
    ),
    "a part that is not what was written": (
        lambda p: p[13]["part"].update(text="x"),
        "event 13: response.content_part.done: part 0 is not what was written",
    ),
    "a piece left out": (renumbered(lambda p: p.pop(10)), "text is not what was written"),
    "a piece of reasoning left out": (
        renumbered(lambda p: p.pop(4)),
        "event 4: response.reasoning_text.done: text is not what was written",
    ),
    "a message that is not what was written": (
        lambda p: item(p, 14)["content"].clear(),
        "event 14: response.output_item.done: part 0 is not what was written",
    ),
    "a piece of arguments left out": (
        renumbered(lambda p: p.pop(16)),
        "arguments is not what was written",
    ),
    "arguments that are no object": (
        lambda p: [
            p[21].update(delta="[]"),
            p[22].update(arguments="[]"),
            item(p, 23).update(arguments="[]"),
        ],
        "the arguments are no JSON object",
    ),
    "arguments that change": (
        lambda p: item(p, 23).update(arguments='{"a": 1}'),
        "event 23: response.output_item.done: arguments is not what was written",
    ),
}


@pytest.mark.parametrize(("edit", "complaint"), RESPONSE_FAULTS.values(), ids=list(RESPONSE_FAULTS))
def test_a_fault_of_a_response_is_found(edit: Edit, complaint: str) -> None:
    found = list(response_problems(edited(response_events(), edit), ASKED))
    assert any(complaint in str(each) for each in found), found


def test_a_name_that_is_not_the_type_is_found() -> None:
    items = response_events()
    items[4] = {"data": items[4]["data"]}
    assert [str(each) for each in response_problems(items, ASKED)] == [
        "event 4: response.reasoning_text.delta: is named None"
    ]


def test_done_at_the_end_of_a_response_is_found() -> None:
    items = [*response_events(), {"data": "[DONE]"}]
    assert [str(each) for each in response_problems(items, ASKED)] == [
        "event 25: is not JSON: '[DONE]'"
    ]


def test_an_error_that_goes_on_is_found() -> None:
    items = response_events()
    items[11] = {"event": "error", "data": '{"type":"error","sequence_number":11}'}
    found = [str(each) for each in response_problems(items, ASKED)]
    assert "event 12: response.output_text.done: comes after error" in found


def test_events_of_kinds_that_are_not_known_pass() -> None:
    items = edited(
        response_events(),
        renumbered(lambda p: p.insert(2, {"type": "response.web_search_call.searching"})),
    )
    assert list(response_problems(items, ASKED)) == []


# Text completions

TEXT = {"model": "m", "prompt": ["a", "b"], "echo": True, "stream": True} | {
    "stream_options": {"include_usage": True}
}


def text_events(**asked: Any) -> list[Any]:
    """Of two prompts with an answer each: the prompt, a word and the end; then the counts."""
    body = {"n": 1, "max_tokens": 16, **TEXT, **asked}
    codec = Texts(order(body), usage=True)
    events = [
        (number, event)
        for number in range(len(body["prompt"]) * body["n"])
        for event in (TextDelta("word"), Finish(usage=Usage(prompt=1, completion=1)))
    ]
    return [item for choice in events for item in codec.items(choice)]


def test_a_good_stream_of_texts_passes() -> None:
    assert list(text_completion_problems(text_events(), TEXT)) == []
    several = {**TEXT, "n": 2}
    assert list(text_completion_problems(text_events(n=2), several)) == []


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda p: p.pop(), "neither [DONE] nor an error"),
        (lambda p: p.pop(-2), "the token counts come 0 times"),
        (lambda p: p.pop(2), "choice 0 has no finish_reason"),
        (lambda p: p.insert(3, p[2]), "choice 0: goes on after its finish_reason"),
        (lambda p: p.__delitem__(slice(3, 6)), "there are 1 choices, not 2"),
        (lambda p: p.__delitem__(slice(0, 3)), "choice 1 begins after 0 others"),
        (lambda p: p.pop(0), "choice 0: does not begin with its prompt"),
        (lambda p: p[1].update(id="cmpl-other"), "id is 'cmpl-other'"),
        (lambda p: p[1].update(usage=p[-2]["usage"]), "has token counts and is not the last"),
        (lambda p: p.append("[DONE]"), "comes after [DONE]"),
        (
            lambda p: p[1]["choices"][0].update(logprobs={"tokens": ["x"], "text_offset": []}),
            "lists of log probabilities that differ",
        ),
    ],
)
def test_a_fault_of_texts_is_found(edit: Edit, complaint: str) -> None:
    found = list(text_completion_problems(edited(text_events(), edit), TEXT))
    assert any(complaint in str(each) for each in found), found


# Calls in other forms


def call_events(offer: Offer) -> list[Any]:
    codec = Chunks("m", usage=True, offer=offer)
    events = [each for each in EVENTS if not (isinstance(each, ToolCallDelta) and each.index)]
    return [item for event in events for item in codec.items(event)]


@pytest.mark.parametrize("offer", [Offer(custom=frozenset({"weather"})), Offer(old=True)])
def test_calls_of_custom_tools_and_old_functions_pass(offer: Offer) -> None:
    assert list(chat_completion_problems(call_events(offer), CHAT)) == []


@pytest.mark.parametrize(
    ("offer", "edit", "complaint"),
    [
        (
            Offer(custom=frozenset({"weather"})),
            lambda p: delta(p, 4)["tool_calls"][0]["custom"].pop("name"),
            "call 0 begins without its id, type or name",
        ),
        (
            Offer(old=True),
            lambda p: delta(p, 4)["function_call"].pop("name"),
            "the function_call begins without its name",
        ),
        (
            Offer(old=True),
            lambda p: delta(p, 5)["function_call"].update(name="weather"),
            "the function_call has its name again",
        ),
        (
            Offer(old=True),
            lambda p: p.__delitem__(slice(4, 7)),
            "choice 0 finishes for function_call and has none",
        ),
    ],
)
def test_a_fault_of_such_calls_is_found(offer: Offer, edit: Edit, complaint: str) -> None:
    found = list(chat_completion_problems(edited(call_events(offer), edit), CHAT))
    assert any(complaint in str(each) for each in found), found
