"""A small real HTTP server on loopback, told byte by byte what to answer."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import anyio
import anyio.abc
import anyio.lowlevel

from llmount.backends.http import OllamaBackend, OpenAIBackend
from llmount.types import Backend, Event, Message, Prompt, Sampling, TextDelta, TextPart

PROMPT = Prompt(
    model="m",
    messages=(Message("user", (TextPart("Hello"),)),),
    sampling=Sampling(max_tokens=5),
)
KEY = "sk-very-secret-key"


@dataclass
class Request:
    line: str
    headers: dict[str, str]
    body: Any


Stream: TypeAlias = anyio.abc.ByteStream
Reply: TypeAlias = Callable[[Stream], Awaitable[None]]


@dataclass
class Upstream:
    """Answers each request with the next of its replies, the last one again and again."""

    replies: tuple[Reply, ...]
    url: str = ""
    connections: int = 0
    requests: list[Request] = field(default_factory=list)
    gone: anyio.Event = field(default_factory=lambda: anyio.Event())

    async def serve(self, stream: Stream) -> None:
        self.connections += 1
        async with stream:
            try:
                while request := await read_request(stream):
                    self.requests.append(request)
                    await self.replies[min(len(self.requests), len(self.replies)) - 1](stream)
            except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
                self.gone.set()


async def read_request(stream: Stream) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            data += await stream.receive()
        except anyio.EndOfStream:
            return None
    head, body = data.split(b"\r\n\r\n", 1)
    line, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (text.split(": ", 1) for text in fields)}
    while len(body) < int(headers.get("content-length", "0")):
        body += await stream.receive()
    return Request(line, headers, json.loads(body) if body else None)


@asynccontextmanager
async def serving(*replies: Reply, port: int = 0) -> AsyncGenerator[Upstream, None]:
    upstream = Upstream(replies)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    upstream.url = f"http://127.0.0.1:{port}"
    with anyio.fail_after(10):
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, upstream.serve)
            yield upstream
            tasks.cancel_scope.cancel()


def head(status: int = 200, media_type: str = "application/x-ndjson", *more: str) -> bytes:
    fields = [f"Content-Type: {media_type}", "Transfer-Encoding: chunked", *more]
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", *fields, "", ""]).encode()


def piece(data: str | bytes) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return b"%x\r\n%s\r\n" % (len(data), data)


END = b"0\r\n\r\n"


def sending(*parts: bytes) -> Reply:
    async def reply(stream: Stream) -> None:
        for part in parts:
            await stream.send(part)

    return reply


def hanging_up(*parts: bytes) -> Reply:
    async def reply(stream: Stream) -> None:
        await sending(*parts)(stream)
        await stream.aclose()

    return reply


def stalling(*parts: bytes) -> Reply:
    """Sends, then waits until the client has closed the connection."""

    async def reply(stream: Stream) -> None:
        await sending(*parts)(stream)
        await stream.receive()

    return reply


def answering(status: int, body: str, *more: str, media_type: str = "application/json") -> Reply:
    return sending(head(status, media_type, *more), piece(body), END)


def line(**item: Any) -> bytes:
    return piece(json.dumps(item) + "\n")


def event(data: Any) -> bytes:
    return piece(f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n")


def delta(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return event({"object": "chat.completion.chunk", "choices": [choice]})


A, B = line(message={"content": "a"}), line(message={"content": "b"})
DONE = line(message={"content": ""}, done=True, done_reason="stop", eval_count=2)
OLLAMA = sending(head(), A, B, DONE, END)
SSE = head(200, "text/event-stream")
OPENAI = sending(SSE, delta("a"), delta("b"), delta("", "stop"), event("[DONE]"), END)
OLLAMA_TAGS = answering(200, '{"models": [{"name": "m"}, {"name": "n"}]}')


async def collect(backend: Backend, prompt: Prompt = PROMPT) -> list[Event]:
    async with aclosing(backend.generate(prompt)) as events:
        return [event async for event in events]


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@asynccontextmanager
async def ollama(upstream: Upstream, **more: Any) -> AsyncGenerator[OllamaBackend, None]:
    backend = OllamaBackend(upstream.url, **more)
    try:
        yield backend
    finally:
        await backend.aclose()


@asynccontextmanager
async def openai(upstream: Upstream, **more: Any) -> AsyncGenerator[OpenAIBackend, None]:
    backend = OpenAIBackend(f"{upstream.url}/v1/", **more)
    try:
        yield backend
    finally:
        await backend.aclose()
