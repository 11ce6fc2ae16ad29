"""Real servers on loopback, raw clients, and a backend that tells how its work ends."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.lowlevel
import uvicorn

from llmount.types import Event, Model, Prompt, TextDelta

__all__ = ["SECONDS", "Witness", "post", "serving"]

SECONDS = 10.0
"""How long anything here may take before its test fails."""


class Witness:
    """A backend whose answers never end by themselves; it is for one request.

    Models: "quiet" says nothing; "slow" says one word and then nothing; "busy" talks
    without a pause, far more than a connection holds.
    """

    def __init__(self) -> None:
        self.began = threading.Event()
        self.ended = threading.Event()
        self.how: type[BaseException] | None = None

    async def models(self) -> Sequence[Model]:
        return [Model(name=name) for name in ("quiet", "slow", "busy")]

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        self.began.set()
        try:
            if prompt.model == "slow":
                yield TextDelta("word")
            while prompt.model == "busy":
                await anyio.lowlevel.checkpoint()
                yield TextDelta("x" * 1_000_000)
            await anyio.sleep_forever()
        except BaseException as error:
            self.how = type(error)
            raise
        finally:
            self.ended.set()

    def stopped(self) -> bool:
        """Wait for the end; whether somebody stopped it (it has no other way to end)."""
        return self.ended.wait(SECONDS) and self.how is not None


@contextmanager
def serving(app: Any) -> Iterator[tuple[str, int]]:
    """Serve the app from a thread; gives the address, which listens already."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(SECONDS)
            assert not thread.is_alive(), "the server did not stop"


def post(path: str, body: Any) -> bytes:
    """An HTTP/1.1 request as bytes."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content
