"""Embeddings of a tiny model, whose tokens' vectors are all at right angles."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import anyio
import pytest
from tests.tiny_gguf import write_bigram

from llmount.backends.llamacpp import LlamaCppBackend
from llmount.backends.routing import RoutingBackend
from llmount.errors import BackendUnavailable, BadRequest, ContextTooLong, ModelNotFound
from llmount.types import EmbeddingBackend, EmbeddingPrompt, Embeddings, Prompt, Sampling

pytest.importorskip("xllamacpp")

pytestmark = pytest.mark.anyio


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncGenerator[LlamaCppBackend]:
    path = tmp_path / "tiny.gguf"
    write_bigram(path, "abc")
    backend = LlamaCppBackend(path, threads=1)
    yield backend
    await backend.aclose()


async def embed(backend: EmbeddingBackend, *texts: str, **fields: object) -> Embeddings:
    prompt = EmbeddingPrompt(model="tiny", texts=texts, **fields)  # type: ignore[arg-type]
    with anyio.fail_after(30):
        return await backend.embed(prompt)


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / (math.hypot(*one) * math.hypot(*other))


async def test_a_text_is_the_mean_of_its_tokens(backend: LlamaCppBackend) -> None:
    found = await embed(backend, "a", "aaa", "b", "ab", "ba", "aab")
    a, aaa, b, ab, ba, aab = found.vectors

    assert cosine(a, aaa) == pytest.approx(1, abs=1e-3)
    assert cosine(a, b) == pytest.approx(0, abs=1e-3)
    assert cosine(ab, ba) == pytest.approx(1, abs=1e-3)
    assert cosine(a, ab) == pytest.approx(math.sqrt(1 / 2), abs=1e-3)
    assert cosine(a, aab) == pytest.approx(2 / math.sqrt(5), abs=1e-3)
    # As the model gives it, not of the length 1.
    assert math.hypot(*ab) == pytest.approx(math.sqrt(1 / 2), abs=1e-3)
    assert {len(vector) for vector in found.vectors} == {len(a)}
    assert found.usage.prompt == 1 + 3 + 1 + 2 + 2 + 3
    assert found.timings.load > 0


async def test_a_text_that_is_too_long_is_cut_or_refused(backend: LlamaCppBackend) -> None:
    found = await embed(backend, "a" * 512 + "b" * 88)
    whole = await embed(backend, "a" * 512, truncate=False)

    assert found.usage.prompt == 512
    assert found.vectors == whole.vectors
    with pytest.raises(ContextTooLong) as caught:
        await embed(backend, "a" * 513, truncate=False)
    assert (caught.value.tokens, caught.value.limit) == (513, 512)


async def test_embedding_and_generating_go_on_side_by_side(backend: LlamaCppBackend) -> None:
    texts: list[str] = []

    async def generate() -> None:
        prompt = Prompt(model="tiny", text="a", sampling=Sampling(max_tokens=4, temperature=0.0))
        async for event in backend.generate(prompt):
            texts.append(getattr(event, "text", ""))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(generate)
            group.start_soon(embed, backend, "abc")

    assert "".join(texts) == "bcab"
    assert len(await backend.resident()) == 1
    await backend.unload("tiny")
    assert await backend.resident() == []


async def test_what_cannot_be_embedded_is_told(backend: LlamaCppBackend) -> None:
    with pytest.raises(BadRequest, match="empty"):
        await embed(backend, "a", "")
    with pytest.raises(ModelNotFound):
        await backend.embed(EmbeddingPrompt(model="other", texts=("a",)))
    await backend.aclose()
    with pytest.raises(BackendUnavailable):
        await embed(backend, "a")


async def test_who_stops_waiting_frees_the_place(backend: LlamaCppBackend) -> None:
    await embed(backend, "a")
    with anyio.move_on_after(0.05):
        await embed(backend, *["abc" * 100] * 10_000)
    found = await embed(backend, "b")
    assert found.usage.prompt == 1


async def test_keep_alive_0_unloads_afterwards(backend: LlamaCppBackend) -> None:
    await embed(backend, "a", keep_alive=0)
    assert await backend.resident() == []
    await embed(backend, "a", keep_alive=300)
    (first,) = await backend.resident()
    await embed(backend, "a", keep_alive=600)
    (second,) = await backend.resident()
    assert first.expires is not None
    assert second.expires is not None
    assert second.expires - first.expires >= 300


async def test_loading_says_how_long_both_are_kept(backend: LlamaCppBackend) -> None:
    await embed(backend, "a")
    (for_ever,) = await backend.resident()
    await backend.load("tiny", 300)
    (soon,) = await backend.resident()
    assert for_ever.expires is None
    assert soon.expires is not None


async def test_a_route_leads_to_it(backend: LlamaCppBackend) -> None:
    routing = RoutingBackend({"tiny": backend})
    assert (await embed(routing, "a")).usage.prompt == 1
