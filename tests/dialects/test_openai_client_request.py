"""What is asked of a server that speaks OpenAI's API."""

from typing import Any

import pytest

from llmount.dialects.openai_client_request import HOSTED, request
from llmount.errors import (
    Unsupported,
)
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
ALWAYS = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}


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
        (
            {"tools": (Tool("f"),), "tool_choice": "required"},
            {
                "tools": [{"type": "function", "function": {"name": "f"}}],
                "tool_choice": "required",
            },
        ),
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
