"""Log probabilities, as JSON has them."""

from __future__ import annotations

import math
from typing import Final

from ..errors import BackendError
from ..types import TokenLogprob

__all__ = ["LEAST", "logprob_of"]

LEAST: Final = -9999.0
"""What stands for a token that is hardly possible, or not at all: OpenAI's word for it, as
JSON has none for minus infinity."""


def logprob_of(token: TokenLogprob) -> float:
    """The token's log probability, no less than `LEAST`. Raises `BackendError` for NaN and
    plus infinity, which are none."""
    if math.isnan(token.logprob) or token.logprob == math.inf:
        raise BackendError("the backend gave a log probability that is no number")
    return max(LEAST, token.logprob)
