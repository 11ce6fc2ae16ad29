"""OpenAI's text completions, embeddings and several answers, of a real engine."""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from tests.tiny_gguf import write_bigram

from llmount import chat_app
from llmount.backends.llamacpp import LlamaCppBackend
from llmount.testing.transport import ASGITransport

pytest.importorskip("xllamacpp")

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(tmp_path: Path) -> AsyncGenerator[httpx.AsyncClient]:
    path = tmp_path / "tiny.gguf"
    write_bigram(path, "abc")
    backend = LlamaCppBackend(path, threads=1, slots=1)
    app = chat_app(backend, check_answers=True)
    async with httpx.AsyncClient(transport=ASGITransport(app), base_url="http://server") as client:
        yield client
    await backend.aclose()


async def ask(client: httpx.AsyncClient, path: str, **body: Any) -> Any:
    with anyio.fail_after(30):
        response = await client.post(path, json={"model": "tiny", **body})
    assert response.status_code == 200, response.text
    return response.json()


async def test_more_answers_than_places_are_all_written(client: httpx.AsyncClient) -> None:
    answer = await ask(client, "/completions", prompt=["a", "b"], n=2, max_tokens=3, logprobs=1)

    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    for choice in answer["choices"]:
        assert "".join(choice["logprobs"]["tokens"]) == choice["text"]
    assert answer["usage"]["prompt_tokens"] == 2


async def test_the_best_of_several_is_found(client: httpx.AsyncClient) -> None:
    answer = await ask(client, "/completions", prompt="a", best_of=3, max_tokens=2, seed=1)

    assert [choice["logprobs"] for choice in answer["choices"]] == [None]


async def test_no_tokens_are_no_text(client: httpx.AsyncClient) -> None:
    answer = await ask(client, "/completions", prompt="a", max_tokens=0, echo=True)

    assert answer["choices"][0]["text"] == "a"


async def test_texts_are_embedded(client: httpx.AsyncClient) -> None:
    plain = await ask(client, "/embeddings", input=["a", "ab"])
    packed = await ask(client, "/embeddings", input=["a", "ab"], encoding_format="base64")

    for numbers, text in zip(plain["data"], packed["data"], strict=True):
        sent = base64.b64decode(text["embedding"])
        vector = struct.unpack(f"<{len(sent) // 4}f", sent)
        assert sum(number * number for number in vector) == pytest.approx(1, abs=1e-5)
        assert list(vector) == pytest.approx(numbers["embedding"], abs=1e-6)
    assert plain["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
