"""Asking a reference server in the ways of its APIs, as plain requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx

from llmount.testing.reference.server import ReferenceServer
from llmount.testing.transport import ASGITransport

__all__ = ["STREAMS", "asking", "body_of", "lines_of"]

STREAMS: Final = {
    "NDJSON": "/api/chat",
    "server-sent events": "/v1/chat/completions",
    "responses": "/v1/responses",
}
"""The path of one operation for each way in which an answer is streamed."""


@asynccontextmanager
async def asking(server: ReferenceServer) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the server in process."""
    transport = ASGITransport(server.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        yield client


def body_of(path: str, text: str = "one two three four", *, stream: bool = True) -> dict[str, Any]:
    """A request for one answer to the text."""
    if path.endswith("/responses"):
        return {"model": "m", "input": text, "stream": stream}
    if path.endswith(("/generate", "/v1/completions")):
        return {"model": "m", "prompt": text, "stream": stream}
    return {"model": "m", "messages": [{"role": "user", "content": text}], "stream": stream}


def lines_of(answer: httpx.Response) -> list[str]:
    """The lines of a stream that carry something."""
    found = [line.removeprefix("data: ") for line in answer.text.splitlines()]
    return [line for line in found if line and not line.startswith("event:")]
