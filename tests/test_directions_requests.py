"""A gateway's requests: what the far server's backend is asked, set beside what one that
stood behind the front itself would be asked of the same body.

What a direction cannot carry is in `LOST`; what it cannot do at all is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import httpx
import pytest

from llmount.types import Prompt, TextPart, ToolCall
from tests.fronts import UPSTREAMS, Noting, behind, beside

pytestmark = pytest.mark.anyio

PICTURE = "iVBORw0KGgo="
LOOK = {
    "type": "function",
    "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}},
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}

OLLAMAS = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is this?", "images": [PICTURE]},
        # Ollama's own clients give calls no ids, and answer them by the tool's name.
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"function": {"name": "look", "arguments": {"at": "x"}}},
                {"function": {"name": "look", "arguments": {"at": "y"}}},
            ],
        },
        {"role": "tool", "tool_name": "look", "content": "a cat"},
        {"role": "tool", "tool_name": "look", "content": "a dog"},
        {
            "role": "assistant",
            "content": "One more.",
            "thinking": "Meow?",
            "tool_calls": [{"function": {"name": "listen", "arguments": {}}}],
        },
        {"role": "tool", "tool_name": "listen", "content": "meow"},
    ],
    "tools": [LOOK],
    "options": {"temperature": 0.5, "top_p": 0.9, "num_predict": 5, "seed": 7, "stop": ["a"]},
    "format": SCHEMA,
    "think": "low",
    "logprobs": True,
    "top_logprobs": 2,
    "keep_alive": "5m",
}

OPENAIS = {
    "model": "m",
    "messages": [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is "},
                {"type": "text", "text": "this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "A cat?",
            "tool_calls": [
                {
                    "id": "call_a",
                    "type": "function",
                    "function": {"name": "look", "arguments": '{"at": "x"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_a", "content": "a cat"},
    ],
    "tools": [LOOK],
    "temperature": 0.5,
    "top_p": 0.9,
    "presence_penalty": 0.25,
    "frequency_penalty": 0.5,
    "max_completion_tokens": 5,
    "seed": 7,
    "stop": ["a", "b"],
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
    "reasoning_effort": "low",
    "logprobs": True,
    "top_logprobs": 2,
}

RESPONSES = {
    "model": "m",
    "instructions": "Be brief.",
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is "},
                {"type": "input_text", "text": "this?"},
                {"type": "input_image", "image_url": f"data:image/png;base64,{PICTURE}"},
            ],
        },
        {"role": "assistant", "content": "Let me look."},
        {"type": "function_call", "call_id": "call_a", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_a", "output": "a cat"},
    ],
    "tools": [{"type": "function", "strict": False, **LOOK["function"]}],  # type: ignore[dict-item]
    "temperature": 0.5,
    "top_p": 0.9,
    "max_output_tokens": 16,
    "text": {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA}},
    "reasoning": {"effort": "low"},
    "include": ["message.output_text.logprobs"],
    "top_logprobs": 2,
}

BODIES = {"/api/chat": OLLAMAS, "/v1/chat/completions": OPENAIS, "/v1/responses": RESPONSES}


def _through_ollama(prompt: Prompt) -> Prompt:
    """One text a turn, arguments as JSON has them; of an answer to a call, its tool too.
    What the far document says by default of Ollama's own options is said there."""
    names = {call.id: call.name for turn in prompt.messages for call in turn.tool_calls}
    messages = [
        replace(
            turn,
            parts=((TextPart(turn.text),) if turn.text else ())
            + tuple(part for part in turn.parts if not isinstance(part, TextPart)),
            tool_calls=tuple(
                ToolCall(call.id, call.name, call.arguments.replace(": ", ":"))
                for call in turn.tool_calls
            ),
            name=names.get(turn.tool_call_id) if turn.tool_call_id else None,
        )
        for turn in prompt.messages
    ]
    return replace(prompt, messages=tuple(messages), options={"truncate": True})


