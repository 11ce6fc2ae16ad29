"""What the answers of a server that speaks OpenAI's API mean.

The names in the tables of answers are those of defects that real servers have had.
"""

from typing import Any

import pytest
from tests.openai_chunks import STOP, USAGE, answer_of, chunk, feed, finish_of, text_of, tool

from llmount.dialects.openai_client import Answer, models
from llmount.errors import BackendError, BadRequest
from llmount.types import (
    ReasoningDelta,
    TextDelta,
    Timings,
    TokenLogprob,
    Usage,
)

# Answers

A, B = chunk({"content": "a"}), chunk({"content": "b"})


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param((A, B, STOP, "[DONE]"), id="canonical"),
        pytest.param((A, B, STOP), id="no_done"),
        pytest.param((A, B, "[DONE]"), id="done_nofinish"),
        pytest.param((A, B, STOP, " [DONE] "), id="done_space"),
        pytest.param((A, B, STOP, {"event": "done", "data": "[DONE]"}), id="event_done"),
        pytest.param(
            (chunk({"role": "assistant", "content": "a"}), chunk({"role": "assistant"}), B, STOP),
            id="role_each",
        ),
        pytest.param(
            (chunk({"content": "a"}, ""), chunk({"content": "b"}, ""), STOP), id="fr_empty"
        ),
        pytest.param((A, B, chunk({}, "eos")), id="fr_eos"),
        pytest.param((A, B, STOP, STOP, "[DONE]"), id="fr_twice"),
        pytest.param((A, chunk({"content": "b"}, "stop")), id="content_in_finish"),
        pytest.param((chunk({"content": None}), A, B, STOP), id="content_null"),
        pytest.param(({**A, "choices": [{"delta": {"content": "a"}}]}, B, STOP), id="no_index"),
        pytest.param((A, {**A, "choices": [{"index": 0}]}, B, STOP), id="delta_missing"),
        pytest.param(
            (A, {**A, "choices": [{"index": 0, "delta": None}]}, B, STOP), id="delta_null"
        ),
        pytest.param(
            ({"choices": [{"message": {"content": "a"}}]}, B, STOP), id="message_not_delta"
        ),
        pytest.param((A, {"choices": None}, B, STOP), id="choices_null"),
        pytest.param((A, {"event": "ping", "data": '{"type":"ping"}'}, B, STOP), id="ping_json"),
        pytest.param(({"choices": []}, A, B, STOP), id="leading_empty_choices"),
        pytest.param((A, "", B, STOP), id="empty_data"),
        pytest.param(({**A, "object": ""}, {**B, "object": "x"}, STOP), id="object_wrong"),
        pytest.param(({**A, "error": None}, B, STOP), id="error_null"),
        pytest.param(
            (A, {**A, "choices": [{"index": 1, "delta": {"content": "x"}}]}, B, STOP),
            id="second_choice",
        ),
        pytest.param((chunk({"content": [{"type": "text", "text": "ab"}]}), STOP), id="parts"),
        pytest.param(
            ({"choices": [{"message": {"content": "ab"}, "finish_reason": None}]}, "[DONE]"),
            id="whole_without_reason",
        ),
    ],
)
def test_tolerable_defects_do_not_change_the_answer(chunks: tuple[Any, ...]) -> None:
    events = answer_of(*chunks)
    finish = finish_of(events)

    assert text_of(events) == "ab"
    assert finish.reason == "stop"
    assert finish.raw is not None
    assert finish.raw["choices"][0]["message"]["content"] == "ab"


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param((), id="empty_body"),
        pytest.param(("[DONE]",), id="only_done"),
        pytest.param((A, B), id="nodone_nofinish"),
        pytest.param(({"choices": []}, "[DONE]"), id="no_choices"),
        pytest.param((A, chunk({}, "abort")), id="fr_abort"),
        pytest.param((A, "{not json", STOP), id="bad_json"),
        pytest.param((A, "[]", STOP), id="not_an_object"),
        pytest.param((chunk({"content": 5}), STOP), id="content_number"),
        pytest.param((A, {"error": {"message": "x"}}, STOP), id="error_mid"),
        pytest.param((A, {"error": "x"}, STOP), id="error_string"),
        pytest.param((A, {"event": "error", "data": '{"message":"x"}'}, STOP), id="error_event"),
        pytest.param((A, {"object": "error", "message": "x", "code": 500}, STOP), id="error_flat"),
        pytest.param((A, {"detail": "x"}, STOP), id="detail"),
        pytest.param((tool(index=0, id="x", function={"arguments": "{}"}), STOP), id="no_name"),
    ],
)
def test_an_answer_that_was_lost_is_an_error(chunks: tuple[Any, ...]) -> None:
    with pytest.raises(BackendError):
        answer_of(*chunks)


@pytest.mark.parametrize(
    ("reason", "neutral"),
    [("length", "length"), ("content_filter", "content_filter"), ("model_length", "length")],
)
def test_reasons_are_translated(reason: str, neutral: str) -> None:
    assert finish_of(answer_of(A, chunk({}, reason))).reason == neutral


