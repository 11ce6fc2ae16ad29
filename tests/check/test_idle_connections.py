"""A connection that a server closes while it is idle is no failure of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute

from llmount.check.target import Target

pytestmark = pytest.mark.anyio

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


@asynccontextmanager
async def server(answers: Callable[[int, int], bool]) -> AsyncIterator[str]:
    """A server that closes the connection in the place of an answer, unless `answers` says
    otherwise of the connection and of the request on it, both counted from 0."""
    opened = 0

    async def serve(stream: ByteStream) -> None:
        nonlocal opened
        connection, opened = opened, opened + 1
        request = 0
        async with stream:
            try:
                while True:
                    head = b""
                    while not head.endswith(b"\r\n\r\n"):
                        head += await stream.receive()
                    if not answers(connection, request):
                        return
                    await stream.send(ANSWER)
                    request += 1
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        group.cancel_scope.cancel()


async def test_a_request_that_meets_a_closing_connection_takes_another() -> None:
    with anyio.fail_after(10):
        async with (
            server(lambda connection, request: request == 0) as url,
            Target(url) as target,
        ):
            for _ in range(3):
                recording = await target.send("GET", "/")
                assert (recording.status, recording.fault) == (200, "")


async def test_a_new_connection_that_is_cut_is_told() -> None:
    with anyio.fail_after(10):
        async with (
            server(lambda connection, request: connection == 0 and request == 0) as url,
            Target(url) as target,
        ):
            assert (await target.send("GET", "/")).status == 200
            recording = await target.send("GET", "/")
            assert recording.status is None
            assert recording.fault.startswith("the connection was cut")