def _through_openai(prompt: Prompt) -> Prompt:
    """No time to keep the model in memory, and none of the engine's own options. The name
    of the tool that answers is that of the call that it answers."""
    messages = [replace(turn, name=None) for turn in prompt.messages]
    return replace(prompt, messages=tuple(messages), keep_alive=None, options={})


def _through_responses(prompt: Prompt) -> Prompt:
    """Nor what was thought before."""
    carried = _through_openai(prompt)
    messages = [replace(turn, reasoning="") for turn in carried.messages]
    return replace(carried, messages=tuple(messages))


LOST: dict[str, Callable[[Prompt], Prompt]] = {
    "ollama": _through_ollama,
    "openai": _through_openai,
    "responses": _through_responses,
}

UNSAYABLE = ("seed", "stop", "presence_penalty", "frequency_penalty")
"""What responses have no word for: refused, see `tests/directions.yaml`."""


def _sayable(upstream: str, body: Any) -> Any:
    """The body without what the upstream refuses."""
    if upstream != "responses":
        return body
    left = {name: value for name, value in body.items() if name not in UNSAYABLE}
    if options := left.get("options"):
        left["options"] = {key: value for key, value in options.items() if key not in UNSAYABLE}
        # Fewer tokens than a response may have.
        left["options"]["num_predict"] = 16
    if "max_completion_tokens" in left:
        left["max_completion_tokens"] = 16
    return left


async def post(client: httpx.AsyncClient, path: str, body: Any) -> httpx.Response:
    with anyio.fail_after(10):
        return await client.post(path, json={"stream": False, **body})


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("path", BODIES)
async def test_a_request_survives(upstream: str, path: str) -> None:
    here, there, body = Noting(), Noting(), _sayable(upstream, BODIES[path])
    async with beside(here.backend) as client:
        assert (await post(client, path, body)).status_code == 200
    async with behind(upstream, there.backend) as client:
        assert (await post(client, path, body)).status_code == 200

    (expected,), (found,) = here.prompts, there.prompts
    assert found == LOST[upstream](expected)


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        ({"prompt": "Hello", "system": "Be."}, "messages", None),
        ({"prompt": "f(", "suffix": ")"}, "suffix", ")"),
        ({"prompt": "Once", "raw": True}, "text", "Once"),
        ({"prompt": "on", "context": [1, 2]}, "context", (1, 2)),
        (
            {"prompt": "Hello", "options": {"num_ctx": 99}, "truncate": False},
            "options",
            {"num_ctx": 99, "truncate": False},
        ),
        ({"prompt": "Hello", "options": {"top_k": 4, "min_p": 0.25}}, "sampling", None),
    ],
)
async def test_what_only_ollama_knows_survives_between_its_servers(
    body: Any, field: str, value: Any
) -> None:
    here, there = Noting(), Noting()
    async with beside(here.backend) as client:
        await post(client, "/api/generate", {"model": "m", **body})
    async with behind("ollama", there.backend) as client:
        await post(client, "/api/generate", {"model": "m", **body})

    assert there.prompts == here.prompts
    if value is not None:
        assert getattr(there.prompts[0], field) == value


@pytest.mark.parametrize(
    ("upstream", "path", "more"),
    [
        ("openai", "/api/generate", {"prompt": "on", "context": [1]}),
        ("ollama", "/v1/chat/completions", {"logit_bias": {"5": 1}}),
        ("ollama", "/v1/chat/completions", {"tools": [LOOK], "tool_choice": "required"}),
        ("ollama", "/v1/chat/completions", {"tools": [LOOK], "parallel_tool_calls": False}),
    ],
)
async def test_what_the_upstream_cannot_do_is_refused(upstream: str, path: str, more: Any) -> None:
    there = Noting()
    question = {} if "prompt" in more else {"messages": [{"role": "user", "content": "a"}]}
    async with behind(upstream, there.backend) as client:
        reply = await post(client, path, {"model": "m", **question, **more})

    assert reply.status_code == 400
    assert "does not support" in reply.text
    assert there.prompts == []
