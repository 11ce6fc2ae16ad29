"""What the answers of an Ollama server mean."""

from typing import Any

import pytest

from llmount.dialects.ollama_client import Answer, error, models, residents
from llmount.errors import (
    ApiError,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    BadRequest,
    ContextTooLong,
    ModelNotFound,
    Overloaded,
    RateLimited,
    Unsupported,
)
from llmount.types import (
    Event,
    Finish,
    Model,
    ReasoningDelta,
    Residency,
    TextDelta,
    Timings,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)


def answer_of(items: list[Any]) -> list[Event]:
    answer = Answer("m")
    return [event for item in items for event in answer.feed(item)] + answer.close()


def finish_of(items: list[Any]) -> Finish:
    last = answer_of(items)[-1]
    assert isinstance(last, Finish)
    return last


# Answers

DONE = {
    "model": "m",
    "done": True,
    "done_reason": "stop",
    "total_duration": 9,
    "load_duration": 1,
    "prompt_eval_count": 4,
    "prompt_eval_duration": 2,
    "eval_count": 3,
    "eval_duration": 5,
}


def test_a_streamed_chat_becomes_events_and_the_answer_that_was_not_streamed() -> None:
    events = answer_of(
        [
            {"model": "m", "message": {"role": "assistant", "content": "", "thinking": "Hm."}},
            {"model": "m", "message": {"role": "assistant", "content": ""}, "done": False},
            {"model": "m", "message": {"role": "assistant", "content": "He"}, "done": False},
            {"model": "m", "message": {"role": "assistant", "content": "llo"}, "done": False},
            {**DONE, "message": {"role": "assistant", "content": "!"}},
        ]
    )
    whole = {"role": "assistant", "content": "Hello!", "thinking": "Hm."}

    assert events == [
        ReasoningDelta("Hm."),
        TextDelta("He"),
        TextDelta("llo"),
        TextDelta("!"),
        Finish(
            usage=Usage(prompt=4, completion=3),
            timings=Timings(load=1, prompt=2, completion=5),
            raw={**DONE, "message": whole},
        ),
    ]
    assert answer_of([{**DONE, "message": whole}])[-1] == events[-1]


def test_generated_text_comes_with_its_context_and_logprobs() -> None:
    entry = {"token": "a", "logprob": -0.5, "bytes": [97]}
    logprobs = [{**entry, "top_logprobs": [entry, {"token": "b", "logprob": -2}]}]
    top = (TokenLogprob("a", -0.5, b"a"), TokenLogprob("b", -2.0))
    final = {**DONE, "done_reason": "length", "response": "", "context": [1, 2]}
    events = answer_of([{"response": "a", "done": False, "logprobs": logprobs}, final])

    assert events[0] == TextDelta("a", (TokenLogprob("a", -0.5, b"a", top),))
    finish = events[-1]
    assert isinstance(finish, Finish)
    assert finish.reason == "length"
    assert finish.context == (1, 2)
    assert finish.raw == {**final, "response": "a", "logprobs": logprobs}


def test_calls_are_numbered_anew_and_get_ids() -> None:
    # Ollama has been seen to give every call the index 0, and no id.
    calls = [
        {"function": {"index": 0, "name": "f", "arguments": {"a": [1]}}},
        {"id": "x", "function": {"index": 0, "name": "g", "arguments": {}}},
        {"function": {"name": "h", "arguments": '{"as": "text"}'}},
    ]
    *deltas, finish = answer_of(
        [
            {"message": {"role": "assistant", "content": "", "tool_calls": calls[:1]}},
            {"message": {"role": "assistant", "content": "", "tool_calls": calls[1:]}},
            {**DONE, "message": {"role": "assistant", "content": ""}},
        ]
    )
    ids = [delta.id for delta in deltas if isinstance(delta, ToolCallDelta)]

    assert deltas == [
        ToolCallDelta(0, ids[0], "f", '{"a":[1]}'),
        ToolCallDelta(1, "x", "g", "{}"),
        ToolCallDelta(2, ids[2], "h", '{"as": "text"}'),
    ]
    assert len({*ids, None}) == 4
    assert isinstance(finish, Finish)
    assert finish.reason == "tool_calls"
    assert finish.raw is not None
    assert finish.raw["message"]["tool_calls"] == calls


@pytest.mark.parametrize(
    ("final", "reason"),
    [
        ({"done": True, "message": {}}, "stop"),
        ({"done": True}, "stop"),
        ({"done": True, "done_reason": "load", "context": None}, "stop"),
        ({"done": True, "done_reason": "new", "eval_count": "odd"}, "stop"),
        ({"done": True, "done_reason": "length"}, "length"),
    ],
)
def test_a_sparse_end_is_an_end(final: Any, reason: str) -> None:
    # Clones have sent each of these.
    items = [{"message": {"role": "assistant", "content": "a"}, "done": False}, final]
    finish = finish_of(items)

    assert finish.reason == reason
    assert finish.raw is not None
    assert finish.raw["message"] == {"role": "assistant", "content": "a"}


def test_a_stream_that_ends_without_its_end_is_an_error() -> None:
    with pytest.raises(BackendError, match="cut off"):
        answer_of([{"response": "a", "done": False}])


