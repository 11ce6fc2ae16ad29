"""What a client can ask of each API that a gateway has in front: the third table of directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio

from llmount.errors import Unsupported
from llmount.types import Prompt
from tests.direction_evidence import UPSTREAMS
from tests.direction_prompts import Asked
from tests.fronts import Noting, beside

__all__ = ["BY_HAND", "GATEWAY", "can_be_asked"]

GATEWAY = "/ai/v1/completion"


_PREFIXES: Mapping[str, str] = {"ollama": "", "openai": "/v1", "responses": "/v1"}
"""The APIs that have a client half, and what comes before its paths."""

_HI: Any = {"role": "user", "content": "Hi"}
_HELLO: Any = {"role": "assistant", "content": "Hello"}
_THOUGHT: Any = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "Hm."}],
}

_QUESTIONS: Mapping[str, tuple[str, Any]] = {
    "geenii": (GATEWAY, {"model": "up:m", "prompt": "Hi"}),
    "responses": ("/v1/responses", {"model": "m", "input": [_HI, _HELLO, _HI]}),
}

BY_HAND: Mapping[str, Mapping[str, Any]] = {
    "geenii": {
        "a system message": {"system": "Be brief."},
        "JSON": {"output_format": "json"},
        "`max_tokens`": {"max_tokens": 20},
        "`temperature`": {"temperature": 1.75},
        "`top_p`": {"top_p": 0.05},
    },
    "responses": {"what was thought before": {"input": [_HI, _THOUGHT, _HELLO, _HI]}},
}
"""What no client half of ours says: by API and row, the fields that say it. The gateway of
providers has no client half, and that of responses keeps to itself what OpenAI would refuse."""


async def can_be_asked(front: str, row: str, asked: Asked) -> bool:
    """Whether it makes a difference to the backend behind the front, where a client says all
    that the API has words for."""
    if fields := BY_HAND.get(front, {}).get(row):
        path, question = _QUESTIONS[front]
        requests = [(path, question), (path, {**question, **fields})]
    elif front not in _PREFIXES:
        return False
    else:
        try:
            requests = [_request(front, prompt) for prompt in asked.prompts("m")]
        except Unsupported:
            return False
    without, with_ = await _prompts(requests)
    return without != with_


def _request(front: str, prompt: Prompt) -> tuple[str, Any]:
    path, body = UPSTREAMS[front].request(prompt)
    return _PREFIXES[front] + path, body


async def _prompts(requests: Sequence[tuple[str, Any]]) -> list[Prompt]:
    """What the backend is asked."""
    noting = Noting()
    async with beside(noting.backend) as client:
        for path, body in requests:
            with anyio.fail_after(10):
                reply = await client.post(path, json=body)
            assert reply.status_code == 200, reply.text
    return noting.prompts
