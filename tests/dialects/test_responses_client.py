"""What the answers of a server that speaks OpenAI's responses mean.

The streams are cut down from those of real servers; that a stream of ours comes back as it
was given is in `tests/test_round_trip.py`.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.responses_events import answer_of, done, ended, event, feed, message

from llmount.dialects.responses_client import RESPONSES, Answer
from llmount.errors import (
    ApiError,
    BackendError,
    BadRequest,
    ContextTooLong,
    ModelNotFound,
    RateLimited,
    Unsupported,
)
from llmount.jsontext import dumps_bytes
from llmount.types import (
    Event,
    Finish,
    ReasoningDelta,
    TextDelta,
    Timings,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)

AB = message("ab")
CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"at":"x"}'}


def text(delta: str, **where: Any) -> Any:
    return event("output_text.delta", delta=delta, **where)


def arguments(delta: str, **where: Any) -> Any:
    return event("function_call_arguments.delta", delta=delta, **where)


def added(item: Any, **where: Any) -> Any:
    return event("output_item.added", item=item, **where)


AT_0 = {"item_id": "msg_1", "output_index": 0}
BEGUN = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}


def said(events: list[Event]) -> list[Event]:
    """The events, neighbours of a kind joined, without the Finish."""
    found: list[Event] = []
    for each in events[:-1]:
        last = found[-1] if found else None
        if isinstance(each, TextDelta) and isinstance(last, TextDelta):
            found[-1] = TextDelta(last.text + each.text, last.logprobs + each.logprobs)
        elif isinstance(each, ReasoningDelta) and isinstance(last, ReasoningDelta):
            found[-1] = ReasoningDelta(last.text + each.text)
        elif (
            isinstance(each, ToolCallDelta)
            and isinstance(last, ToolCallDelta)
            and each.index == last.index
        ):
            assert (each.id, each.name) == (None, None)
            joined = last.arguments + each.arguments
            found[-1] = ToolCallDelta(last.index, last.id, last.name, joined)
        else:
            found.append(each)
    return found


def finish_of(events: list[Event]) -> Finish:
    assert isinstance(events[-1], Finish)
    return events[-1]


# Text


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(
            (
                event("created", response={"id": "resp_1", "status": "in_progress", "output": []}),
                added(BEGUN, output_index=0),
                event("content_part.added", **AT_0, content_index=0, part={"text": ""}),
                text("a", **AT_0, content_index=0, logprobs=[]),
                text("b", **AT_0, content_index=0, logprobs=[]),
                event("output_text.done", **AT_0, text="ab"),
                event("content_part.done", **AT_0, part=AB["content"][0]),
                done(AB),
                ended(AB),
            ),
            id="openai",
        ),
        pytest.param(
            (
                added(BEGUN),
                text("a", item_id="msg_1"),
                text("b", item_id="msg_1"),
                done(AB, place=None),
                ended(AB),
            ),
            id="llamacpp_no_index",
        ),
        pytest.param((added(BEGUN, output_index=0), ended(AB)), id="all_at_the_end"),
        pytest.param((done(AB), ended()), id="whole_item_only"),
        pytest.param((added(BEGUN), text("a", **AT_0), ended(AB)), id="rest_at_the_end"),
        pytest.param((text("a"), text("b"), ended(message("ab", ""))), id="no_ids_no_places"),
        pytest.param(
            (text("a", output_index=0), text("b", output_index=0), ended(message("ab", ""))),
            id="no_ids",
        ),
        pytest.param(
            (text("a", **AT_0), text("b", **AT_0), ended(message("ab", "msg_9"))),
            id="another_id_at_the_end",
        ),
        pytest.param((text("a", **AT_0), text("b", **AT_0), ended()), id="empty_output"),
        pytest.param(
            (text("a", **AT_0), text("b", **AT_0), event("completed", response={})),
            id="empty_response",
        ),
        pytest.param(
            (text("a", **AT_0), text("b", **AT_0), ended(AB), {"data": "[DONE]"}), id="done"
        ),
        pytest.param(
            (
                text("a", **AT_0),
                event("queued"),
                event("web_search_call.searching", item_id="ws_1"),
                done({"type": "web_search_call", "id": "ws_1"}, 1),
                text("b", **AT_0),
                ended(AB, {"type": "web_search_call", "id": "ws_1"}),
            ),
            id="strange_events",
        ),
        pytest.param((event("refusal.delta", delta="ab", **AT_0), ended()), id="refusal"),
        pytest.param(
            (
                ended(
                    {
                        "id": "msg_1",
                        "type": "message",
                        "content": [{"type": "refusal", "refusal": "ab"}],
                    }
                ),
            ),
            id="whole_refusal",
        ),
        pytest.param((ended(AB)["response"],), id="not_streamed"),
    ],
)
def test_the_text_is_heard_once_however_it_is_told(events: tuple[Any, ...]) -> None:
    found = answer_of(*events)

    assert said(found) == [TextDelta("ab")]
    assert finish_of(found).reason == "stop"


def test_a_text_that_differs_at_the_end_is_not_said_again() -> None:
    found = answer_of(text("a", **AT_0), ended(message("xyz")))

    assert said(found) == [TextDelta("a")]


def test_two_messages_are_two() -> None:
    found = answer_of(
        text("a", item_id="msg_1"),
        text("b", item_id="msg_2"),
        ended(message("a", "msg_1"), message("b!", "msg_2")),
    )

    assert said(found) == [TextDelta("ab!")]


def test_logprobs_come_with_their_text_or_at_the_end_but_once() -> None:
    told = [{"token": "ab", "logprob": -0.5, "bytes": [97, 98], "top_logprobs": []}]
    whole = message("ab", logprobs=told)
    entry = TokenLogprob("ab", -0.5, b"ab")

    assert said(answer_of(text("ab", **AT_0, logprobs=told), ended(whole))) == [
        TextDelta("ab", (entry,))
    ]
    assert said(answer_of(ended(whole))) == [TextDelta("ab", (entry,))]


# Thinking


def thought(**more: Any) -> Any:
    return {"id": "rs_1", "type": "reasoning", "summary": [], **more}


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(
            (
                added(thought(), output_index=0),
                event("reasoning_text.delta", delta="Hm", item_id="rs_1", content_index=0),
                event("reasoning_text.delta", delta=".\n\nYes.", item_id="rs_1", content_index=0),
            ),
            id="as_it_is_thought",
        ),
        pytest.param(
            tuple(
                event("reasoning_summary_text.delta", delta=delta, item_id="rs_1", summary_index=n)
                for n, delta in ((0, "Hm"), (0, "."), (1, "Yes"), (1, "."))
            ),
            id="parts_of_a_summary",
        ),
        pytest.param(
            (
                event("reasoning_summary_text.delta", delta="Hm.", item_id="rs_1", summary_index=0),
                done(thought(summary=[{"text": "Hm."}, {"text": "Yes."}])),
            ),
            id="rest_of_a_summary",
        ),
        pytest.param((done(thought(content=[{"text": "Hm.\n\nYes."}])),), id="whole"),
        pytest.param(
            (done(thought(summary=[{"text": "Hm."}, {"text": "Yes."}])),), id="whole_summary"
        ),
        pytest.param(
            (
                event("reasoning_text.delta", delta="Hm.\n\nYes.", item_id="rs_1"),
                event("reasoning_summary_text.delta", delta="Hm", item_id="rs_1", summary_index=0),
            ),
            id="told_twice",
        ),
    ],
)
def test_what_is_thought_is_heard_once(events: tuple[Any, ...]) -> None:
    found = answer_of(*events, text("a", item_id="msg_1"), ended())

    assert said(found) == [ReasoningDelta("Hm.\n\nYes."), TextDelta("a")]


# Calls

FULL = {**CALL, "id": "fc_1"}
EMPTY = {**FULL, "arguments": ""}


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(
            (
                added(EMPTY, output_index=0),
                arguments('{"at":', item_id="fc_1", output_index=0),
                arguments('"x"}', item_id="fc_1", output_index=0),
                done(FULL),
                ended(FULL),
            ),
            id="openai",
        ),
        pytest.param(
            (
                added({**CALL, "arguments": ""}),
                arguments('{"at":', item_id="call_1"),
                arguments('"x"}', item_id="call_1"),
                done(CALL, place=None),
                ended(CALL),
            ),
            id="llamacpp_known_by_call_id",
        ),
        pytest.param(
            (added({**CALL, "arguments": ""}), arguments('{"at":"x"}'), ended(CALL)),
            id="nameless_deltas",
        ),
        pytest.param(
            (added({**CALL, "arguments": ""}), done(FULL, place=None), ended(FULL)),
            id="id_at_the_end",
        ),
        pytest.param((done(FULL), ended(FULL)), id="whole_item"),
        pytest.param((ended(FULL),), id="at_the_end"),
        pytest.param((added(FULL, output_index=0), ended(FULL)), id="begun_whole"),
        pytest.param((ended(FULL)["response"],), id="not_streamed"),
    ],
)
def test_a_call_is_heard_once(events: tuple[Any, ...]) -> None:
    found = answer_of(*events)

    assert said(found) == [ToolCallDelta(0, "call_1", "look", '{"at":"x"}')]
    assert finish_of(found).reason == "tool_calls"


def test_calls_that_are_written_in_turns_are_kept_apart() -> None:
    first, second = EMPTY, {**EMPTY, "id": "fc_2", "call_id": "call_2", "name": "go"}
    found = answer_of(
        added(first, output_index=0),
        added(second, output_index=1),
        arguments('{"at":', item_id="fc_1"),
        arguments("{", item_id="fc_2"),
        arguments('"x"}', item_id="fc_1"),
        arguments("}", item_id="fc_2"),
        ended(),
    )

    calls = [each for each in found if isinstance(each, ToolCallDelta)]
    assert [(each.id, each.name) for each in calls if each.name] == [
        ("call_1", "look"),
        ("call_2", "go"),
    ]
    whole = ["".join(each.arguments for each in calls if each.index == n) for n in (0, 1)]
    assert whole == ['{"at":"x"}', "{}"]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    assert said(answer_of(added(EMPTY, output_index=0), ended(EMPTY))) == [
        ToolCallDelta(0, "call_1", "look", "{}")
    ]


def test_a_call_without_an_id_gets_one() -> None:
    (call,) = said(answer_of(ended({**FULL, "call_id": None})))

    assert isinstance(call, ToolCallDelta)
    assert call.id


# The end


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (ended(AB), "stop"),
        (ended(AB, FULL), "tool_calls"),
        (
            event("incomplete", response={"incomplete_details": {"reason": "max_output_tokens"}}),
            "length",
        ),
        (
            event("incomplete", response={"incomplete_details": {"reason": "content_filter"}}),
            "content_filter",
        ),
        (event("incomplete", response={"incomplete_details": None}), "length"),
        (ended(AB, status="incomplete"), "length"),
        ({"object": "response", "status": "incomplete", "output": [AB]}, "length"),
        ({"object": "response", "output": [AB]}, "stop"),
    ],
)
def test_why_it_ended_is_translated(last: Any, reason: str) -> None:
    assert finish_of(answer_of(last)).reason == reason


def test_usage_timings_and_the_servers_own_answer_are_kept() -> None:
    usage = {
        "input_tokens": 4,
        "input_tokens_details": {"cached_tokens": 2},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 1},
    }
    last = {**ended(AB, usage=usage), "timings": {"prompt_ms": 1.5, "predicted_ms": 2}}
    finish = finish_of(answer_of(last))

    assert finish.usage == Usage(prompt=4, completion=3, cached=2, reasoning=1)
    assert finish.timings == Timings(prompt=1_500_000, completion=2_000_000)
    assert finish.raw is not None
    assert list(finish.raw.items()) == list(last["response"].items())


def test_an_answer_is_done_with_its_last_event() -> None:
    answer = Answer("m")

    feed(answer, text("a", **AT_0))
    assert (answer.complete, answer.done) == (False, False)
    feed(answer, ended(AB))
    assert (answer.complete, answer.done) == (True, True)


@pytest.mark.parametrize(
    "events",
    [
        pytest.param((), id="nothing"),
        pytest.param(({"data": "[DONE]"},), id="only_done"),
        pytest.param((text("a", **AT_0),), id="cut_off"),
        pytest.param((text("a", **AT_0), done(message("a"))), id="no_last_event"),
        pytest.param((text("a", **AT_0), {"data": "[DONE]"}), id="done_but_no_last_event"),
        pytest.param((text("a", **AT_0), event("cancelled", response={})), id="cancelled"),
        pytest.param(
            ({"object": "response", "status": "in_progress", "output": []},), id="in_progress"
        ),
        pytest.param(({"object": "response", "status": "queued", "output": []},), id="queued"),
        pytest.param(
            ({"object": "response", "status": "cancelled", "output": [AB]},), id="was_cancelled"
        ),
        pytest.param(({"object": "list", "data": "x"},), id="something_else"),
        pytest.param(({"data": "{not json"},), id="bad_json"),
        pytest.param(({"data": "[]"},), id="not_an_object"),
        pytest.param((text(5, **AT_0),), id="text_is_a_number"),  # type: ignore[arg-type]
        pytest.param((arguments("{}", item_id="fc_1"), ended()), id="arguments_of_no_call"),
        pytest.param((ended({"type": "function_call"}),), id="nameless_call"),
    ],
)
def test_an_answer_that_was_lost_is_an_error(events: tuple[Any, ...]) -> None:
    with pytest.raises(BackendError):
        answer_of(*events)


# Errors


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ({"code": "server_error", "message": "x"}, BackendError),
        ({"code": "rate_limit_exceeded", "message": "x"}, RateLimited),
        ({"code": "insufficient_quota", "message": "x"}, BackendError),
        ({"code": "invalid_prompt", "message": "x"}, BadRequest),
        ({"code": "image_too_large", "message": "x"}, BadRequest),
        ({"code": "context_length_exceeded", "message": "x"}, BadRequest),
        ({"code": None, "type": "invalid_request_error", "message": "x"}, BadRequest),
        ({"code": "model_not_found", "message": "x"}, ModelNotFound),
        ({"code": 400, "message": "x"}, BadRequest),
        (
            {
                "code": 400,
                "type": "exceed_context_size_error",
                "message": "x",
                "n_prompt_tokens": 9,
                "n_ctx": 4,
            },
            ContextTooLong,
        ),
        (
            {"code": 500, "type": "server_error", "message": "image input is not supported"},
            Unsupported,
        ),
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda told: {"type": "error", "error": told}, id="event"),
        pytest.param(
            lambda told: event("failed", response={"status": "failed", "error": told}), id="failed"
        ),
        pytest.param(lambda told: {"error": told}, id="bare"),
        pytest.param(
            lambda told: {"event": "error", "data": dumps_bytes({"error": told}).decode()},
            id="named",
        ),
        pytest.param(
            lambda told: {"object": "response", "status": "failed", "error": told, "output": []},
            id="whole",
        ),
    ],
)
def test_a_failure_is_what_it_says(told: Any, error: type[ApiError], form: Any) -> None:
    with pytest.raises(ApiError) as raised:
        answer_of(text("a", **AT_0), form(told))
    assert type(raised.value) is error


def test_a_failure_may_be_told_flat() -> None:
    with pytest.raises(RateLimited):
        answer_of({"type": "error", "code": "rate_limit_exceeded", "message": "x", "param": None})


def test_a_failure_without_a_word_is_one() -> None:
    with pytest.raises(BackendError):
        answer_of(event("failed", response={"status": "failed", "error": None}))


# Bodies


@pytest.mark.parametrize("media_type", ["application/json", "text/event-stream"])
def test_both_forms_are_read_off_the_wire(media_type: str) -> None:
    last = ended(AB)
    body = dumps_bytes(last["response"])
    if media_type == "text/event-stream":
        body = b"event: response.completed\ndata: " + dumps_bytes(last) + b"\n\n"
    decoder, answer = RESPONSES.decoder(media_type), RESPONSES.answer("m")

    items = decoder.feed(body) + decoder.close()

    assert said([each for item in items for each in answer.feed(item)] + answer.close()) == [
        TextDelta("ab")
    ]
