"""Several dialects at one prefix of a gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

from llmount import App, Contract, EchoBackend, chat_app, gateway
from llmount.testing.transport import ASGITransport

pytestmark = pytest.mark.anyio


class Closable(EchoBackend):
    """Counts how often it is closed."""

    closed = 0

    async def aclose(self) -> None:
        self.closed += 1


def shared(prefix: str = "/v1", backend: EchoBackend | None = None) -> App:
    backend = backend or EchoBackend()
    return gateway(
        {prefix: [chat_app(backend), chat_app(backend, dialect="responses")]}, check_answers=True
    )


@pytest.fixture(params=["", "/v1"], ids=["at the root", "at /v1"])
def prefix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def client(prefix: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = ASGITransport(shared(prefix))
    with anyio.fail_after(10):
        async with httpx.AsyncClient(
            transport=transport, base_url=f"http://test{prefix}"
        ) as client:
            yield client


async def test_each_answers_at_its_own_path(client: httpx.AsyncClient) -> None:
    chat = await client.post(
        "/chat/completions",
        json={"model": "echo", "messages": [{"role": "user", "content": "Hello"}]},
    )
    response = await client.post("/responses", json={"model": "echo", "input": "Hello"})
    models = await client.get("/models")

    assert chat.json()["object"] == "chat.completion"
    assert response.json()["object"] == "response"
    assert models.json()["object"] == "list"


async def test_each_has_its_document_and_its_page(client: httpx.AsyncClient, prefix: str) -> None:
    first = (await client.get("/openapi.json")).json()
    second = (await client.get("/responses/openapi.json")).json()

    assert first["paths"].keys() == Contract.load("chat/openai").document["paths"].keys()
    assert list(second["paths"]) == ["/responses"]
    assert first["servers"] == second["servers"] == [{"url": prefix or "/"}]
    for page in ("/docs", "/responses/docs"):
        assert (await client.get(page)).headers["content-type"] == "text/html; charset=utf-8"


async def test_what_none_has_is_drawn_by_the_first(client: httpx.AsyncClient, prefix: str) -> None:
    missing = await client.get("/responses/resp_1")
    wrong = await client.get("/responses")

    assert missing.status_code == 404
    assert f"(GET {prefix}/responses/resp_1)" in missing.json()["error"]["message"]
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


async def test_one_app_alone_needs_no_list() -> None:
    app = gateway({"/v1": chat_app(EchoBackend(), dialect="responses")})
    async with httpx.AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/v1/openapi.json")).json()["info"]["title"] == "OpenAI Responses"
        assert (await client.get("/v1/responses/openapi.json")).status_code == 404


async def test_a_backend_of_both_is_closed_once() -> None:
    backend = Closable()

    await shared(backend=backend).aclose()

    assert backend.closed == 1
