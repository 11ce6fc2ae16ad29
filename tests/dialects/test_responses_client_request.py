"""What is asked of a server that speaks OpenAI's responses: each field of a prompt."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from llmount.dialects.responses_client_request import request
from llmount.errors import Unsupported
from llmount.types import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    Prompt,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
)

HELLO = (Message("user", (TextPart("Hello"),)),)
PLAIN = {
    "model": "m",
    "input": [{"role": "user", "content": "Hello"}],
    "stream": True,
    "store": False,
}


def body_of(**more: Any) -> Any:
    path, body = request(Prompt(**{"model": "m", "messages": HELLO, **more}))
    assert path == "/responses"
    return body


def test_a_conversation_is_mapped_turn_by_turn() -> None:
    calls = (ToolCall("call_1", "look", '{"at":"x"}'), ToolCall("call_2", "go", "{}"))
    parts = (
        TextPart("See"),
        ImagePart(url="https://a/b", detail="low"),
        ImagePart(data=b"\xff\xd8\xff"),
        FilePart(b"a", filename="a.txt"),
        FilePart(file_id="f1"),
    )
    messages = (
        Message("system", (TextPart("Be "), TextPart("brief."))),
        Message("user", parts),
        Message("assistant", (TextPart("Let me "), TextPart("look.")), tool_calls=calls),
        Message("tool", (TextPart("nothing"),), tool_call_id="call_1"),
        Message("tool", (TextPart("see"), ImagePart(data=b"\x89PNG")), tool_call_id="call_2"),
        Message("assistant"),
    )

    assert body_of(messages=messages)["input"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "See"},
                {"type": "input_image", "image_url": "https://a/b", "detail": "low"},
                {"type": "input_image", "image_url": "data:image/jpeg;base64,/9j/"},
                {
                    "type": "input_file",
                    "file_data": "data:text/plain;base64,YQ==",
                    "filename": "a.txt",
                },
                {"type": "input_file", "file_id": "f1"},
            ],
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "Let me "},
                {"type": "output_text", "text": "look."},
            ],
        },
        {
            "type": "function_call",
            "call_id": "call_1",
            "name": "look",
            "arguments": '{"at":"x"}',
        },
        {"type": "function_call", "call_id": "call_2", "name": "go", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "nothing"},
        {
            "type": "function_call_output",
            "call_id": "call_2",
            "output": [
                {"type": "input_text", "text": "see"},
                {"type": "input_image", "image_url": "data:image/png;base64,iVBORw=="},
            ],
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": ""}],
        },
    ]


LOOK = {
    "type": "function",
    "name": "look",
    "description": "Looks.",
    "parameters": {"type": "object"},
    "strict": True,
}
GO = {
    "type": "function",
    "name": "go",
    "parameters": {"type": "object", "properties": {}},
    # The API's own default is true.
    "strict": False,
}
TOOLS = (Tool("look", "Looks.", {"type": "object"}, strict=True), Tool("go"))
SCHEMA = {"type": "string"}

SENT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"sampling": Sampling(max_tokens=5)}, {"max_output_tokens": 5}),
    ({"sampling": Sampling(max_tokens=-1)}, {}),
    ({"sampling": Sampling(temperature=0.5, top_p=0.25)}, {"temperature": 0.5, "top_p": 0.25}),
    ({"tools": TOOLS}, {"tools": [LOOK, GO]}),
    ({"tools": TOOLS, "tool_choice": "none"}, {"tools": [LOOK, GO], "tool_choice": "none"}),
    (
        {"tools": TOOLS, "tool_choice": "required"},
        {"tools": [LOOK, GO], "tool_choice": "required"},
    ),
    (
        {"tools": TOOLS, "tool_choice": "go"},
        {"tools": [LOOK, GO], "tool_choice": {"type": "function", "name": "go"}},
    ),
    (
        {"tools": TOOLS, "parallel_tool_calls": False},
        {"tools": [LOOK, GO], "parallel_tool_calls": False},
    ),
    ({"tool_choice": "required", "parallel_tool_calls": False}, {}),
    ({"format": "json"}, {"text": {"format": {"type": "json_object"}}}),
    (
        {"format": SCHEMA},
        {
            "text": {
                "format": {
                    "type": "json_schema",
                    "name": "answer",
                    "schema": SCHEMA,
                    "strict": False,
                }
            }
        },
    ),
    ({"reasoning": True}, {"reasoning": {"effort": "medium", "summary": "auto"}}),
    ({"reasoning": "high"}, {"reasoning": {"effort": "high", "summary": "auto"}}),
    ({"reasoning": False}, {"reasoning": {"effort": "none"}}),
    ({"logprobs": 0}, {"include": ["message.output_text.logprobs"]}),
    ({"logprobs": 2}, {"include": ["message.output_text.logprobs"], "top_logprobs": 2}),
]


@pytest.mark.parametrize(("asked", "sent"), SENT, ids=lambda value: ",".join(value))
def test_what_the_api_can_say_is_sent(asked: Any, sent: Any) -> None:
    assert body_of(**asked) == {**PLAIN, **sent}


DROPPED: list[dict[str, Any]] = [
    {"keep_alive": 5},
    {"options": {"num_ctx": 99}},
    {"messages": (Message("user", (TextPart("Hello"),), name="ann"),)},
    {"messages": (Message("user", (TextPart("Hello"),), reasoning="Hm."),)},
]


@pytest.mark.parametrize("asked", DROPPED, ids=lambda value: ",".join(value))
def test_what_does_not_change_the_answer_is_left_out(asked: Any) -> None:
    assert body_of(**asked) == PLAIN


UNSAYABLE: dict[str, Any] = {
    "top_k": 4,
    "min_p": 0.1,
    "typical_p": 0.1,
    "repeat_penalty": 1.1,
    "repeat_last_n": 4,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "seed": 7,
    "stop": ("a",),
    "logit_bias": {5: 1},
}
REFUSED: list[dict[str, Any]] = [
    {"messages": (), "text": "Once"},
    {"suffix": "b"},
    {"context": (1,)},
    {"template": "T"},
    {"messages": (Message("user", (AudioPart(b"a", "wav"),)),)},
    *({"sampling": Sampling(**{name: value})} for name, value in UNSAYABLE.items()),
]


@pytest.mark.parametrize("asked", REFUSED, ids=str)
def test_what_the_api_cannot_say_is_refused(asked: Any) -> None:
    with pytest.raises(Unsupported, match='"m" does not support'):
        body_of(**asked)


def test_every_field_of_a_prompt_is_decided_on() -> None:
    decided = {
        name for asked in [*(asked for asked, _ in SENT), *DROPPED, *REFUSED] for name in asked
    }

    assert decided | {"model"} == {field.name for field in fields(Prompt)}
    settings = {
        field.name
        for asked in [*(asked for asked, _ in SENT), *REFUSED]
        if (sampling := asked.get("sampling")) is not None
        for field in fields(Sampling)
        if getattr(sampling, field.name) not in (None, (), {})
    }
    assert settings == {field.name for field in fields(Sampling)}


def test_summaries_are_asked_for_only_where_they_are_wanted() -> None:
    _, body = request(Prompt(model="m", messages=HELLO, reasoning="low"), summaries=False)

    assert body["reasoning"] == {"effort": "low"}
