"""Every example answers: in process on both event loops, and from a server of its own."""

from __future__ import annotations

import runpy
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from servers import SECONDS

from llmount.testing.transport import ASGITransport

ROOT = Path(__file__).parents[2]
MESSAGES = [{"role": "user", "content": "Hello there"}]


@asynccontextmanager
async def client_of(example: str) -> AsyncIterator[httpx.AsyncClient]:
    app = runpy.run_path(str(ROOT / "examples" / f"{example}.py"))["app"]
    with anyio.fail_after(SECONDS):
        transport = ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


@contextmanager
def server_of(name: str) -> Iterator[httpx.Client]:
    """A client of `uvicorn examples.NAME`, run as its docstring says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        descriptor = listener.fileno()
        command = [sys.executable, "-m", "uvicorn", f"examples.{name}", "--fd", str(descriptor)]
        process = subprocess.Popen(
            command, cwd=ROOT, pass_fds=[descriptor], stderr=subprocess.PIPE, text=True
        )
        try:
            host, port = listener.getsockname()
            with httpx.Client(base_url=f"http://{host}:{port}", timeout=SECONDS) as client:
                yield client
        finally:
            process.terminate()
            _, log = process.communicate(timeout=SECONDS)
    assert "Traceback" not in log, log


def said(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


@pytest.mark.anyio
async def test_starlette_has_its_own_page_and_two_apis() -> None:
    async with client_of("starlette_app") as client:
        assert "My own page" in (await client.get("/")).text
        generate = await client.post(
            "/api/generate", json={"model": "echo", "prompt": "Hello there", "stream": False}
        )
        chat = await client.post(
            "/v1/chat/completions", json={"model": "echo", "messages": MESSAGES}
        )
    assert generate.json()["response"] == "Hello there"
    assert said(chat) == "Hello there"


@pytest.mark.anyio
async def test_fastapi_answers_holders_of_the_key_only() -> None:
    async with client_of("fastapi_app") as client:
        assert (await client.get("/")).json() == {"models": "/v1/models"}
        body = {"model": "echo", "messages": MESSAGES}
        refused = await client.post("/v1/chat/completions", json=body)
        wrong = await client.get("/v1/models", headers={b"authorization": "Bearer sécret".encode()})
        headers = {"authorization": "Bearer secret"}
        allowed = await client.post("/v1/chat/completions", json=body, headers=headers)
    assert (refused.status_code, wrong.status_code) == (401, 401)
    assert refused.json()["error"]["code"] == "invalid_api_key"
    assert said(allowed) == "Hello there"


@pytest.mark.anyio
async def test_the_gateway_has_three_families_at_one_root() -> None:
    async with client_of("gateway_app") as client:
        assert (await client.get("/")).text == "Ollama is running"
        tags = (await client.get("/api/tags")).json()["models"]
        chat = await client.post(
            "/v1/chat/completions", json={"model": "echo", "messages": MESSAGES}
        )
        complete = await client.post(
            "/ai/v1/completion", json={"model": "echo:echo", "prompt": "Hello there"}
        )
        models = (await client.get("/ai/v1/models")).json()
    assert [model["name"] for model in tags] == ["echo:latest"]
    assert said(chat) == "Hello there"
    assert complete.json()["output"][0]["content"][0]["text"] == "Hello there"
    assert {model["provider"] for model in models} == {"echo", "draw"}


@pytest.mark.anyio
async def test_own_backends_answer() -> None:
    async with client_of("own_backend") as client:
        shout = await client.post(
            "/shout/v1/chat/completions", json={"model": "shout", "messages": MESSAGES}
        )
        count = await client.post(
            "/count/v1/chat/completions", json={"model": "count", "messages": MESSAGES}
        )
        missing = await client.post(
            "/shout/v1/chat/completions", json={"model": "count", "messages": MESSAGES}
        )
    assert said(shout) == "HELLO THERE"
    assert said(count) == "1 2 3 4 5 6 7 8 9 10 "
    assert missing.status_code == 404


@pytest.mark.parametrize("example", ["starlette_app:app", "gateway_app:app"])
def test_an_example_streams_from_a_real_server(example: str) -> None:
    body = {"model": "echo", "messages": MESSAGES, "stream": True}
    with server_of(example) as client:
        answer = client.post("/v1/chat/completions", json=body)
        document = client.get("/v1/openapi.json").json()
    assert answer.status_code == 200
    assert answer.text.endswith("data: [DONE]\n\n")
    assert document["servers"] == [{"url": "/v1"}]


def test_the_fastapi_example_streams_from_a_real_server() -> None:
    body = {"model": "echo", "messages": MESSAGES, "stream": True}
    headers = {"authorization": "Bearer secret"}
    with server_of("fastapi_app:app") as client:
        answer = client.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200
    assert answer.text.endswith("data: [DONE]\n\n")


def test_django_stands_beside_the_api_in_asgi_py() -> None:
    body = {"model": "echo", "messages": MESSAGES}
    with server_of("django_asgi:application") as client:
        assert "Django's own page" in client.get("/").text
        assert client.get("/v1/docs").status_code == 200
        whole = client.post("/v1/chat/completions", json=body)
        streamed = client.post("/v1/chat/completions", json={**body, "stream": True})
    assert said(whole) == "Hello there"
    assert streamed.text.endswith("data: [DONE]\n\n")


def test_djangos_urlconf_has_an_open_api_and_a_closed_one() -> None:
    body = {"model": "echo", "prompt": "Hello there"}
    with server_of("django_urls:application") as client:
        whole = client.post("/api/generate", json={**body, "stream": False})
        streamed = client.post("/api/generate", json=body)
        refused = client.post("/v1/chat/completions", json={"model": "echo", "messages": MESSAGES})
        document = client.get("/api/openapi.json").json()
    assert whole.json()["response"] == "Hello there"
    assert '"done":true' in streamed.text
    assert (refused.status_code, refused.headers["location"]) == (
        302,
        "/login/?next=/v1/chat/completions",
    )
    assert document["servers"] == [{"url": "/api"}]
