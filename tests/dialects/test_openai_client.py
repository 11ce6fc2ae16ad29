"""What is asked of a server that speaks OpenAI's API, and what its answers mean.

The names in the tables of answers are those of defects that real servers have had.
"""

from typing import Any

import pytest

from llmount.dialects.openai_client import HOSTED, Answer, error, models, request
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
from llmount.jsontext import dumps
from llmount.types import (
    AudioPart,
    Event,
    FilePart,
    Finish,
    ImagePart,
    Message,
    Prompt,
    ReasoningDelta,
    Sampling,
    TextDelta,
    TextPart,
    Timings,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolCallDelta,
    Usage,
)

HELLO = (Message("user", (TextPart("Hello"),)),)
ALWAYS = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}


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


# Requests


def test_a_conversation_is_mapped_field_by_field() -> None:
    call = ToolCall("call_1", "look", '{"at":"x"}')
    parts = (
        TextPart("See"),
        ImagePart(url="https://a/b", detail="low"),
        ImagePart(data=b"\xff\xd8\xff"),
        AudioPart(b"wav", "wav"),
        FilePart(b"a", filename="a.txt"),
        FilePart(file_id="f1"),
    )
    messages = (
        Message("system", (TextPart("Be "), TextPart("brief."))),
        Message("user", parts, name="ann"),
        Message("assistant", reasoning="Hm.", tool_calls=(call,)),
        Message("tool", (TextPart("nothing"),), tool_call_id="call_1"),
    )
    path, body = request(
        Prompt(
            model="m",
            messages=messages,
            sampling=Sampling(
                max_tokens=5,
                temperature=0.5,
                top_k=40,
                seed=7,
                stop=("a",),
                logit_bias={5: -1},
            ),
            tools=(Tool("look", "Looks.", {"type": "object"}, strict=True), Tool("go")),
            tool_choice="look",
            parallel_tool_calls=False,
            format={"type": "string"},
            reasoning="low",
            logprobs=3,
            options={"num_ctx": 99, "ignore_eos": True},
        )
    )

    assert path == "/chat/completions"
    assert body == {
        **ALWAYS,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "See"},
                    {"type": "image_url", "image_url": {"url": "https://a/b", "detail": "low"}},
                    {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/"}},
                    {"type": "input_audio", "input_audio": {"data": "d2F2", "format": "wav"}},
                    {
                        "type": "file",
                        "file": {"file_data": "data:text/plain;base64,YQ==", "filename": "a.txt"},
                    },
                    {"type": "file", "file": {"file_id": "f1"}},
                ],
                "name": "ann",
            },
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "Hm.",
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "look", "arguments": '{"at":"x"}'},
                    }
                ],
            },
            {"role": "tool", "content": "nothing", "tool_call_id": "call_1"},
        ],
        "max_tokens": 5,
        "temperature": 0.5,
        "top_k": 40,
        "seed": 7,
        "stop": ["a"],
        "logit_bias": {"5": -1},
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "look",
                    "description": "Looks.",
                    "parameters": {"type": "object"},
                    "strict": True,
                },
            },
            {"type": "function", "function": {"name": "go"}},
        ],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "string"}},
        },
        "reasoning_effort": "low",
        "logprobs": True,
        "top_logprobs": 3,
        "ignore_eos": True,
    }


@pytest.mark.parametrize(
    ("prompt", "body"),
    [
        (Prompt(model="m", text="Once", logprobs=2), {"prompt": "Once", "logprobs": 2}),
        (Prompt(model="m", text="f(", suffix=")"), {"prompt": "f(", "suffix": ")"}),
        (Prompt(model="m", messages=HELLO, suffix="!"), {"prompt": "Hello", "suffix": "!"}),
    ],
)
def test_text_to_be_continued_goes_to_completions(prompt: Prompt, body: Any) -> None:
    assert request(prompt) == ("/completions", {**ALWAYS, **body})


@pytest.mark.parametrize(
    ("more", "body"),
    [
        ({}, {}),
        ({"format": "json"}, {"response_format": {"type": "json_object"}}),
        ({"reasoning": True}, {"reasoning_effort": "medium"}),
        ({"reasoning": False}, {"reasoning_effort": "none"}),
        ({"logprobs": 0}, {"logprobs": True}),
        ({"sampling": Sampling(max_tokens=-1)}, {}),
        ({"keep_alive": 5, "tool_choice": "required"}, {}),
    ],
)
def test_small_choices_are_translated(more: Any, body: Any) -> None:
    messages = [{"role": "user", "content": "Hello"}]

    assert request(Prompt(model="m", messages=HELLO, **more))[1] == {
        **ALWAYS,
        "messages": messages,
        **body,
    }


