"""What the APIs for embeddings have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import BackendError, Unsupported
from ..types import EmbeddingBackend, EmbeddingPrompt, Embeddings

__all__ = ["embed", "unit_vectors"]


async def embed(backend: object, prompt: EmbeddingPrompt) -> Embeddings:
    """A vector for each text. Raises `Unsupported` if the backend has none, `BackendError`
    for another number of vectors than of texts, and what the backend raises."""
    if not isinstance(backend, EmbeddingBackend):
        raise Unsupported("embedding", model=prompt.model)
    found = await backend.embed(prompt)
    if len(found.vectors) != len(prompt.texts):
        raise BackendError("the backend gave another number of embeddings than of texts")
    return found


def unit_vectors(found: Embeddings, dimensions: int | None = None) -> list[list[float]]:
    """The vectors with the length 1, cut to so many numbers first, if they have more.

    Their numbers have no more digits than 32-bit numbers have. Raises `BackendError` for a
    vector that has no length.
    """
    vectors = [_unit(vector) for vector in found.vectors]
    if dimensions is not None:
        vectors = [
            _unit(vector[:dimensions]) if dimensions < len(vector) else vector for vector in vectors
        ]
    return [[_single(number) for number in vector] for vector in vectors]


def _unit(vector: Sequence[float]) -> Sequence[float]:
    length = math.sqrt(math.fsum(number * number for number in vector))
    if not math.isfinite(length):
        raise BackendError("embedding contains NaN or Inf values")
    length = max(length, 1e-12)
    return [number / length for number in vector]


def _single(number: float) -> float:
    return float(f"{number:.9g}")
