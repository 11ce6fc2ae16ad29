"""Requests byte by byte: what is sent, and what is told of servers that behave badly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute

from llmount.check.recording import Recording
from llmount.check.target import Target
from llmount.check.wire import Request, exchange

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


@asynccontextmanager
async def server(serve: Callable[[ByteStream], Awaitable[None]]) -> AsyncIterator[str]:
    """The URL of a server that does this with each connection, and then closes it."""

    async def handle(stream: ByteStream) -> None:
        async with stream:
            await serve(stream)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        group.cancel_scope.cancel()


async def until(stream: ByteStream, end: bytes) -> bytes:
    read = b""
    while not read.endswith(end):
        read += await stream.receive()
    return read


async def exchanged(
    serve: Callable[[ByteStream], Awaitable[None]], request: Request, *, timeout: float = 5
) -> Recording:
    with anyio.fail_after(10):
        async with (
            server(serve) as url,
            Target(url + "/base", headers={"Authorization": "Bearer sk-secret"}) as target,
        ):
            return await exchange(target, request, timeout=timeout)


async def test_a_request_is_sent_as_it_is_told() -> None:
    seen: list[bytes] = []

    async def serve(stream: ByteStream) -> None:
        seen.append(await until(stream, b"0\r\n\r\n"))
        await stream.send(OK)

    request = Request(
        method="post",
        path="/x",
        headers=[("x-odd", "1")],
        body=b"abcd",
        chunked=True,
        version="1.0",
    )
    recording = await exchanged(serve, request)
    assert (recording.status, recording.content, recording.fault) == (200, b"hi", "")
    lines = seen[0].split(b"\r\n")
    assert lines[0] == b"post /base/x HTTP/1.0"
    assert {b"Authorization: Bearer sk-secret", b"x-odd: 1"} < set(lines)
    assert lines[-6:] == [b"ab", b"2", b"cd", b"0", b"", b""]
    assert "sk-secret" not in str(recording)


async def test_a_body_is_held_back_until_the_server_wants_it() -> None:
    async def serve(stream: ByteStream) -> None:
        head = await until(stream, b"\r\n\r\n")
        assert b"expect: 100-continue" in head
        await stream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await until(stream, b"body") == b"body"
        await stream.send(OK)

    request = Request(method="POST", path="/", body=b"body", expects=True)
    assert (await exchanged(serve, request)).status == 200


async def test_an_answer_that_comes_before_the_body_is_sent_is_read() -> None:
    async def serve(stream: ByteStream) -> None:
        await stream.receive(100)
        await stream.send(OK.replace(b"200 OK", b"413 Too Large"))
        # Closing now would take the answer away from who is still sending.
        async for _ in stream:
            pass

    request = Request(method="POST", path="/", body=b"x" * 2**24)
    assert (await exchanged(serve, request)).status == 413


async def test_a_length_may_promise_more_than_is_sent() -> None:
    seen: list[bytes] = []
    left = anyio.Event()

    async def serve(stream: ByteStream) -> None:
        try:
            async for piece in stream:
                seen.append(piece)
        finally:
            left.set()

    with anyio.fail_after(10):
        async with server(serve) as url, Target(url) as target:
            request = Request(method="POST", path="/", body=b"{", promised=9)
            recording = await exchange(target, request, timeout=5)
            await left.wait()
    assert (recording.status, recording.fault) == (None, "")
    assert b"content-length: 10\r\n" in b"".join(seen)


async def test_faults_are_told() -> None:
    async def closing(stream: ByteStream) -> None:
        await until(stream, b"\r\n\r\n")

    async def cutting(stream: ByteStream) -> None:
        await until(stream, b"\r\n\r\n")
        await stream.send(OK[:-1])

    async def silent(stream: ByteStream) -> None:
        await anyio.sleep_forever()

    request = Request(method="GET", path="/")
    closed = await exchanged(closing, request)
    assert (closed.status, closed.fault[:22]) == (None, "the connection was cut")
    cut = await exchanged(cutting, request)
    assert (cut.status, cut.content, cut.fault[:22]) == (200, b"h", "the connection was cut")
    late = await exchanged(silent, request, timeout=0.1)
    assert late.fault.startswith("not answered in")
    async with Target("http://127.0.0.1:1") as target:
        gone = await exchange(target, request, timeout=5)
    assert gone.fault.startswith("no connection")
