"""OpenAI's embeddings: a body as a prompt, and the answer to it."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence

from ..errors import Unsupported
from ..types import JSON, EmbeddingPrompt, Embeddings
from .embedding import unit_vectors

__all__ = ["embedded", "embedding_prompt"]


def embedding_prompt(body: JSON) -> EmbeddingPrompt:
    """Raises `Unsupported` for texts of token numbers."""
    sent = body["input"]
    texts = [sent] if isinstance(sent, str) else sent
    if not all(isinstance(text, str) for text in texts):
        raise Unsupported("texts of token numbers", model=body["model"], param="input")
    dimensions = body.get("dimensions")
    return EmbeddingPrompt(
        model=body["model"],
        texts=tuple(texts),
        dimensions=None if dimensions is None else int(dimensions),
        truncate=False,
    )


def embedded(body: JSON, asked: EmbeddingPrompt, found: Embeddings) -> JSON:
    """The answer. Raises `BackendError` for a vector that has no length."""
    encode = _bytes if body["encoding_format"] == "base64" else list
    vectors = unit_vectors(found, asked.dimensions)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(vector)}
            for index, vector in enumerate(vectors)
        ],
        "model": asked.model,
        "usage": {"prompt_tokens": found.usage.prompt, "total_tokens": found.usage.prompt},
    }


def _bytes(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
