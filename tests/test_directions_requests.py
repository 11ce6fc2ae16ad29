"""A gateway's requests: what the far server's backend is asked, set beside what one that
stood behind the front itself would be asked of the same body.

What a direction cannot carry is in `LOST`; what it cannot do at all is refused.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import httpx
import pytest

from llmount import EchoBackend, chat_app, gateway, generate_app
from llmount.backends.echo import Step
from llmount.testing.transport import ASGITransport
from llmount.types import Capability, Model, Prompt, TextPart, ToolCall
from tests.fronts import UPSTREAMS, behind

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

BODIES = {"/api/chat": OLLAMAS, "/v1/chat/completions": OPENAIS}


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


LOST: dict[str, Callable[[Prompt], Prompt]] = {
    "ollama": _through_ollama,
    "openai": _through_openai,
}


class Asked:
    """A backend that notes what it is asked."""

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []
        able: frozenset[Capability] = frozenset(
            {"completion", "tools", "insert", "vision", "thinking"}
        )
        self.backend = EchoBackend(self._answer, models=[Model(name="m", capabilities=able)])

    def _answer(self, prompt: Prompt) -> Iterator[Step]:
        self.prompts.append(prompt)
        return iter(())


@asynccontextmanager
async def beside(asked: Asked) -> AsyncGenerator[httpx.AsyncClient, None]:
    """A client of the fronts, whose backend is right there."""
    fronts = {"/api": generate_app(asked.backend), "/v1": chat_app(asked.backend)}
    transport = ASGITransport(gateway(fronts))
    async with httpx.AsyncClient(transport=transport, base_url="http://front") as client:
        yield client


async def post(client: httpx.AsyncClient, path: str, body: Any) -> httpx.Response:
    with anyio.fail_after(10):
        return await client.post(path, json={"stream": False, **body})


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("path", BODIES)
async def test_a_request_survives(upstream: str, path: str) -> None:
    here, there = Asked(), Asked()
    async with beside(here) as client:
        assert (await post(client, path, BODIES[path])).status_code == 200
    async with behind(upstream, there.backend) as client:
        assert (await post(client, path, BODIES[path])).status_code == 200

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
    here, there = Asked(), Asked()
    async with beside(here) as client:
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
    there = Asked()
    question = {} if "prompt" in more else {"messages": [{"role": "user", "content": "a"}]}
    async with behind(upstream, there.backend) as client:
        reply = await post(client, path, {"model": "m", **question, **more})

    assert reply.status_code == 400
    assert "does not support" in reply.text
    assert there.prompts == []
