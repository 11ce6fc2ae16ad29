"""Every host, at every depth, behind every kind of proxy: the apps answer as they stand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import httpx
import pytest
from hosts import HOSTS, PROXIES, Host, Proxy

from llmount import App, EchoBackend, ai_app, chat_app, gateway, generate_app
from llmount.testing.transport import ASGITransport

SECONDS = 5
MAX_BODY = 4096

_backend = EchoBackend()
APPS: dict[str, App] = {
    "/api": generate_app(_backend, max_body=MAX_BODY, check_answers=True),
    "/v1": chat_app(_backend, max_body=MAX_BODY, check_answers=True),
    "/ai/v1": ai_app({"echo": _backend}, max_body=MAX_BODY, check_answers=True),
}
ONE_APP = gateway(APPS, max_body=MAX_BODY, check_answers=True)


@dataclass(frozen=True)
class Cell:
    """One host at one depth behind one proxy.

    At depth 0 stands the gateway, at 1 the three apps, at 2 the three apps below "/x".
    """

    host: Host
    depth: int
    proxy: Proxy

    @property
    def outer(self) -> str:
        return "/x" if self.depth == 2 else ""

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client for paths as the client sees them, from below the proxy's prefix."""
        proxy = self.proxy
        apps = APPS if self.depth else {"": ONE_APP}
        outer = self.outer
        if proxy.stripped:
            # Starlette finds no route of a nested host then; a longer prefix it finds.
            apps, outer = {outer + prefix: app for prefix, app in apps.items()}, ""
        host = self.host.build(outer, apps, proxy.prefix if proxy.told == "host" else "")
        transport = ASGITransport(host, root_path=proxy.prefix if proxy.told == "server" else "")
        base = "http://test" + ("" if proxy.stripped else proxy.prefix) + self.outer
        with anyio.fail_after(SECONDS):
            async with httpx.AsyncClient(transport=transport, base_url=base) as client:
                yield client


def _cells() -> Iterator[object]:
    for name, host in HOSTS.items():
        for depth in host.depths:
            for proxy_name, proxy in PROXIES.items():
                if name not in proxy.hosts:
                    continue
                for loop in ("asyncio",) if host.asyncio_only else ("asyncio", "trio"):
                    yield pytest.param(
                        loop, Cell(host, depth, proxy), id=f"{name}-{depth}-{proxy_name}-{loop}"
                    )


pytestmark = [pytest.mark.anyio, pytest.mark.parametrize(("anyio_backend", "cell"), list(_cells()))]

MESSAGES = [{"role": "user", "content": "Hello there"}]


async def test_whole_answers_arrive(cell: Cell) -> None:
    async with cell.client() as client:
        generate = await client.post(
            "/api/generate", json={"model": "echo", "prompt": "Hello there", "stream": False}
        )
        chat = await client.post(
            "/v1/chat/completions", json={"model": "echo", "messages": MESSAGES}
        )
        complete = await client.post(
            "/ai/v1/completion", json={"model": "echo:echo", "prompt": "Hello there"}
        )
    assert (generate.status_code, generate.json()["response"]) == (200, "Hello there")
    assert chat.status_code == 200
    assert chat.json()["choices"][0]["message"]["content"] == "Hello there"
    assert complete.status_code == 200
    assert complete.json()["output"][0]["content"][0]["text"] == "Hello there"


async def test_streamed_answers_arrive(cell: Cell) -> None:
    async with cell.client() as client:
        generate = await client.post(
            "/api/generate", json={"model": "echo", "prompt": "Hello there"}
        )
        chat = await client.post(
            "/v1/chat/completions",
            json={"model": "echo", "messages": MESSAGES, "stream": True},
        )
    assert generate.headers["content-type"] == "application/x-ndjson"
    items = [json.loads(line) for line in generate.text.splitlines()]
    assert "".join(item["response"] for item in items) == "Hello there"
    assert chat.headers["content-type"].startswith("text/event-stream")
    *events, last, end = chat.text.split("\n\n")
    assert (last, end) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Hello there"


async def test_an_unknown_route_is_404_in_the_dialects_words(cell: Cell) -> None:
    async with cell.client() as client:
        generate = await client.post("/api/nothing")
        chat = await client.post("/v1/nothing")
        complete = await client.post("/ai/v1/nothing")
    assert (generate.status_code, generate.text) == (404, "404 page not found")
    assert chat.status_code == 404
    assert chat.json()["error"]["type"] == "invalid_request_error"
    assert (complete.status_code, complete.json()) == (404, {"detail": "Not Found"})


async def test_a_wrong_method_is_405_with_the_right_ones(cell: Cell) -> None:
    async with cell.client() as client:
        generate = await client.delete("/api/generate")
        chat = await client.delete("/v1/chat/completions")
        complete = await client.delete("/ai/v1/completion")
        models = await client.delete("/v1/models")
    assert (generate.status_code, generate.text) == (405, "405 method not allowed")
    assert (chat.status_code, chat.json()["error"]["code"]) == (405, "method_not_supported")
    assert (complete.status_code, complete.json()) == (405, {"detail": "Method Not Allowed"})
    assert {answer.headers["allow"] for answer in (generate, chat, complete)} == {"POST"}
    assert models.headers["allow"] == "GET, HEAD"


async def test_a_body_over_the_limit_is_413_in_the_dialects_words(cell: Cell) -> None:
    long = "x" * (MAX_BODY + 1)
    async with cell.client() as client:
        generate = await client.post("/api/generate", json={"model": "echo", "prompt": long})
        chat = await client.post(
            "/v1/chat/completions",
            json={"model": "echo", "messages": [{"role": "user", "content": long}]},
        )
        complete = await client.post("/ai/v1/completion", json={"prompt": long})
    assert [generate.status_code, chat.status_code, complete.status_code] == [413, 413, 413]
    assert isinstance(generate.json()["error"], str)
    assert isinstance(chat.json()["error"]["message"], str)
    assert isinstance(complete.json()["detail"], str)


async def test_a_trailing_slash_is_no_redirect(cell: Cell) -> None:
    async with cell.client() as client:
        answer = await client.post(
            "/v1/chat/completions/", json={"model": "echo", "messages": MESSAGES}
        )
        version = await client.get("/api/version/")
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "Hello there"
    assert version.status_code == 200


async def test_a_models_id_keeps_its_slashes(cell: Cell) -> None:
    async with cell.client() as client:
        found = await client.get("/v1/models/echo")
        missing = await client.get("/v1/models/some/model%2Fwith/slashes")
    assert (found.status_code, found.json()["id"]) == (200, "echo")
    assert missing.status_code == 404
    assert "some/model/with/slashes" in missing.json()["error"]["message"]


async def test_each_document_says_where_it_is(cell: Cell) -> None:
    seen = cell.proxy.prefix + cell.outer
    async with cell.client() as client:
        for prefix in APPS:
            page = await client.get(f"{prefix}/docs")
            assert page.status_code == 200
            assert page.headers["content-type"].startswith("text/html")
            document = (await client.get(f"{prefix}/openapi.json")).json()
            assert document["servers"] == [{"url": seen + prefix}]


async def test_head_has_the_headers_of_get_and_no_body(cell: Cell) -> None:
    async with cell.client() as client:
        get = await client.get("/api/version")
        head = await client.head("/api/version")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"] != "0"
