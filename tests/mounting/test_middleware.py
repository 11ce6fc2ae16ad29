"""What a host puts in front of a mounted app does not hold its stream back."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable

import anyio
import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware  # noqa: TID251 (hosts use it)
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount

from llmount import chat_app, generate_app
from llmount.backends.function import FunctionBackend
from llmount.testing.transport import ASGITransport
from llmount.types import Prompt

pytestmark = pytest.mark.anyio

SECONDS = 5


class Paused:
    """A backend that says "first", and "second" only when it is told to go on."""

    def __init__(self) -> None:
        self.go_on = anyio.Event()
        self.backend = FunctionBackend(self._answer, ["paused"])

    async def _answer(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        yield "first"
        await self.go_on.wait()
        yield " second"


async def named(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers["x-seen-by"] = "middleware"
    return response


MIDDLEWARE = {
    "BaseHTTPMiddleware": Middleware(BaseHTTPMiddleware, dispatch=named),
    "GZip": Middleware(GZipMiddleware, minimum_size=1),
    "CORS": Middleware(CORSMiddleware, allow_origins=["*"]),
}
STACKS = {**{name: [one] for name, one in MIDDLEWARE.items()}, "all": list(MIDDLEWARE.values())}
PATHS = {"/api/generate": "NDJSON", "/v1/chat/completions": "SSE"}


@pytest.mark.parametrize("path", PATHS, ids=PATHS.values())
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("kind", [Starlette, FastAPI])
async def test_the_first_word_arrives_before_the_second_is_said(
    kind: Callable[..., Starlette], stack: str, path: str
) -> None:
    paused = Paused()
    app = kind(
        routes=[
            Mount("/api", generate_app(paused.backend)),
            Mount("/v1", chat_app(paused.backend)),
        ],
        middleware=STACKS[stack],
    )
    body = {
        "model": "paused",
        "stream": True,
        "prompt": "Go",
        "messages": [{"role": "user", "content": "Go"}],
    }
    headers = {"accept-encoding": "gzip", "origin": "http://elsewhere"}
    with anyio.fail_after(SECONDS):
        async with (
            httpx.AsyncClient(transport=ASGITransport(app), base_url="http://test") as client,
            client.stream("POST", path, json=body, headers=headers) as answer,
        ):
            assert answer.status_code == 200
            # httpx does not show what gzip has not closed yet.
            zipped = answer.headers.get("content-encoding") == "gzip"
            decoder = zlib.decompressobj(wbits=31) if zipped else None
            text = b""
            async for piece in answer.aiter_raw():
                text += decoder.decompress(piece) if decoder else piece
                if b"first" in text and not paused.go_on.is_set():
                    assert b"second" not in text
                    paused.go_on.set()
    assert b"second" in text
    if stack in ("BaseHTTPMiddleware", "all"):
        assert answer.headers["x-seen-by"] == "middleware"
    if stack in ("CORS", "all"):
        assert answer.headers["access-control-allow-origin"] == "*"


async def test_a_preflight_is_answered_by_cors_around_the_mount() -> None:
    paused = Paused()
    cors = Middleware(
        CORSMiddleware, allow_origins=["*"], allow_methods=["POST"], allow_headers=["*"]
    )
    app = Starlette(routes=[Mount("/v1", chat_app(paused.backend), middleware=[cors])])
    headers = {
        "origin": "http://elsewhere",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    transport = ASGITransport(app)
    with anyio.fail_after(SECONDS):
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.options("/v1/chat/completions", headers=headers)
    assert answer.status_code == 200
    assert "POST" in answer.headers["access-control-allow-methods"]
