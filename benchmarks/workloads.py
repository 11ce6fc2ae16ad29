"""What is asked: one request for each family and form, the same for every server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

__all__ = ["CHAT", "LONG", "SHORT", "WORKLOADS", "Workload"]

SHORT = "The quick brown fox jumps over the lazy dog"
# The echo gives a word back an item, and the streams end with one or two items more.
LONG = " ".join(f"word{number}" for number in range(49))


@dataclass(frozen=True, slots=True)
class Workload:
    """One request. document and operation: where the schema of its body stands."""

    name: str
    path: str
    body: Any
    document: str
    operation: str
    stream: bool = False

    @property
    def content(self) -> bytes:
        return json.dumps(self.body).encode()


def _chat(text: str, **more: Any) -> Any:
    return {"model": "echo", "messages": [{"role": "user", "content": text}], **more}


WORKLOADS = (
    Workload(
        "generate",
        "/api/generate",
        {"model": "echo", "prompt": SHORT, "stream": False},
        "generate/ollama",
        "generate",
    ),
    Workload(
        "generate, streamed",
        "/api/generate",
        {"model": "echo", "prompt": LONG},
        "generate/ollama",
        "generate",
        stream=True,
    ),
    Workload(
        "chat",
        "/v1/chat/completions",
        _chat(SHORT),
        "chat/openai",
        "createChatCompletion",
    ),
    Workload(
        "chat, streamed",
        "/v1/chat/completions",
        _chat(LONG, stream=True),
        "chat/openai",
        "createChatCompletion",
        stream=True,
    ),
    Workload(
        "ai completion",
        "/ai/v1/completion",
        {"model": "echo:echo", "prompt": SHORT},
        "ai/geenii",
        "completion",
    ),
)

CHAT = tuple(each for each in WORKLOADS if each.operation == "createChatCompletion")
"""What the peers can do as well."""