def test_an_error_within_the_stream_is_raised_but_its_text_is_for_the_log() -> None:
    text = "an error was encountered while running the model: /root/secret"

    with pytest.raises(BackendError) as caught:
        answer_of([{"response": "a", "done": False}, {"error": text}])
    assert "secret" not in caught.value.message
    assert any("secret" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    "item",
    [
        [],
        "text",
        None,
        {"response": 5},
        {"message": {"content": {}}},
        {"message": {"tool_calls": [{"function": {"arguments": {}}}]}},
        {"response": "a", "logprobs": [{"token": "a", "logprob": 1, "bytes": [999]}]},
    ],
)
def test_an_item_that_makes_no_sense_is_an_error(item: Any) -> None:
    with pytest.raises(BackendError, match="malformed"):
        Answer("m").feed(item)


# Errors


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"error": "invalid model name"}, BadRequest),
        (400, {"error": '"m" does not support thinking'}, Unsupported),
        (
            400,
            {"error": "registry.ollama.ai/library/m:latest does not support insert"},
            Unsupported,
        ),
        (400, {"error": '{"error":{"code":400,"message":"bad schema"}}'}, BadRequest),
        (401, {"error": "unauthorized", "signin_url": "x"}, BackendError),
        (403, None, BackendError),
        (404, {"error": "model 'm' not found"}, ModelNotFound),
        (404, "404 page not found", BackendError),
        (405, "405 method not allowed", BackendError),
        (408, None, BackendTimeout),
        (429, {"error": "too many"}, RateLimited),
        (499, {"error": "request canceled"}, BackendError),
        (500, {"error": 'option "stop" must be of type array'}, BadRequest),
        (500, {"error": 'invalid format: "\\"xml\\""; expected "json" or …'}, BadRequest),
        (500, {"error": "llama runner process has terminated"}, BackendError),
        (502, "<html>Bad gateway</html>", BackendError),
        (503, {"error": "server busy, please try again."}, Overloaded),
        (503, {"error": "loading model"}, BackendUnavailable),
        (504, "", BackendTimeout),
        (302, "", BackendError),
    ],
)
def test_errors_are_told_by_status_first_and_text_last(
    status: int, body: Any, expected: type[ApiError]
) -> None:
    raised = error(status, body, "m")

    assert type(raised) is expected
    if isinstance(raised, BackendError):
        assert raised.upstream_status == status


def test_errors_of_the_runner_are_unwrapped_and_measured() -> None:
    inner = (
        '{"error":{"code":400,"message":"too big","type":"exceed_context_size_error",'
        '"n_prompt_tokens":5000,"n_ctx":4096}}'
    )
    raised = error(400, {"error": inner}, "m")

    assert isinstance(raised, ContextTooLong)
    assert (raised.tokens, raised.limit) == (5000, 4096)


def test_the_missing_capability_and_model_are_named() -> None:
    lacking = error(400, {"error": '"up" does not support tools'}, "m")
    missing = error(404, {"error": "model 'up' not found"}, "m")

    assert lacking.message == '"m" does not support tools'
    assert missing.message == "model 'm' not found"


# Models


def test_models_are_read_from_the_list_of_tags() -> None:
    entry = {
        "name": "m:latest",
        "modified_at": "2026-08-21T03:02:03.456789012+02:00",
        "size": 12,
        "digest": "abc",
        "details": {
            "format": "gguf",
            "family": "llama",
            "parameter_size": "1B",
            "quantization_level": "Q4_0",
            "context_length": 4096,
        },
        "capabilities": ["completion", "tools", "telepathy"],
    }
    (model,) = models({"models": [entry]})

    assert model.name == "m"
    assert model.created == 1787274123
    assert (model.size, model.digest, model.context_length) == (12, "abc", 4096)
    assert (model.format, model.family, model.quantization) == ("gguf", "llama", "Q4_0")
    assert model.capabilities == {"completion", "tools"}


def test_a_sparse_list_of_models_is_a_list() -> None:
    (model,) = models({"models": [{"model": "m", "modified_at": "123", "details": None}]})

    assert (model.name, model.created) == ("m", 0)
    # Which is unknown, so that nobody may conclude that it cannot do something.
    assert model.capabilities == frozenset()
    assert models({"models": None}) == []


@pytest.mark.parametrize("body", [None, [], "x", {"data": []}])
def test_what_is_no_list_of_models_is_an_error(body: Any) -> None:
    with pytest.raises(BackendError):
        models(body)


def test_what_is_in_memory_is_read_with_its_size_there_and_its_end() -> None:
    known = {
        "name": "m:latest",
        "model": "m:latest",
        "size": 12,
        "digest": "abc",
        "details": {"format": "gguf"},
        "expires_at": "2026-08-21T03:02:03.5+02:00",
        "size_vram": 12,
        "context_length": 4096,
    }
    # For ever is Go's longest duration from now; clones leave the time out.
    for_ever = {"name": "n:1b", "expires_at": "2318-12-01T00:47:16.854775807Z"}

    assert residents({"models": [known, for_ever, {"name": "o"}]}) == [
        Residency(
            model=Model(name="m", digest="abc", format="gguf", capabilities=frozenset()),
            size=12,
            context_length=4096,
            expires=1787274123.5,
        ),
        Residency(model=Model(name="n:1b", capabilities=frozenset())),
        Residency(model=Model(name="o", capabilities=frozenset())),
    ]


@pytest.mark.parametrize("body", [None, [], {"error": "x"}])
def test_what_is_no_list_of_what_is_in_memory_is_an_error(body: Any) -> None:
    with pytest.raises(BackendError):
        residents(body)
