"""The HTTP backends against small real servers on loopback."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import anyio
import anyio.abc
import anyio.lowlevel
import httpx
import pytest

from llmount.backends.http import OllamaBackend, OpenAIBackend, Timeouts
from llmount.dialects.openai_client import HOSTED
from llmount.errors import (
    ApiError,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    BadRequest,
    ModelNotFound,
    Overloaded,
    RateLimited,
)
from llmount.types import Backend, Event, Finish, Message, Prompt, Sampling, TextDelta, TextPart

pytestmark = [
    pytest.mark.anyio,
    # httpx leaves inner generators of its own unclosed, and trio says so.
    pytest.mark.filterwarnings("ignore:Async generator 'http(x|core):ResourceWarning"),
]

PROMPT = Prompt(
    model="m",
    messages=(Message("user", (TextPart("Hello"),)),),
    sampling=Sampling(max_tokens=5),
)
KEY = "sk-very-secret-key"


# A server


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


# Answers


async def test_an_ollama_server_is_asked_and_heard() -> None:
    async with serving(OLLAMA) as upstream, ollama(upstream, headers={"x-team": "a"}) as backend:
        *deltas, finish = await collect(backend)

    (request,) = upstream.requests
    assert deltas == [TextDelta("a"), TextDelta("b")]
    assert isinstance(finish, Finish)
    assert finish.usage.completion == 2
    assert request.line == "POST /api/chat HTTP/1.1"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-team"] == "a"
    assert request.body["model"] == "m"
    assert request.body["options"] == {"num_predict": 5}


async def test_an_openai_server_is_asked_and_heard() -> None:
    async with (
        serving(OPENAI) as upstream,
        openai(upstream, api_key=KEY, model="up", settings=HOSTED) as backend,
    ):
        *deltas, finish = await collect(backend)

    (request,) = upstream.requests
    assert deltas == [TextDelta("a"), TextDelta("b")]
    assert isinstance(finish, Finish)
    assert request.line == "POST /v1/chat/completions HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body["model"] == "up"
    assert request.body["max_completion_tokens"] == 5


async def test_items_are_passed_on_as_they_arrive() -> None:
    seen = anyio.Event()

    async def reply(stream: Stream) -> None:
        await stream.send(head() + A)
        await seen.wait()
        await stream.send(B + DONE + END)

    async with (
        serving(reply) as upstream,
        ollama(upstream) as backend,
        aclosing(backend.generate(PROMPT)) as events,
    ):
        assert await anext(events) == TextDelta("a")
        seen.set()
        assert await anext(events) == TextDelta("b")


async def test_a_body_that_is_not_a_stream_is_an_answer_too() -> None:
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "ab"}}]}
    reply = answering(200, json.dumps(whole, indent=2), media_type="application/json; charset=x")

    async with serving(reply) as upstream, openai(upstream) as backend:
        assert text_of(await collect(backend)) == "ab"


@pytest.mark.parametrize("media_type", ["text/event-stream", "application/json", "text/plain"])
async def test_lines_are_read_whatever_they_are_labelled(media_type: str) -> None:
    reply = sending(head(200, media_type), A, B, DONE, END)

    async with serving(reply) as upstream, ollama(upstream) as backend:
        assert text_of(await collect(backend)) == "ab"


@pytest.mark.parametrize(
    "rest", [(), (piece("data: [DONE]"), END), (piece("data: [DO"),), (event("[DONE]"),)]
)
async def test_what_is_lost_after_the_finish_does_not_spoil_the_answer(
    rest: tuple[bytes, ...],
) -> None:
    reply = hanging_up(SSE, delta("ab"), delta("", "stop"), *rest)

    async with serving(reply) as upstream, openai(upstream) as backend:
        events = await collect(backend)

    assert text_of(events) == "ab"
    assert isinstance(events[-1], Finish)


# Failures


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, '{"error": "invalid model name"}', BadRequest),
        (401, '{"error": "unauthorized"}', BackendError),
        (403, "", BackendError),
        (404, '{"error": "model \'m\' not found"}', ModelNotFound),
        (404, "404 page not found", BackendError),
        (429, '{"error": "slow down"}', RateLimited),
        (500, '{"error": "runner has terminated"}', BackendError),
        (502, "<html></html>", BackendError),
        (503, '{"error": "server busy, please try again."}', Overloaded),
        (504, "", BackendTimeout),
    ],
)
async def test_the_status_of_the_upstream_is_told_apart(
    status: int, body: str, expected: type[ApiError]
) -> None:
    # A chunk of no bytes would end the body.
    async with serving(answering(status, body or " ")) as upstream, ollama(upstream) as backend:
        with pytest.raises(ApiError) as caught:
            await collect(backend)

    assert type(caught.value) is expected


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("Retry-After: 7", 7, 7),
        ("Retry-After: Fri, 31 Dec 9999 23:59:59 GMT", 10**9, 10**12),
        ("Retry-After: Fri, 31 Dec 9999 23:59:59 -0000", 10**9, 10**12),
        ("Retry-After: Sat, 01 Jan 2000 00:00:00 GMT", 0, 0),
    ],
)
async def test_the_time_to_wait_is_carried_on(
    status: int, header: str, low: float, high: float
) -> None:
    async with serving(answering(status, "{}", header)) as upstream, ollama(upstream) as backend:
        with pytest.raises(ApiError) as caught:
            await collect(backend)

    assert isinstance(caught.value, RateLimited | Overloaded)
    assert caught.value.retry_after is not None
    assert low <= caught.value.retry_after <= high


@pytest.mark.parametrize("header", ["Retry-After: soon", "X-Other: 1"])
async def test_a_time_to_wait_that_is_not_told_is_unknown(header: str) -> None:
    async with serving(answering(429, "{}", header)) as upstream, ollama(upstream) as backend:
        with pytest.raises(RateLimited) as caught:
            await collect(backend)

    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(sending(head(), A, line(error="boom"), END), id="error in the stream"),
        pytest.param(hanging_up(head(), A), id="cut within a chunked body"),
        pytest.param(sending(head(), A, END), id="ended without its end"),
        pytest.param(hanging_up(head(), A, piece('{"message":')), id="cut within an item"),
        pytest.param(
            hanging_up(b"HTTP/1.0 200 OK\r\n\r\n" + b'{"message": {"content": "a"}}\n'),
            id="cut where only the end of the connection ends the body",
        ),
        pytest.param(sending(head(), A, piece("<html>\n"), END), id="garbled"),
    ],
)
async def test_an_answer_that_breaks_off_is_an_error_after_what_came_before(reply: Reply) -> None:
    async with (
        serving(reply) as upstream,
        ollama(upstream) as backend,
        aclosing(backend.generate(PROMPT)) as events,
    ):
        assert await anext(events) == TextDelta("a")
        with pytest.raises(BackendError):
            await anext(events)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(hanging_up(), id="no response"),
        pytest.param(answering(200, "<html>Welcome</html>", media_type="text/html"), id="html"),
        pytest.param(answering(200, "not JSON"), id="not json"),
        pytest.param(sending(b"SSH-2.0-OpenSSH\r\n\r\n"), id="not http"),
    ],
)
async def test_what_is_no_answer_is_an_error(reply: Reply) -> None:
    async with serving(reply) as upstream, openai(upstream) as backend:
        with pytest.raises(BackendError) as caught:
            await collect(backend)

    assert caught.value.status == 502


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with serving(OLLAMA) as upstream:
        pass
    async with ollama(upstream) as backend:
        with pytest.raises(BackendUnavailable):
            await collect(backend)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (httpx.ConnectTimeout, BackendUnavailable),
        (httpx.PoolTimeout, Overloaded),
        (httpx.ReadTimeout, BackendTimeout),
        (httpx.ReadError, BackendError),
        (httpx.LocalProtocolError, BackendError),
        (httpx.ProxyError, BackendUnavailable),
    ],
)
async def test_failures_of_the_transport_are_told_apart(
    failure: type[httpx.RequestError], expected: type[ApiError]
) -> None:
    class Failing(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise failure("inside", request=request)

    backend = OllamaBackend("http://upstream", transport=Failing())
    with pytest.raises(ApiError) as caught:
        await collect(backend)
    await backend.aclose()

    assert type(caught.value) is expected
    assert "inside" not in caught.value.message


async def test_redirects_are_not_followed() -> None:
    reply = answering(307, "{}", "Location: /elsewhere")

    async with serving(reply, OLLAMA) as upstream, ollama(upstream) as backend:
        with pytest.raises(BackendError):
            await collect(backend)

    assert len(upstream.requests) == 1


async def test_an_answer_without_end_is_given_up() -> None:
    async def reply(stream: Stream) -> None:
        await stream.send(head())
        while True:
            await stream.send(A)

    async with serving(reply) as upstream, ollama(upstream, max_bytes=10_000) as backend:
        with pytest.raises(BackendError, match="too large"):
            await collect(backend)


# Time


async def test_an_upstream_that_does_not_begin_runs_out_of_time() -> None:
    timeout = Timeouts(first=0.05)

    async with serving(stalling()) as upstream, ollama(upstream, timeout=timeout) as backend:
        with pytest.raises(BackendTimeout):
            await collect(backend)
        await upstream.gone.wait()


async def test_headers_alone_are_no_beginning() -> None:
    timeout = Timeouts(first=0.05)

    async with serving(stalling(SSE)) as upstream, openai(upstream, timeout=timeout) as backend:
        with pytest.raises(BackendTimeout):
            await collect(backend)
        await upstream.gone.wait()


async def test_an_upstream_that_falls_silent_runs_out_of_time() -> None:
    timeout = Timeouts(idle=0.05)

    async with (
        serving(stalling(head(), A)) as upstream,
        ollama(upstream, timeout=timeout) as backend,
    ):
        async with aclosing(backend.generate(PROMPT)) as events:
            assert await anext(events) == TextDelta("a")
            with pytest.raises(BackendTimeout):
                await anext(events)
        await upstream.gone.wait()


async def test_comments_do_not_count_as_items() -> None:
    async def reply(stream: Stream) -> None:
        await stream.send(SSE + delta("a"))
        while True:
            await stream.send(piece(": still here\n\n"))
            await anyio.sleep(0.01)

    async with serving(reply) as upstream, openai(upstream, timeout=Timeouts(idle=0.1)) as backend:
        with pytest.raises(BackendTimeout):
            await collect(backend)


async def test_the_time_that_the_reader_takes_is_not_the_upstreams() -> None:
    timeout = Timeouts(first=0.2, idle=0.2)

    async with serving(OLLAMA) as upstream, ollama(upstream, timeout=timeout) as backend:
        events = []
        async with aclosing(backend.generate(PROMPT)) as generator:
            async for item in generator:
                await anyio.sleep(0.25)
                events.append(item)

    assert text_of(events) == "ab"


async def test_an_upstream_that_keeps_the_stream_open_after_its_end_does_not_matter() -> None:
    async with serving(stalling(head(), A, B, DONE)) as upstream, ollama(upstream) as backend:
        assert text_of(await collect(backend)) == "ab"
        await upstream.gone.wait()


# Leaving


async def test_closing_the_generator_closes_the_connection() -> None:
    async with serving(stalling(head(), A)) as upstream, ollama(upstream) as backend:
        async with aclosing(backend.generate(PROMPT)) as events:
            assert await anext(events) == TextDelta("a")
            assert not upstream.gone.is_set()
        await upstream.gone.wait()


async def test_the_connection_is_closed_before_closing_the_generator_returns() -> None:
    class Endless(httpx.AsyncByteStream):
        closed = False

        async def __aiter__(self) -> AsyncGenerator[bytes, None]:
            while True:
                yield b'{"message": {"content": "a"}}\n'

        async def aclose(self) -> None:
            # Not even a cancellation keeps it from being closed.
            await anyio.lowlevel.checkpoint()
            self.closed = True

    class Transport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, stream=body)

    body = Endless()
    backend = OllamaBackend("http://upstream", transport=Transport())
    events = backend.generate(PROMPT)
    assert await anext(events) == TextDelta("a")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await events.aclose()

    assert body.closed
    await backend.aclose()


@pytest.mark.parametrize("parts", [(), (head(),), (head(), A)])
async def test_cancelling_the_reader_closes_the_connection(parts: tuple[bytes, ...]) -> None:
    waiting = anyio.Event()

    async def reply(stream: Stream) -> None:
        await sending(*parts)(stream)
        waiting.set()
        await stream.receive()

    async with serving(reply) as upstream, ollama(upstream) as backend:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect, backend)
            await waiting.wait()
            tasks.cancel_scope.cancel()
        await upstream.gone.wait()


async def test_a_backend_can_be_used_after_an_answer_was_left() -> None:
    async with serving(stalling(head(), A), OLLAMA) as upstream, ollama(upstream) as backend:
        async with aclosing(backend.generate(PROMPT)) as events:
            await anext(events)
        assert text_of(await collect(backend)) == "ab"


# Connections


async def test_connections_are_used_again() -> None:
    replies = OLLAMA, OLLAMA, answering(404, '{"error": "model not found"}'), OLLAMA_TAGS, OLLAMA

    async with serving(*replies) as upstream, ollama(upstream) as backend:
        await collect(backend)
        # Whoever reads up to the Finish and no further leaves the connection as good.
        async with aclosing(backend.generate(PROMPT)) as events:
            async for item in events:
                if isinstance(item, Finish):
                    break
        with pytest.raises(ModelNotFound):
            await collect(backend)
        await backend.models()
        await collect(backend)

    assert len(upstream.requests) == 5
    assert upstream.connections == 1


async def test_a_closed_backend_opens_again() -> None:
    async with serving(OLLAMA) as upstream, ollama(upstream) as backend:
        await collect(backend)
        await backend.aclose()
        await backend.aclose()
        await collect(backend)

    assert upstream.connections == 2


def test_a_backend_outlives_its_event_loop(anyio_backend: str) -> None:
    backends: list[OllamaBackend] = []

    async def once(port: int) -> int:
        async with serving(OLLAMA, port=port) as upstream:
            backend = backends[0] if backends else OllamaBackend(upstream.url)
            backends.append(backend)
            assert text_of(await collect(backend)) == "ab"
            await backend.aclose()
            return int(upstream.url.rpartition(":")[2])

    port = anyio.run(once, 0, backend=anyio_backend)
    assert anyio.run(once, port, backend=anyio_backend) == port


# Models


async def test_the_list_of_models_is_asked_for_once_in_a_while() -> None:
    async with serving(OLLAMA_TAGS) as upstream, ollama(upstream) as backend:
        first = await backend.models()
        assert await backend.models() == first

    assert [model.name for model in first] == ["m", "n"]
    assert [request.line for request in upstream.requests] == ["GET /api/tags HTTP/1.1"]


async def test_a_failure_to_list_models_is_not_kept() -> None:
    failing = answering(500, "{}")

    async with serving(failing, OLLAMA_TAGS) as upstream, ollama(upstream) as backend:
        with pytest.raises(BackendError):
            await backend.models()
        assert len(await backend.models()) == 2


@pytest.mark.parametrize(("fixed", "listed"), [("n", ["n"]), ("other", ["other"])])
async def test_a_backend_of_one_model_lists_that_one(fixed: str, listed: list[str]) -> None:
    async with serving(OLLAMA_TAGS) as upstream, ollama(upstream, model=fixed) as backend:
        assert [model.name for model in await backend.models()] == listed


@pytest.mark.parametrize("body", ["<html>", "[1", '{"models": 5}', " " * 9 * 2**20])
async def test_a_list_of_models_that_is_none_is_an_error(body: str) -> None:
    async with serving(answering(200, body)) as upstream, openai(upstream) as backend:
        with pytest.raises(BackendError):
            await backend.models()


# Secrets


async def test_no_secret_is_in_what_a_failure_says() -> None:
    reply = answering(401, json.dumps({"error": {"message": f"Incorrect key: {KEY}"}}))

    async with serving(reply) as upstream, openai(upstream, api_key=KEY) as backend:
        with pytest.raises(BackendError) as caught:
            await collect(backend)
        described = repr(backend)

    said = [caught.value.message, repr(caught.value), *caught.value.__notes__, described]
    assert not [text for text in said if KEY in text]
    assert upstream.url in described


@pytest.mark.parametrize(
    "arguments",
    [
        {"base_url": "ftp://a"},
        {"base_url": "a:80"},
        {"base_url": "http://"},
        {"base_url": "http://a:port"},
        {"base_url": f"http://user:{KEY}@a"},
        {"base_url": f"http://a?key={KEY}"},
        {"base_url": "http://a", "api_key": f"{KEY}\n"},
        {"base_url": "http://a", "api_key": f"{KEY}é"},
        {"base_url": "http://a", "headers": {"x-key": f"{KEY}\r\nx: y"}},
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        OpenAIBackend(**arguments)

    assert KEY not in str(caught.value)
