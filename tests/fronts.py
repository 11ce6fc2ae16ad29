"""Every family in front of a gateway: how each is asked, and what its answer says."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from llmount import EchoBackend, ai_app, chat_app, gateway, generate_app
from llmount.app import App
from llmount.backends.echo import Step
from llmount.backends.http import OllamaBackend, OpenAIBackend, OpenAIResponsesBackend
from llmount.testing.transport import ASGITransport
from llmount.types import Backend, Capability, Model, Prompt

__all__ = ["FORMS", "FRONTS", "UPSTREAMS", "Heard", "Noting", "ask", "behind", "beside", "chats"]


# Upstreams


def chats(backend: Backend) -> Sequence[App]:
    """Chat completions and what is beside them, and responses."""
    return chat_app(backend), chat_app(backend, dialect="responses")


UPSTREAMS: Mapping[
    str, tuple[str, Callable[[Backend], App | Sequence[App]], Callable[[Any], Backend]]
] = {
    "ollama": (
        "/api",
        generate_app,
        lambda wire: OllamaBackend("http://upstream", transport=wire),
    ),
    "openai": (
        "/v1",
        chats,
        lambda wire: OpenAIBackend("http://upstream/v1", transport=wire),
    ),
    "responses": (
        "/v1",
        chats,
        lambda wire: OpenAIResponsesBackend("http://upstream/v1", transport=wire),
    ),
}
"""By the dialect between the two servers: where and what the far one serves, and how the
near one calls it."""


@asynccontextmanager
async def behind(upstream: str, backend: Backend) -> AsyncGenerator[httpx.AsyncClient, None]:
    """A client of a gateway that has every family in front, and over HTTP, all of it in
    process, a server with this backend behind."""
    prefix, server, near = UPSTREAMS[upstream]
    far = gateway({prefix: server(backend)}, check_answers=True)
    async with ASGITransport(far) as wire, beside(near(wire)) as client:
        yield client


@asynccontextmanager
async def beside(backend: Backend) -> AsyncGenerator[httpx.AsyncClient, None]:
    """A client of every family in front of this backend, in process."""
    front = gateway(
        {
            "/api": generate_app(backend),
            "/v1": chats(backend),
            "/ai/v1": ai_app({"up": backend}),
        },
        check_answers=True,
    )
    transport = ASGITransport(front)
    async with httpx.AsyncClient(transport=transport, base_url="http://front") as client:
        try:
            yield client
        finally:
            await front.aclose()


class Noting:
    """A model "m" that can do all and says nothing. prompts: what it was asked."""

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []
        able: frozenset[Capability] = frozenset(
            {"completion", "tools", "insert", "vision", "audio", "thinking", "embedding"}
        )
        self.backend = EchoBackend(self._answer, models=[Model(name="m", capabilities=able)])

    def _answer(self, prompt: Prompt) -> Iterator[Step]:
        self.prompts.append(prompt)
        return iter(())


# Fronts


@dataclass
class Heard:
    """What an answer says. `reason` is None where it does not end as one that succeeded.

    calls: names and arguments. ids: of the calls. usage: tokens of the prompt and of the
    answer. logprobs: tokens and their numbers. more: what only this front has.
    """

    status: int
    headers: httpx.Headers
    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    reason: str | None = None
    usage: tuple[int, int] | None = None
    logprobs: list[tuple[str, float]] = field(default_factory=list)
    error: str | None = None
    more: Any = None


def _read_ollama(heard: Heard, items: list[Any]) -> None:
    for item in items:
        if "error" in item:
            heard.error = item["error"]
            return
        said = item.get("message", item)
        heard.text += said.get("content", said.get("response"))
        heard.reasoning += said.get("thinking", "")
        for call in said.get("tool_calls", ()):
            heard.calls.append((call["function"]["name"], call["function"]["arguments"]))
            heard.ids.append(call.get("id"))
        heard.logprobs += [(each["token"], each["logprob"]) for each in item.get("logprobs", ())]
        if item["done"]:
            heard.reason = item["done_reason"]
            heard.usage = item.get("prompt_eval_count", 0), item.get("eval_count", 0)
            heard.more = item


def _read_openai(heard: Heard, items: list[Any]) -> None:
    arguments: list[str] = []
    for item in items:
        if item == "[DONE]":
            break
        if "error" in item:
            heard.error, heard.reason = item["error"]["message"], None
            heard.more = item["error"]
            return
        if item.get("usage"):
            heard.usage = item["usage"]["prompt_tokens"], item["usage"]["completion_tokens"]
            heard.more = item["usage"]
        for choice in item["choices"]:
            said = choice.get("delta", choice.get("message"))
            heard.text += said.get("content") or ""
            heard.reasoning += said.get("reasoning_content") or ""
            for number, call in enumerate(said.get("tool_calls", ())):
                if call.get("index", number) == len(arguments):
                    heard.calls.append((call["function"]["name"], None))
                    heard.ids.append(call["id"])
                    arguments.append("")
                arguments[call.get("index", number)] += call["function"]["arguments"]
            entries = (choice["logprobs"] or {}).get("content", ())
            heard.logprobs += [(each["token"], each["logprob"]) for each in entries]
            heard.reason = choice["finish_reason"] or heard.reason
    heard.calls = [
        (name, json.loads(text)) for (name, _), text in zip(heard.calls, arguments, strict=True)
    ]


def _read_responses(heard: Heard, items: list[Any]) -> None:
    last = items[-1]
    response = last.get("response", last)
    if failure := next((item["error"] for item in items if item.get("error")), None):
        heard.text = "".join(
            item["delta"] for item in items if item.get("type") == "response.output_text.delta"
        )
        heard.error, heard.more = failure["message"], failure
        return
    for item in response["output"]:
        texts = [part["text"] for part in item.get("content", ())]
        if item["type"] == "function_call":
            heard.calls.append((item["name"], json.loads(item["arguments"])))
            heard.ids.append(item["call_id"])
        elif item["type"] == "reasoning":
            heard.reasoning += "".join(texts)
        else:
            heard.text += "".join(texts)
            entries = [each for part in item["content"] for each in part["logprobs"]]
            heard.logprobs += [(each["token"], each["logprob"]) for each in entries]
    why = (response["incomplete_details"] or {}).get("reason")
    heard.reason = {"max_output_tokens": "length", None: "stop"}.get(why, why)
    usage = heard.more = response["usage"]
    heard.usage = usage["input_tokens"], usage["output_tokens"]


def _read_geenii(heard: Heard, items: list[Any]) -> None:
    if "type" not in items[0]:
        (item,) = items
        heard.error, heard.text, heard.more = item["error"], item.get("output_text", ""), item
        return
    heard.text = "".join(each.get("delta", "") for each in items)
    heard.error, heard.more = items[-1].get("error"), items[-1].get("response")


_QUESTION = [{"role": "user", "content": "Say something"}]

FRONTS: Mapping[str, tuple[Mapping[str, Any], Callable[[Heard, list[Any]], None]]] = {
    "/api/chat": ({"messages": _QUESTION}, _read_ollama),
    "/api/generate": ({"prompt": "Say something"}, _read_ollama),
    "/v1/chat/completions": ({"messages": _QUESTION}, _read_openai),
    "/v1/responses": ({"input": "Say something"}, _read_responses),
    "/ai/v1/completion": ({"prompt": "Say something"}, _read_geenii),
}
"""By path: a question, and how its answer is read."""

FORMS = [(path, stream) for path in FRONTS for stream in (True, False)]
"""Each front, streamed or whole."""


async def ask(
    client: httpx.AsyncClient, path: str, *, stream: bool = False, model: str = "m", **more: Any
) -> Heard:
    """What the front at `path` answers. `more` is put into the request's body."""
    question, read = FRONTS[path]
    body = {"model": model, **question, **more, "stream": stream}
    if path == "/ai/v1/completion":
        body["model"] = f"up:{model}"
    if stream and path == "/v1/chat/completions":
        body["stream_options"] = {"include_usage": True}
    with anyio.fail_after(10):
        response = await client.post(path, json=body)
    heard = Heard(response.status_code, response.headers)
    read(heard, _items(response))
    return heard


def _items(response: httpx.Response) -> list[Any]:
    match response.headers["content-type"].partition(";")[0]:
        case "text/event-stream":
            frames = response.text.removesuffix("\n\n").split("\n\n")
            data = [frame.rpartition("\n")[2].removeprefix("data: ") for frame in frames]
            return [each if each == "[DONE]" else json.loads(each) for each in data]
        case "application/x-ndjson":
            return [json.loads(line) for line in response.text.removesuffix("\n").split("\n")]
    return [response.json()]
