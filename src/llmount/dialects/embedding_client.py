"""Embeddings of another server: what it is asked, and what it answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ..errors import BackendError
from ..types import JSON, EmbeddingPrompt, Embeddings, Timings, Usage
from .upstream import array, count, malformed, object_of

__all__ = ["OLLAMA", "OPENAI", "EmbeddingClient"]


@dataclass(frozen=True, slots=True)
class EmbeddingClient:
    """The part of a dialect's client half that is about embeddings, as a row.

    request: the path and the body. answer: reads what comes back, for so many texts;
    raises BackendError for anything but their vectors.
    """

    request: Callable[[EmbeddingPrompt], tuple[str, JSON]]
    answer: Callable[[JSON, int], Embeddings]


def _ask_ollama(prompt: EmbeddingPrompt) -> tuple[str, JSON]:
    body: dict[str, JSON] = {
        "model": prompt.model,
        "input": list(prompt.texts),
        "truncate": prompt.truncate,
    }
    said = {"dimensions": prompt.dimensions, "keep_alive": prompt.keep_alive}
    return "/api/embed", body | {key: value for key, value in said.items() if value is not None}


def _read_ollama(body: JSON, texts: int) -> Embeddings:
    answer = object_of(body)
    return Embeddings(
        vectors=_vectors(answer.get("embeddings"), texts),
        usage=Usage(prompt=count(answer.get("prompt_eval_count"))),
        timings=Timings(load=count(answer.get("load_duration"))),
    )


def _ask_openai(prompt: EmbeddingPrompt) -> tuple[str, JSON]:
    """The server has no words for `truncate` and `keep_alive`."""
    body: dict[str, JSON] = {
        "model": prompt.model,
        "input": list(prompt.texts),
        "encoding_format": "float",
    }
    if prompt.dimensions is not None:
        body["dimensions"] = prompt.dimensions
    return "/embeddings", body


def _read_openai(body: JSON, texts: int) -> Embeddings:
    answer = object_of(body)
    entries = sorted(array(answer.get("data")), key=lambda entry: count(entry.get("index")))
    usage: Mapping[str, JSON] = object_of(answer.get("usage"))
    return Embeddings(
        vectors=_vectors([entry.get("embedding") for entry in entries], texts),
        usage=Usage(prompt=count(usage.get("prompt_tokens"))),
    )


def _vectors(value: JSON, texts: int) -> list[list[float]]:
    if not isinstance(value, list):
        raise malformed()
    if len(value) != texts:
        raise BackendError(f"the upstream gave {len(value)} embeddings for {texts} texts")
    return [_vector(each) for each in value]


def _vector(value: JSON) -> list[float]:
    if not isinstance(value, list) or not value or not all(map(_is_number, value)):
        raise malformed()
    return [float(number) for number in value]


def _is_number(value: JSON) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


OLLAMA: Final = EmbeddingClient(_ask_ollama, _read_ollama)
OPENAI: Final = EmbeddingClient(_ask_openai, _read_openai)
