"""The ctransformers backend over a bigram model, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from anyio import fail_after

from llmount.backends.ctransformers import CTransformersBackend
from llmount.types import Finish, Prompt, Sampling, TextDelta
from tests.tiny_gguf import ALPHABET, write_bigram

__all__ = ["gather", "open_bigram", "say"]


def open_bigram(
    folder: Path, text: str = ALPHABET, *, write: Mapping[str, Any] | None = None, **options: Any
) -> CTransformersBackend:
    """A backend named "m"; `write` goes to `write_bigram`, the other options to the backend."""
    path = folder / "m.gguf"
    write_bigram(path, text, **(write or {}))
    return CTransformersBackend(path, threads=1, cache=folder / "cache", **options)


async def gather(
    backend: CTransformersBackend, text: str | None = "hello world", **fields: Any
) -> tuple[list[TextDelta], Finish]:
    sampling = {"max_tokens": 20, "temperature": 0.0, **fields.pop("sampling", {})}
    prompt = Prompt(model="m", text=text, sampling=Sampling(**sampling), **fields)
    with fail_after(60):
        async with aclosing(backend.generate(prompt)) as events:
            told = [event async for event in events]
    *deltas, finish = told
    assert isinstance(finish, Finish)
    assert all(isinstance(delta, TextDelta) for delta in deltas)
    return [delta for delta in deltas if isinstance(delta, TextDelta)], finish


async def say(*arguments: Any, **fields: Any) -> str:
    return "".join(delta.text for delta in (await gather(*arguments, **fields))[0])
