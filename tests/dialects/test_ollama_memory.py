"""What lasts longer than one request to Ollama's API: models in memory, and a context."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from tests.tiny_gguf import ALPHABET, CHATML, write_bigram

from llmount import EchoBackend, RoutingBackend, generate_app
from llmount.dialects.ollama import Ollama
from llmount.testing.transport import ASGITransport
from llmount.types import Backend

pytestmark = pytest.mark.anyio


class Api:
    """The API over a backend, as one who asks for whole answers sees it."""

    def __init__(self, backend: Backend | Ollama) -> None:
        dialect = backend if isinstance(backend, Ollama) else Ollama(backend)
        self.app = generate_app(dialect.backend, dialect=dialect, check_answers=True)

    async def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        with anyio.fail_after(30):
            async with httpx.AsyncClient(transport=ASGITransport(self.app)) as client:
                return await client.request(method, f"http://server{path}", json=body)

    async def post(self, path: str, **body: Any) -> Any:
        response = await self.ask("POST", path, {"stream": False, **body})
        assert response.status_code == 200, response.text
        return response.json()

    async def get(self, path: str) -> Any:
        return (await self.ask("GET", path)).json()

    async def expiry(self) -> datetime | None:
        """When the one model in memory is to leave it; None if there is none."""
        models = (await self.get("/ps"))["models"]
        assert len(models) <= 1
        return datetime.fromisoformat(models[0]["expires_at"]) if models else None


@pytest.fixture
async def tiny(tmp_path: Path) -> AsyncGenerator[Api]:
    llamacpp = pytest.importorskip("llmount.backends.llamacpp")
    pytest.importorskip("xllamacpp")
    path = tmp_path / "tiny.gguf"
    write_bigram(path, ALPHABET, chat_template=CHATML)
    backend = llamacpp.LlamaCppBackend(path, threads=1)
    yield Api(RoutingBackend({"tiny": backend}))
    await backend.aclose()


GREEDY = {"temperature": 0, "num_predict": 4}


async def test_a_model_is_loaded_kept_and_unloaded(tiny: Api) -> None:
    assert await tiny.expiry() is None

    loaded = await tiny.post("/generate", model="tiny", keep_alive="10m")
    first = await tiny.expiry()
    answer = await tiny.post("/generate", model="tiny", prompt="a", keep_alive=3600, raw=True)
    second = await tiny.expiry()
    kept = await tiny.post("/chat", model="tiny", messages=[], keep_alive=-1)
    third = await tiny.expiry()
    unloaded = await tiny.post("/generate", model="tiny", keep_alive=0)

    assert (loaded["done_reason"], kept["done_reason"]) == ("load", "load")
    assert unloaded["done_reason"] == "unload"
    assert answer["done_reason"] in ("stop", "length")
    assert first is not None
    assert second is not None
    assert third is not None
    assert 2900 < (second - first).total_seconds() < 3100
    assert third.year == 9999
    assert await tiny.expiry() is None


async def test_keep_alive_0_with_a_prompt_unloads_afterwards(tiny: Api) -> None:
    answer = await tiny.post(
        "/generate", model="tiny", prompt="abc", raw=True, keep_alive=0, options=GREEDY
    )
    assert answer["response"] == "defg"
    assert await tiny.expiry() is None


async def test_the_durations_fit_into_the_whole(tiny: Api) -> None:
    for _ in range(2):
        answer = await tiny.post("/generate", model="tiny", prompt="abc", raw=True, options=GREEDY)
        parts = ("load_duration", "prompt_eval_duration", "eval_duration")
        assert sum(answer.get(part, 0) for part in parts) <= answer["total_duration"]
        assert answer["eval_duration"] > 0


async def test_a_context_carries_a_conversation_on(tiny: Api) -> None:
    first = await tiny.post("/generate", model="tiny", prompt="q", options=GREEDY)
    second = await tiny.post(
        "/generate", model="tiny", prompt="x", context=first["context"], options=GREEDY
    )

    assert second["context"][: len(first["context"])] == first["context"]
    alone = await tiny.post("/generate", model="tiny", prompt="x", options=GREEDY)
    more = second["prompt_eval_count"] - alone["prompt_eval_count"]
    assert more == len(first["context"])


async def test_a_template_in_the_request_replaces_that_of_the_model(tiny: Api) -> None:
    answer = await tiny.post(
        "/generate",
        model="tiny",
        prompt="abc",
        system="xyz",
        template="{{ .System }}{{ .Prompt }}{{ .Response }} is not said",
        options=GREEDY,
    )
    assert answer["response"] == "defg"
    assert bytes(answer["context"]) == b"xyzabcdefg"


async def test_the_echo_remembers_what_it_is_reminded_of() -> None:
    api = Api(EchoBackend())
    first = await api.post("/generate", model="echo", prompt="one two")
    second = await api.post("/generate", model="echo", prompt="three", context=first["context"])

    assert second["response"] == "three"
    assert len(first["context"]) == 4
    assert second["context"][:4] == first["context"]
    assert (first["prompt_eval_count"], second["prompt_eval_count"]) == (2, 5)


async def test_the_release_that_is_told_can_be_chosen() -> None:
    assert (await Api(EchoBackend()).get("/version"))["version"] == "0.32.15"
    assert await Api(Ollama(EchoBackend(), version="0.9.1")).get("/version") == {"version": "0.9.1"}


async def test_the_embeddings_of_the_echo_are_always_the_same() -> None:
    api = Api(EchoBackend())
    one = await api.post("/embed", model="echo", input=["a b", "c", "a b"], dimensions=8)
    old = await api.post("/embeddings", model="echo", prompt="c")

    first, other, again = one["embeddings"]
    assert first == again
    assert first != other
    assert one["prompt_eval_count"] == 5
    assert {len(vector) for vector in one["embeddings"]} == {8}
    for vector in one["embeddings"]:
        assert sum(number * number for number in vector) == pytest.approx(1)
    assert len(old["embedding"]) == 64
