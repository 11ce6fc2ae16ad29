"""What is asked of an Ollama server."""

from typing import Any

import pytest

from llmount.dialects.ollama_client_request import request, residency
from llmount.errors import (
    BadRequest,
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
EVERY_SAMPLING = Sampling(
    max_tokens=5,
    temperature=0.5,
    top_p=0.9,
    top_k=40,
    min_p=0.1,
    typical_p=0.8,
    repeat_penalty=1.1,
    repeat_last_n=64,
    presence_penalty=0.2,
    frequency_penalty=0.3,
    seed=7,
    stop=("a", "b"),
)


def test_a_conversation_is_mapped_field_by_field() -> None:
    call = ToolCall("call_1", "look", '{"at":"x"}')
    messages = (
        Message("system", (TextPart("Be brief."),)),
        Message("user", (TextPart("See "), ImagePart(data=b"png"), AudioPart(b"wav", "wav"))),
        Message("assistant", reasoning="Hm.", tool_calls=(call,)),
        Message("tool", (TextPart("nothing"),), tool_call_id="call_1"),
    )
    path, body = request(
        Prompt(
            model="m",
            messages=messages,
            sampling=EVERY_SAMPLING,
            tools=(Tool("look", "Looks.", {"type": "object"}),),
            format={"type": "string"},
            reasoning="minimal",
            logprobs=3,
            keep_alive=30,
            options={"num_ctx": 99, "seed": 1, "shift": False},
        )
    )

    assert path == "/api/chat"
    assert body == {
        "model": "m",
        "stream": True,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "See ", "images": ["cG5n", "d2F2"]},
            {
                "role": "assistant",
                "content": "",
                "thinking": "Hm.",
                "tool_calls": [
                    {"id": "call_1", "function": {"name": "look", "arguments": {"at": "x"}}}
                ],
            },
            {"role": "tool", "content": "nothing", "tool_call_id": "call_1", "tool_name": "look"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "look",
                    "description": "Looks.",
                    "parameters": {"type": "object"},
                },
            }
        ],
        "options": {
            "num_ctx": 99,
            "num_predict": 5,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 40,
            "min_p": 0.1,
            "typical_p": 0.8,
            "repeat_penalty": 1.1,
            "repeat_last_n": 64,
            "presence_penalty": 0.2,
            "frequency_penalty": 0.3,
            "seed": 7,
            "stop": ["a", "b"],
        },
        "format": {"type": "string"},
        "think": "low",
        "logprobs": True,
        "top_logprobs": 3,
        "keep_alive": 30,
        "shift": False,
    }


@pytest.mark.parametrize(
    ("prompt", "body"),
    [
        (Prompt(model="m", text="Once"), {"prompt": "Once", "raw": True}),
        (Prompt(model="m", text="f(", suffix=")"), {"prompt": "f(", "suffix": ")"}),
        (
            Prompt(model="m", text="on", context=(1, 2)),
            {"prompt": "on", "context": [1, 2], "template": "{{ .Prompt }}"},
        ),
        (
            Prompt(
                model="m",
                messages=(Message("system", (TextPart("Be."),)), *HELLO),
                template="T",
                context=(3,),
            ),
            {"prompt": "Hello", "system": "Be.", "template": "T", "context": [3]},
        ),
        (
            Prompt(
                model="m",
                messages=(Message("user", (TextPart("a"), ImagePart(data=b"png"))),),
                suffix="b",
            ),
            {"prompt": "a", "suffix": "b", "images": ["cG5n"]},
        ),
    ],
)
def test_what_only_generate_knows_goes_there(prompt: Prompt, body: Any) -> None:
    assert request(prompt) == ("/api/generate", {"model": "m", "stream": True, **body})


def test_a_prompt_that_leaves_all_to_the_engine_says_nothing_more() -> None:
    messages = [{"role": "user", "content": "Hello"}]
    body = {"model": "m", "stream": True, "messages": messages}

    assert request(Prompt(model="m", messages=HELLO)) == ("/api/chat", body)


def test_no_tools_are_offered_when_none_may_be_called() -> None:
    prompt = Prompt(model="m", messages=HELLO, tools=(Tool("f"),), tool_choice="none")

    assert "tools" not in request(prompt)[1]


@pytest.mark.parametrize(
    ("effort", "think"), [("none", False), ("xhigh", "max"), ("high", "high"), (False, False)]
)
def test_efforts_are_translated(effort: bool | str, think: bool | str) -> None:
    assert request(Prompt(model="m", reasoning=effort))[1]["think"] == think


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(model="m", messages=HELLO, sampling=Sampling(logit_bias={1: 2})),
        Prompt(model="m", messages=HELLO, sampling=Sampling(max_tokens=0)),
        Prompt(model="m", messages=HELLO, tools=(Tool("f"),), tool_choice="required"),
        Prompt(model="m", messages=HELLO, tools=(Tool("f"),), parallel_tool_calls=False),
        Prompt(model="m", text="a", tools=(Tool("f"),)),
        Prompt(model="m", messages=HELLO * 2, suffix="b"),
        Prompt(model="m", messages=(Message("user", (ImagePart(url="https://a/b"),)),)),
        Prompt(model="m", messages=(Message("user", (FilePart(b"pdf"),)),)),
    ],
)
def test_what_ollama_would_silently_ignore_is_refused(prompt: Prompt) -> None:
    with pytest.raises(Unsupported):
        request(prompt)


@pytest.mark.parametrize("arguments", ["{", "[]", "NaN"])
def test_arguments_of_a_call_must_be_an_object(arguments: str) -> None:
    turn = Message("assistant", tool_calls=(ToolCall("c", "f", arguments),))

    with pytest.raises(BadRequest, match="object"):
        request(Prompt(model="m", messages=(turn,)))


def test_a_tools_answer_may_be_known_by_its_name_only() -> None:
    turn = Message("tool", (TextPart("nothing"),), name="look")

    assert request(Prompt(model="m", messages=(turn,)))[1]["messages"] == [
        {"role": "tool", "content": "nothing", "tool_name": "look"}
    ]


@pytest.mark.parametrize(("seconds", "more"), [(None, {}), (0, {"keep_alive": 0})])
def test_a_model_is_loaded_and_unloaded_by_asking_it_nothing(
    seconds: float | None, more: Any
) -> None:
    body = {"model": "m", "stream": False, **more}

    assert residency("m", seconds) == ("/api/generate", body)
