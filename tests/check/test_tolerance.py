"""What clients put up with is let pass, and what breaks them is not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from llmount.check.checks.answers import violations
from llmount.check.checks.streams import carried
from llmount.check.tolerance import tolerant
from llmount.contract import Contract, names
from llmount.jsontext import dumps

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}

# As llama.cpp, Ollama, vLLM and others write it.
ANSWERS: dict[str, Any] = {
    "llama.cpp": {
        "choices": [
            {
                "finish_reason": "length",
                "index": 0,
                "message": {"role": "assistant", "content": "one, two"},
            }
        ],
        "created": 1750000000,
        "model": "/models/small.gguf",
        "system_fingerprint": "b1-abcdef0",
        "object": "chat.completion",
        "usage": {**USAGE, "prompt_tokens_details": {"cached_tokens": 2}},
        "id": "chatcmpl-x",
        "timings": {"cache_n": 2, "prompt_n": 1, "prompt_ms": 5.5},
    },
    "Ollama": {
        "id": "chatcmpl-425",
        "object": "chat.completion",
        "created": 1750000000,
        "model": "plain",
        "system_fingerprint": "fp_ollama",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "one", "reasoning": "Hm"},
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    },
    "vLLM": {
        "id": "cmpl-1",
        "object": "chat.completion",
        "created": 1750000000.5,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None,
                    "refusal": None,
                    "annotations": None,
                    "audio": None,
                    "function_call": None,
                    "tool_calls": [
                        {"type": "function", "function": {"name": "f", "arguments": "{}"}}
                    ],
                    "reasoning_content": None,
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
                "stop_reason": None,
                "token_ids": None,
            }
        ],
        "service_tier": "own",
        "usage": {**USAGE, "prompt_tokens_details": None},
        "prompt_logprobs": None,
        "kv_transfer_params": None,
    },
}

CHUNKS: dict[str, Any] = {
    "llama.cpp": {
        "choices": [
            {"finish_reason": None, "index": 0, "delta": {"role": "assistant", "content": None}}
        ],
        "created": 1750000000,
        "id": "chatcmpl-x",
        "model": "small",
        "object": "chat.completion.chunk",
    },
    "counts beside the finish": {
        "id": "1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        "usage": USAGE,
        "timings": {},
    },
}


def body(contract: Contract) -> Any:
    media = contract.operations["createChatCompletion"].whole
    assert media is not None
    return media.schema


def item(contract: Contract) -> Any:
    media = contract.operations["createChatCompletion"].stream
    assert media is not None
    return media.carried


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=list(ANSWERS))
def test_answers_of_other_servers_are_tolerated_and_not_exact(answer: Any) -> None:
    assert violations(body(tolerant("chat/openai")), answer) == []
    assert violations(body(Contract.load("chat/openai")), answer) != []


@pytest.mark.parametrize("chunk", CHUNKS.values(), ids=list(CHUNKS))
def test_chunks_of_other_servers_are_tolerated_and_not_exact(chunk: Any) -> None:
    event = carried({"data": dumps(chunk)})
    assert violations(item(tolerant("chat/openai")), event) == []
    assert violations(item(Contract.load("chat/openai")), event) != []


def choice(value: Any) -> Any:
    return value["choices"][0]


BREAKING: dict[str, Callable[[Any], object]] = {
    "no choices": lambda v: v.pop("choices"),
    "choices null": lambda v: v.update(choices=None),
    "no index": lambda v: choice(v).pop("index"),
    "no message": lambda v: choice(v).pop("message"),
    "no role": lambda v: choice(v)["message"].pop("role"),
    "content in parts": lambda v: choice(v)["message"].update(content=[{"type": "text"}]),
    "created as text": lambda v: v.update(created="now"),
    "usage as text": lambda v: v.update(usage="7"),
    "arguments as an object": lambda v: choice(v)["message"].update(
        tool_calls=[{"id": "1", "type": "function", "function": {"name": "f", "arguments": {}}}]
    ),
    "a call without its type": lambda v: choice(v)["message"].update(
        tool_calls=[{"id": "1", "function": {"name": "f", "arguments": "{}"}}]
    ),
}


@pytest.mark.parametrize("usage", [{}, {"usage": None}])
def test_an_answer_without_counts_is_for_the_check_of_counts(usage: Any) -> None:
    answer = {name: value for name, value in ANSWERS["Ollama"].items() if name != "usage"}
    assert violations(body(tolerant("chat/openai")), answer | usage) == []


@pytest.mark.parametrize("change", BREAKING.values(), ids=list(BREAKING))
def test_what_breaks_a_client_is_not_tolerated(change: Callable[[Any], object]) -> None:
    answer = copy.deepcopy(ANSWERS["Ollama"])
    change(answer)
    assert violations(body(tolerant("chat/openai")), answer) != []


BREAKING_CHUNKS: dict[str, Callable[[Any], object]] = {
    "no object": lambda v: v.pop("object"),
    "object of another kind": lambda v: v.update(object="chat.completion"),
    "no choices": lambda v: v.pop("choices"),
    "no index": lambda v: choice(v).pop("index"),
    "no delta": lambda v: choice(v).pop("delta"),
    "delta null": lambda v: choice(v).update(delta=None),
    "created as text": lambda v: v.update(created="now"),
    "a call without its index": lambda v: choice(v)["delta"].update(
        tool_calls=[{"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}]
    ),
    "arguments as an object": lambda v: choice(v)["delta"].update(
        tool_calls=[
            {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": {}}}
        ]
    ),
    "a call of type null": lambda v: choice(v)["delta"].update(
        tool_calls=[{"index": 0, "type": None, "function": {"arguments": "{}"}}]
    ),
}


@pytest.mark.parametrize("change", BREAKING_CHUNKS.values(), ids=list(BREAKING_CHUNKS))
def test_a_chunk_that_breaks_a_client_is_not_tolerated(change: Callable[[Any], object]) -> None:
    chunk = copy.deepcopy(CHUNKS["llama.cpp"])
    change(chunk)
    assert violations(item(tolerant("chat/openai")), carried({"data": dumps(chunk)})) != []


def test_the_first_chunk_of_azure_may_be_about_the_prompt() -> None:
    first = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
    event = carried({"data": dumps({**first, "prompt_filter_results": []})})
    assert violations(item(tolerant("chat/azure")), event) == []
    assert violations(item(tolerant("chat/openai")), event) != []


def named(event: Any) -> Any:
    return {"event": event["type"], "data": dumps(event)}


def test_events_of_responses_need_no_numbers_but_the_places_of_what_they_are_about() -> None:
    event = {
        "type": "response.output_text.delta",
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "delta": "Hel",
    }
    operation = tolerant("chat/responses").operations["createResponse"]
    assert operation.stream is not None
    assert violations(operation.stream.carried, carried(named(event))) == []
    for name in ("item_id", "output_index", "content_index", "delta"):
        less = {key: value for key, value in event.items() if key != name}
        assert violations(operation.stream.carried, carried(named(less))) != [], name


def begun(**changes: Any) -> Any:
    """The event that begins a response, with no more than clients need."""
    response = {"id": "resp-1", "object": "response", "created_at": 1, "model": "m"}
    more = {"status": "in_progress", "output": [], **changes}
    return named({"type": "response.created", "response": response | more})


def done(**changes: Any) -> Any:
    call = {"type": "response.function_call_arguments.done", "item_id": "fc-1"}
    return named({**call, "output_index": 0, "arguments": "{}", **changes})


def part(what: Any, **changes: Any) -> Any:
    place = {"item_id": "msg-1", "output_index": 0, "content_index": 0}
    return named({"type": "response.content_part.added", **place, "part": what, **changes})


def added(item: Any) -> Any:
    return named({"type": "response.output_item.added", "output_index": 0, "item": item})


MESSAGE: dict[str, Any] = {
    "id": "msg-1",
    "type": "message",
    "status": "in_progress",
    "role": "assistant",
    "content": [],
}
TEXT = {"type": "output_text", "text": "Hm", "annotations": []}
CALL = {"type": "function_call", "id": "fc-1", "call_id": "call_1", "name": "f", "arguments": ""}

EVENTS: dict[str, Any] = {
    "no counts before the end": begun(),
    "a message with an id of another form": added(MESSAGE),
    "a call with an id of another form, and no status": added(CALL),
    "the end of a call without its name": done(),
    "an event without a name": {"data": done()["data"]},
    "the end of streams of chat completions": {"data": "[DONE]"},
    "an event of another release": named({"type": "response.paused"}),
    "an item of another kind": added({**CALL, "type": "web_search_call"}),
    "a part without what stands beside its text": part({"type": "output_text", "text": ""}),
    "a refusal": added({**MESSAGE, "content": [{"type": "refusal", "refusal": "No."}]}),
    "a text with notes": added({**MESSAGE, "content": [{**TEXT, "annotations": [{}]}]}),
}

BREAKING_EVENTS: dict[str, Any] = {
    "a message without an id": added({**MESSAGE, "id": None}),
    "a call without an id": added({**CALL, "id": None}),
    "a call without the id that its result refers to": added({**CALL, "call_id": None}),
    "the end of a call without its arguments": done(arguments=None),
    "an event without a type": {"event": "response.created", "data": "{}"},
    "a text without its notes": added({**MESSAGE, "content": [{"type": "output_text"}]}),
    "a part without a type": part({"text": ""}),
    "a part of no item": part({"type": "output_text", "text": ""}, output_index=None),
    "a response without its model": begun(model=None),
}


def event_problems(event: Any) -> list[str]:
    stream = tolerant("chat/responses").operations["createResponse"].stream
    assert stream is not None
    return violations(stream.carried, carried(event))


@pytest.mark.parametrize("event", EVENTS.values(), ids=list(EVENTS))
def test_events_of_other_servers_are_tolerated(event: Any) -> None:
    assert event_problems(event) == []


@pytest.mark.parametrize("event", BREAKING_EVENTS.values(), ids=list(BREAKING_EVENTS))
def test_an_event_that_breaks_a_client_is_not_tolerated(event: Any) -> None:
    assert event_problems(event) != []


@pytest.mark.parametrize(
    ("context", "good"), [([], True), (None, True), ([1, 2], True), (["one"], False), ("1", False)]
)
def test_the_context_of_an_answer_may_be_empty_but_is_a_list_of_numbers(
    context: Any, good: bool
) -> None:
    media = tolerant("generate/ollama").operations["generate"].whole
    assert media is not None
    answer = {
        "model": "m",
        "created_at": "2026-11-21T00:00:00Z",
        "response": "one",
        "done": True,
        "done_reason": "stop",
        "context": context,
        "total_duration": 5,
        "load_duration": 1,
        "prompt_eval_count": 1,
        "prompt_eval_duration": 1,
        "eval_count": 1,
        "eval_duration": 1,
    }
    assert (violations(media.schema, answer) == []) is good


@pytest.mark.parametrize("name", names())
def test_every_contract_has_a_tolerant_form(name: str) -> None:
    assert tolerant(name).operations.keys() == Contract.load(name).operations.keys()
