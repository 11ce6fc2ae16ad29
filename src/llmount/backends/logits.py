"""How the next token is chosen: what is done to its logits, and read off them."""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import BadRequest
from ..types import Sampling

__all__ = ["Choice", "Logits", "adjust", "choose", "likeliest", "log_normaliser", "surviving"]


class Logits(Protocol):
    """Numbers by token id, in the engine's own memory: indices are not checked."""

    def __getitem__(self, token: int, /) -> float: ...

    def __setitem__(self, token: int, value: float, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Choice:
    """How to pick a token, with nothing left open. Greedy is `top_k` 1.

    window: how many of the last tokens are penalised, -1 for all.
    """

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat: float
    presence: float
    frequency: float
    window: int
    source: random.Random


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def choose(sampling: Sampling, size: int) -> Choice:
    """Settle what a client asked, for a vocabulary of `size`. Raises `BadRequest`."""
    temperature = _or(sampling.temperature, 0.8)
    greedy = temperature <= 0
    top_k = 40 if sampling.top_k is None else sampling.top_k
    repeat = _or(sampling.repeat_penalty, 1.0)
    if repeat <= 0:
        raise BadRequest("repeat_penalty must be greater than 0", param="repeat_penalty")
    for token in sampling.logit_bias:
        if not 0 <= token < size:
            raise BadRequest(f"{token} is not a token id below {size}", param="logit_bias")
    return Choice(
        # The engine divides by it, even where there is but one token to choose.
        temperature=1.0 if greedy else temperature,
        top_k=1 if greedy else min(top_k, size) if top_k > 0 else size,
        top_p=_or(sampling.top_p, 0.95),
        min_p=_or(sampling.min_p, 0.0),
        repeat=repeat,
        presence=_or(sampling.presence_penalty, 0.0),
        frequency=_or(sampling.frequency_penalty, 0.0),
        window=64 if sampling.repeat_last_n is None else sampling.repeat_last_n,
        source=random.Random(sampling.seed),
    )


def adjust(
    logits: Logits,
    recent: Sequence[int],
    *,
    repeat: float = 1.0,
    presence: float = 0.0,
    frequency: float = 0.0,
    bias: Mapping[int, float],
) -> None:
    """Penalise the `recent` tokens and add the `bias`, in place, as llama.cpp does.

    repeat: divides a positive logit, multiplies a negative one; greater than 0. presence:
    subtracted once from each recent token. frequency: subtracted for each occurrence.
    """
    if (repeat, presence, frequency) != (1.0, 0.0, 0.0):
        for token, count in Counter(recent).items():
            value = logits[token]
            value = value / repeat if value > 0 else value * repeat
            logits[token] = value - presence - frequency * count
    for token, amount in bias.items():
        logits[token] += amount


def log_normaliser(logits: Sequence[float]) -> float:
    """What to subtract from a logit to get the natural logarithm of its probability."""
    highest = max(logits)
    return highest + math.log(math.fsum(math.exp(value - highest) for value in logits))


def likeliest(logits: Sequence[float], count: int) -> list[int]:
    """The `count` tokens with the highest logits, highest first."""
    return heapq.nlargest(count, range(len(logits)), key=logits.__getitem__)


def surviving(logits: Sequence[float], min_p: float) -> int:
    """How many tokens have at least `min_p` (above 0) times the highest probability."""
    least = max(logits) + math.log(min_p)
    return max(1, sum(value >= least for value in logits))
