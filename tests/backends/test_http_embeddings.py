"""Embeddings of servers elsewhere, as they are asked for and as they come back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.upstream import answering, serving

from llmount.backends.http import OllamaBackend, OpenAIBackend
from llmount.errors import ApiError, BackendError, ModelNotFound, Unsupported
from llmount.types import EmbeddingPrompt

pytestmark = pytest.mark.anyio

PROMPT = EmbeddingPrompt(model="m", texts=("a", "b"))


async def test_ollama_is_asked_for_all_that_was_said() -> None:
    body = {
        "embeddings": [[0.5, 1], [1, 0]],
        "prompt_eval_count": 4,
        "load_duration": 7,
        "model": "m",
    }
    async with serving(answering(200, json.dumps(body))) as upstream:
        backend = OllamaBackend(upstream.url, model="theirs")
        prompt = EmbeddingPrompt(
            model="m", texts=("a", "b"), dimensions=2, truncate=False, keep_alive=5
        )
        found = await backend.embed(prompt)
        await backend.aclose()

    assert upstream.requests[0].line == "POST /api/embed HTTP/1.1"
    assert upstream.requests[0].body == {
        "model": "theirs",
        "input": ["a", "b"],
        "truncate": False,
        "dimensions": 2,
        "keep_alive": 5,
    }
    assert found.vectors == [[0.5, 1.0], [1.0, 0.0]]
    assert (found.usage.prompt, found.timings.load) == (4, 7)


async def test_openai_is_asked_for_numbers_and_sorted_by_their_index() -> None:
    body = {
        "data": [{"index": 1, "embedding": [1, 0]}, {"index": 0, "embedding": [0.5, 1]}],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    async with serving(answering(200, json.dumps(body))) as upstream:
        backend = OpenAIBackend(f"{upstream.url}/v1")
        found = await backend.embed(PROMPT)
        await backend.aclose()

    assert upstream.requests[0].line == "POST /v1/embeddings HTTP/1.1"
    assert upstream.requests[0].body == {
        "model": "m",
        "input": ["a", "b"],
        "encoding_format": "float",
    }
    assert found.vectors == [[0.5, 1.0], [1.0, 0.0]]
    assert found.usage.prompt == 4


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"embeddings": None, "data": None},
        {"embeddings": [[1.0]], "data": [{"embedding": [1.0]}]},
        {"embeddings": [[1.0], []], "data": [{"embedding": [1.0]}, {}]},
        {"embeddings": [[1.0], ["x"]], "data": [{"embedding": [1.0]}, {"embedding": "AAAA"}]},
        {"embeddings": [[1.0], [True]], "data": [{"embedding": [1.0]}, {"embedding": [True]}]},
    ],
)
@pytest.mark.parametrize("kind", [OllamaBackend, OpenAIBackend])
async def test_what_are_no_vectors_for_the_texts_is_a_failure(kind: Any, body: Any) -> None:
    async with serving(answering(200, json.dumps(body))) as upstream:
        backend = kind(upstream.url)
        with pytest.raises(BackendError):
            await backend.embed(PROMPT)
        await backend.aclose()


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (501, "This server does not support embeddings. Start it with `--embeddings`", Unsupported),
        (404, 'model "m" not found, try pulling it first', ModelNotFound),
        (500, "out of memory", BackendError),
    ],
)
async def test_a_refusal_is_one_of_ours(status: int, text: str, expected: type[ApiError]) -> None:
    async with serving(answering(status, json.dumps({"error": text}))) as upstream:
        backend = OllamaBackend(upstream.url)
        with pytest.raises(expected) as caught:
            await backend.embed(PROMPT)
        await backend.aclose()

    if isinstance(caught.value, Unsupported):
        assert (caught.value.capability, caught.value.model) == ("embedding", "m")