def test_the_name_of_the_token_limit_is_a_choice() -> None:
    prompt = Prompt(model="m", messages=HELLO, sampling=Sampling(max_tokens=5))

    assert request(prompt)[1]["max_tokens"] == 5
    assert request(prompt, HOSTED)[1]["max_completion_tokens"] == 5
    assert "max_tokens" not in request(prompt, HOSTED)[1]


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(model="m", text="a", context=(1,)),
        Prompt(model="m", messages=HELLO, template="T"),
        Prompt(model="m", text="a", tools=(Tool("f"),)),
        Prompt(model="m", text="a", format="json"),
        Prompt(model="m", messages=HELLO * 2, suffix="b"),
        Prompt(model="m", messages=HELLO, sampling=Sampling(top_k=5)),
    ],
)
def test_what_the_api_cannot_say_is_refused(prompt: Prompt) -> None:
    with pytest.raises(Unsupported):
        request(prompt, HOSTED)


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


# Errors


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"error": {"message": "x", "type": "BadRequestError", "code": 400}}, BadRequest),
        (400, {"object": "error", "message": "x", "code": 400}, BadRequest),
        (400, {"error": {"message": "x", "code": "model_not_found"}}, ModelNotFound),
        (401, {"error": "Unauthorized"}, BackendError),
        (403, {"error": {"message": "x", "code": "request_forbidden"}}, BackendError),
        (404, {"error": {"message": "The model `m` does not exist"}}, ModelNotFound),
        (404, {"error": {"message": "Invalid URL (POST /v1/x)"}}, BackendError),
        (404, {"detail": "Not Found"}, BackendError),
        (404, "<html>model airplanes</html>", BackendError),
        (408, "", BackendTimeout),
        (413, "", BadRequest),
        (422, {"detail": [{"msg": "Field required"}]}, BadRequest),
        (429, {"error": {"message": "x", "code": "rate_limit_exceeded"}}, RateLimited),
        (429, {"error": {"message": "x", "code": "insufficient_quota"}}, BackendError),
        (429, [{"error": {"code": 429, "message": "x"}}], RateLimited),
        (500, "Internal Server Error", BackendError),
        (501, {"error": {"message": "no"}}, BadRequest),
        (503, {"error": {"message": "Loading model", "code": 503}}, BackendUnavailable),
        (503, {"error": {"message": "x", "type": "server_error"}}, Overloaded),
        (504, None, BackendTimeout),
        (529, {}, Overloaded),
        (307, "", BackendError),
    ],
)
def test_errors_of_every_envelope_are_told_by_status_first(
    status: int, body: Any, expected: type[ApiError]
) -> None:
    assert type(error(status, body, "m")) is expected


@pytest.mark.parametrize(
    "body",
    [
        {
            "error": {
                "code": "context_length_exceeded",
                "message": "This model's maximum context length is 4096 tokens. However, your "
                "messages resulted in 5000 tokens.",
            }
        },
        {"error": {"message": "the request exceeds", "n_prompt_tokens": 5000, "n_ctx": 4096}},
        {"error": {"message": "request (5000 tokens) exceeds the context size (4096 tokens)"}},
        {
            "object": "error",
            "message": "The input (5000 tokens) is longer than the model's context length "
            "(4096 tokens).",
        },
    ],
)
def test_a_prompt_that_is_too_long_is_measured(body: Any) -> None:
    raised = error(400, body, "m")

    assert isinstance(raised, ContextTooLong)
    assert (raised.tokens, raised.limit) == (5000, 4096)


def test_the_field_at_fault_and_the_text_reach_the_client_of_a_bad_request() -> None:
    raised = error(400, {"error": {"message": "Bad value.", "param": "top_p"}}, "m")

    assert isinstance(raised, BadRequest)
    assert (raised.message, raised.param) == ("Bad value.", "top_p")


def test_the_text_of_a_failure_is_for_the_log() -> None:
    raised = error(500, {"error": {"message": "CUDA in /root"}}, "m")

    assert "CUDA" not in raised.message
    assert raised.__notes__ == ["the upstream said: CUDA in /root"]


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