@pytest.mark.parametrize(
    "chunks",
    [
        (A, STOP, {"choices": [], "usage": USAGE}),
        (chunk({"content": "a"}, usage=USAGE), chunk({}, "stop", usage=USAGE)),
        ({"choices": [], "usage": USAGE}, A, chunk({}, "stop", usage=USAGE)),
        (A, chunk({}, "stop", usage=USAGE), {"choices": [], "usage": None}),
    ],
)
def test_usage_is_counted_once(chunks: tuple[Any, ...]) -> None:
    assert finish_of(answer_of(*chunks, "[DONE]")).usage == Usage(prompt=4, completion=3)


def test_details_of_usage_and_timings_are_read() -> None:
    usage = {
        **USAGE,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    timings = {"prompt_ms": 1.5, "predicted_ms": 2}
    finish = finish_of(answer_of(A, STOP, {"choices": [], "usage": usage, "timings": timings}))

    assert finish.usage == Usage(prompt=4, completion=3, cached=2, reasoning=1)
    assert finish.timings == Timings(prompt=1_500_000, completion=2_000_000)


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "Hm."},
        {"reasoning": "Hm."},
        {"reasoning_content": "Hm.", "reasoning": "Hm.", "reasoning_details": [{}]},
    ],
)
def test_reasoning_is_found_under_either_name_and_once(delta: Any) -> None:
    events = answer_of(chunk(delta), A, STOP)

    assert events[:2] == [ReasoningDelta("Hm."), TextDelta("a")]


def test_a_refusal_is_text() -> None:
    events = answer_of(chunk({"refusal": "No."}), STOP)

    assert text_of(events) == "No."
    assert (finish_of(events).raw or {})["choices"][0]["message"]["refusal"] == "No."


def test_logprobs_come_with_their_text() -> None:
    top = {"token": "b", "logprob": -2, "bytes": None}
    content = [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [top]}]
    choice = {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": content}}
    events = answer_of({"choices": [choice]}, STOP)

    assert events[0] == TextDelta("a", (TokenLogprob("a", -0.5, b"a", (TokenLogprob("b", -2.0),)),))
    assert (finish_of(events).raw or {})["choices"][0]["logprobs"] == {"content": content}


def test_completions_have_text_and_logprobs_of_their_own() -> None:
    logprobs = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"b": -2}]}
    first = {"index": 0, "text": "a", "logprobs": logprobs, "finish_reason": None}
    last = {"index": 0, "text": "", "finish_reason": "length"}
    events = answer_of(
        {"object": "text_completion", "choices": [first]},
        {"object": "text_completion", "choices": [last]},
        "[DONE]",
    )

    assert events[0] == TextDelta("a", (TokenLogprob("a", -0.5, None, (TokenLogprob("b", -2.0),)),))
    raw = finish_of(events).raw or {}
    assert raw["object"] == "text_completion"
    assert raw["choices"][0]["text"] == "a"


def test_the_raw_answer_is_the_one_that_was_not_streamed() -> None:
    events = answer_of(
        chunk({"role": "assistant", "content": "a"}, created=1, model="m", obfuscation="x"),
        chunk({"content": "b", "reasoning": "Hm."}, created=1, model="m", usage=None),
        chunk({}, "stop", created=1, model="m", system_fingerprint="fp"),
        {"id": "c", "choices": [], "usage": USAGE},
        "[DONE]",
    )
    message = {
        "role": "assistant",
        "content": "ab",
        "refusal": None,
        "reasoning_content": "Hm.",
    }
    raw = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "system_fingerprint": "fp",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
    }

    assert finish_of(events).raw == raw
    assert finish_of(answer_of(raw, "[DONE]")).raw == raw


def test_an_answer_says_when_it_is_complete_and_when_it_is_done() -> None:
    answer = Answer("m")

    feed(answer, (A,))
    assert (answer.complete, answer.done) == (False, False)
    feed(answer, (STOP,))
    assert (answer.complete, answer.done) == (True, False)
    feed(answer, ("[DONE]",))
    assert (answer.complete, answer.done) == (True, True)


@pytest.mark.parametrize("code", [400, "400"])
def test_the_status_within_an_error_of_the_stream_counts(code: Any) -> None:
    with pytest.raises(BadRequest, match="x"):
        answer_of(A, {"error": {"message": "x", "code": code}})


# Models


@pytest.mark.parametrize(
    "body",
    [
        {"object": "list", "data": [{"id": "m", "created": 5, "owned_by": "me"}]},
        [{"id": "m", "created": 5, "owned_by": "me"}],
        {"data": [{"id": "m", "created": 5, "owned_by": "me"}, {"name": "nameless"}], "models": []},
    ],
)
def test_models_are_listed(body: Any) -> None:
    (model,) = models(body)

    assert (model.name, model.created, model.owner) == ("m", 5, "me")


def test_an_empty_list_of_models_may_be_null() -> None:
    assert models({"object": "list", "data": None}) == []


@pytest.mark.parametrize("body", [None, "x", {}, {"error": "x"}])
def test_what_is_no_list_of_models_is_an_error(body: Any) -> None:
    with pytest.raises(BackendError):
        models(body)
