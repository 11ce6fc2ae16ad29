"""What tests of keys and limits share: a store that remembers, and a way to ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import httpx

from llmount.access import Limits, MemoryLimitStore
from llmount.app import App
from llmount.testing.transport import ASGITransport
from llmount.types import Quota

__all__ = ["LIMITS", "SECONDS", "SharedStore", "ask", "chat"]

SECONDS = 10.0
"""How long anything here may take before its test fails."""

LIMITS = Limits(requests=100, tokens=1000, concurrent=10)


class SharedStore:
    """A store as another process might have it: async, and slow enough to be left.

    `told` has what it was told, in order. `slow` are the methods that wait for `go`, and set
    `reached` first.
    """

    def __init__(self, *slow: str) -> None:
        self.counts = MemoryLimitStore()
        self.told: list[tuple[str, str]] = []
        self.tokens: list[int] = []
        self.reached = anyio.Event()
        self.go = anyio.Event()
        self._slow = slow

    async def acquire(self, identity: str, limits: Limits) -> Quota | None:
        await self._wait("acquire")
        quota = self.counts.acquire(identity, limits)
        self.told.append(("acquire", identity))
        return quota

    async def release(self, identity: str, limits: Limits, tokens: int) -> None:
        await self._wait("release")
        self.counts.release(identity, limits, tokens)
        self.told.append(("release", identity))
        self.tokens.append(tokens)

    async def _wait(self, method: str) -> None:
        await anyio.lowlevel.checkpoint()
        if method in self._slow:
            self.reached.set()
            await self.go.wait()


def chat(model: str = "echo", **more: Any) -> Mapping[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "one two"}], **more}


async def ask(
    app: App,
    key: str | None = None,
    *,
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    path: str = "/chat/completions",
    json: Any = None,
) -> httpx.Response:
    """The answer to one request, a POST if it has a body."""
    sent = list(headers.items() if isinstance(headers, Mapping) else headers)
    if key is not None:
        sent.append(("authorization", f"Bearer {key}"))
    transport = ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        with anyio.fail_after(SECONDS):
            if json is None:
                return await client.get(path, headers=sent)
            return await client.post(path, headers=sent, json=json)
