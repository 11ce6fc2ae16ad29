"""How long the HTTP backends wait, and what becomes of their connections."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
import anyio.abc
import anyio.lowlevel
import httpx
import pytest
from tests.upstream import (
    DONE,
    OLLAMA,
    OLLAMA_TAGS,
    PROMPT,
    SSE,
    A,
    B,
    Stream,
    answering,
    collect,
    delta,
    head,
    ollama,
    openai,
    piece,
    sending,
    serving,
    stalling,
    text_of,
)

from llmount.backends.http import OllamaBackend, Timeouts
from llmount.errors import (
    BackendTimeout,
    ModelNotFound,
)
from llmount.types import Finish, TextDelta

pytestmark = [
    pytest.mark.anyio,
    # httpx leaves inner generators of its own unclosed, and trio says so.
    pytest.mark.filterwarnings("ignore:Async generator 'http(x|core):ResourceWarning"),
]

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
