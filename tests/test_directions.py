"""A gateway: every family in front of every upstream, each a server of ours, in process.

What a direction cannot carry is in the tables here. Ollama has no count of cached or
reasoning tokens, and no reason to finish but "length"; neither Ollama nor responses tell the
numbers of a prompt that is too long; the gateway of providers has text and its provider's own
answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import anyio
import pytest

from llmount import EchoBackend
from llmount.backends.echo import Fail
from llmount.errors import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    BadRequest,
    ContextTooLong,
    Overloaded,
    RateLimited,
    Unsupported,
)
from llmount.types import (
    Event,
    Finish,
    Model,
    Prompt,
    ReasoningDelta,
    Residency,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from tests.fronts import FORMS, UPSTREAMS, ask, behind

pytestmark = [
    pytest.mark.anyio,
    # httpx leaves inner generators of its own unclosed, and trio says so.
    pytest.mark.filterwarnings("ignore:Async generator 'http(x|core):ResourceWarning"),
]

every_direction = pytest.mark.parametrize("upstream", UPSTREAMS)
every_form = pytest.mark.parametrize(("path", "stream"), FORMS)

OLLAMA, GENERATE = "/api/chat", "/api/generate"
OPENAI, RESPONSES, GEENII = "/v1/chat/completions", "/v1/responses", "/ai/v1/completion"


def echo(*script: Any) -> EchoBackend:
    return EchoBackend(script, models=("m",))


FINISH = Finish(reason="tool_calls", usage=Usage(prompt=4, completion=7, cached=2, reasoning=1))
SCRIPT = (
    ReasoningDelta("Hm"),
    ReasoningDelta("."),
    TextDelta("Hello", (TokenLogprob("Hello", -0.5, b"Hello"),)),
    TextDelta(" world\u2028", (TokenLogprob(" world\u2028", -1.5),)),
    ToolCallDelta(0, "call_a", "look", '{"at":'),
    ToolCallDelta(0, arguments='"x"}'),
    ToolCallDelta(1, "call_b", "go", "{}"),
    FINISH,
)


# Answers


@every_direction
@every_form
async def test_an_answer_survives(upstream: str, path: str, stream: bool) -> None:
    async with behind(upstream, echo(*SCRIPT)) as client:
        heard = await ask(client, path, stream=stream)

    assert (heard.status, heard.error) == (200, None)
    assert heard.text == "Hello world\u2028"
    if path == GEENII:
        return
    assert heard.reasoning == "Hm."
    assert heard.calls == [("look", {"at": "x"}), ("go", {})]
    assert heard.reason == ("tool_calls" if path == OPENAI else "stop")
    assert heard.usage == (4, 7)
    assert heard.logprobs == [("Hello", -0.5), (" world\u2028", -1.5)]
    if path != GENERATE:
        assert heard.ids == ["call_a", "call_b"]


@every_direction
@every_form
async def test_why_an_answer_ends_survives(upstream: str, path: str, stream: bool) -> None:
    async with behind(upstream, echo(TextDelta("a"), Finish(reason="length"))) as client:
        heard = await ask(client, path, stream=stream)

    if path == GEENII:
        why: dict[str, Callable[[Any], str]] = {
            "ollama": lambda own: own["done_reason"],
            "openai": lambda own: own["choices"][0]["finish_reason"],
            "responses": lambda own: own["incomplete_details"]["reason"].removeprefix(
                "max_output_"
            ),
        }
        assert why[upstream](heard.more["model_result"]) in ("length", "tokens")
    else:
        assert heard.reason == "length"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("upstream", "cached", "reasoning"), [("openai", 2, 1), ("responses", 2, 1), ("ollama", 0, 0)]
)
@pytest.mark.parametrize(
    ("path", "asked", "answered"),
    [(OPENAI, "prompt", "completion"), (RESPONSES, "input", "output")],
)
async def test_the_details_of_usage_survive_where_both_have_them(
    upstream: str, cached: int, reasoning: int, stream: bool, path: str, asked: str, answered: str
) -> None:
    async with behind(upstream, echo(*SCRIPT)) as client:
        usage = (await ask(client, path, stream=stream)).more

    assert usage[f"{asked}_tokens_details"]["cached_tokens"] == cached
    assert usage[f"{answered}_tokens_details"]["reasoning_tokens"] == reasoning


async def test_the_gateway_of_providers_hands_on_the_upstreams_own_answer() -> None:
    async with behind("openai", echo(*SCRIPT)) as client:
        own = (await ask(client, GEENII)).more["model_result"]
    async with behind("ollama", echo(*SCRIPT)) as client:
        ollamas = (await ask(client, GEENII)).more["model_result"]
    async with behind("responses", echo(*SCRIPT)) as client:
        whole = (await ask(client, GEENII)).more
        response = whole["model_result"]

    assert own["object"] == "chat.completion"
    assert own["choices"][0]["message"]["content"] == "Hello world\u2028"
    assert own["choices"][0]["message"]["reasoning_content"] == "Hm."
    assert own["usage"]["prompt_tokens"] == 4
    assert ollamas["message"]["content"] == "Hello world\u2028"
    assert ollamas["message"]["thinking"] == "Hm."
    assert ollamas["prompt_eval_count"] == 4
    assert response["object"] == "response"
    kinds = [item["type"] for item in response["output"]]
    assert kinds == ["reasoning", "message", "function_call", "function_call"]
    assert response["usage"]["input_tokens"] == 4
    assert [item["id"] for item in whole["output"]] == [response["output"][1]["id"]]


# Errors


@every_direction
@every_form
async def test_an_unknown_model_is_not_found(upstream: str, path: str, stream: bool) -> None:
    async with behind(upstream, echo(TextDelta("a"))) as client:
        heard = await ask(client, path, stream=stream, model="nope")

    assert heard.error is not None
    assert "nope" in heard.error
    assert heard.status == (200 if path == GEENII else 404)


@every_direction
@every_form
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ContextTooLong(9000, 4096), 400),
        (BadRequest("The image is broken.", param="messages[0]"), 400),
        (Unsupported("vision", model="m"), 400),
        (RateLimited(retry_after=7), 429),
        (Overloaded(retry_after=7), 503),
        (BackendUnavailable(), 503),
        (BackendTimeout(), 504),
        (BackendError("inside"), 502),
        (RuntimeError("inside"), 502),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_the_status_of_a_failure_survives(
    upstream: str, path: str, stream: bool, error: Exception, status: int
) -> None:
    async with behind(upstream, echo(Fail(error))) as client:
        heard = await ask(client, path, stream=stream)

    assert heard.status == (200 if path == GEENII else status)
    assert heard.error is not None
    assert "inside" not in heard.error
    assert (heard.text, heard.reason) == ("", None)
    if getattr(error, "retry_after", None) and path != GEENII:
        assert heard.headers["retry-after"] == "7"
    if status == 400 and not isinstance(error, ContextTooLong):
        # Who lacks something is told in each dialect's own way.
        assert heard.error.endswith(str(error).removeprefix('"m" '))


@pytest.mark.parametrize(
    ("upstream", "told"), [("openai", True), ("responses", False), ("ollama", False)]
)
async def test_the_numbers_of_a_long_prompt_survive_where_the_upstream_tells_them(
    upstream: str, told: bool
) -> None:
    async with behind(upstream, echo(Fail(ContextTooLong(9000, 4096)))) as client:
        heard = await ask(client, OPENAI)

    assert (heard.more["code"] == "context_length_exceeded") == told
    assert heard.error is not None
    assert ("9000" in heard.error and "4096" in heard.error) == told


@every_direction
@every_form
@pytest.mark.parametrize("error", [BackendError("inside"), RuntimeError("inside")])
async def test_a_failure_in_the_middle_is_one_at_the_end(
    upstream: str, path: str, stream: bool, error: Exception
) -> None:
    async with behind(upstream, echo(TextDelta("Hel"), Fail(error))) as client:
        heard = await ask(client, path, stream=stream)

    assert heard.error is not None
    assert "inside" not in heard.error
    assert heard.reason is None
    if stream:
        assert (heard.status, heard.text) == (200, "Hel")
    else:
        assert (heard.status, heard.text) == (200 if path == GEENII else 502, "")


# Leaving


class Watched(EchoBackend):
    """Says one thing, then nothing until it is closed."""

    def __init__(self) -> None:
        super().__init__(models=("m",))
        self.closed = anyio.Event()

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        try:
            yield TextDelta("Hel")
            await anyio.sleep_forever()
        finally:
            self.closed.set()


@every_direction
@pytest.mark.parametrize("path", [OLLAMA, OPENAI])
async def test_leaving_the_front_stops_the_work_behind(upstream: str, path: str) -> None:
    backend = Watched()
    body = {"model": "m", "messages": [{"role": "user", "content": "a"}], "stream": True}
    with anyio.fail_after(10):
        async with behind(upstream, backend) as client:
            async with client.stream("POST", path, json=body) as response:
                async for text in response.aiter_text():
                    if "Hel" in text:
                        break
            await backend.closed.wait()


# Models


class Keeping(EchoBackend):
    """A `Resident` that notes what it is told."""

    def __init__(self) -> None:
        super().__init__(models=("m",))
        self.told: list[tuple[str, float | None]] = []

    async def load(self, model: str, keep_alive: float | None) -> None:
        self.told.append((model, keep_alive))

    async def unload(self, model: str) -> None:
        self.told.append((model, 0))

    async def resident(self) -> Sequence[Residency]:
        model = Model(name="m", family="echo")
        return [Residency(model=model, size=7, context_length=9, expires=1787274123.5)]


@every_direction
async def test_models_survive(upstream: str) -> None:
    async with behind(upstream, echo()) as client:
        with anyio.fail_after(10):
            tags = (await client.get("/api/tags")).json()
            listed = (await client.get("/v1/models")).json()
            one = await client.get("/v1/models/m")
            offered = (await client.get("/ai/v1/models")).json()

    assert [model["name"] for model in tags["models"]] == ["m:latest"]
    assert [model["id"] for model in listed["data"]] == ["m"]
    assert one.status_code == 200
    assert [(model["provider"], model["name"]) for model in offered] == [("up", "m")]


async def test_what_is_in_memory_survives() -> None:
    backend = Keeping()
    async with behind("ollama", backend) as client:
        with anyio.fail_after(10):
            for more in ({}, {"keep_alive": "1h"}, {"keep_alive": -1}, {"keep_alive": 0}):
                reply = await client.post("/api/generate", json={"model": "m", **more})
                assert reply.status_code == 200
            found = (await client.get("/api/ps")).json()["models"]

    assert backend.told == [("m", None), ("m", 3600), ("m", -1), ("m", 0)]
    assert [
        (each["name"], each["size"], each["context_length"], each["expires_at"]) for each in found
    ] == [("m:latest", 7, 9, "2026-08-21T01:02:03.5Z")]
