"""Holds every answer that any app gives in this process to its document, as it is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from llmount.contract import names
from llmount.exchange import Exchange
from llmount.routing import Endpoint
from llmount.testing.answers import answer_problems

__all__ = ["held"]

_OURS = frozenset(names())


@dataclass
class _Wire:
    """What was sent of one answer."""

    status: int = 0
    media_type: str = ""
    pieces: list[bytes] = field(default_factory=list)
    ended: bool = False

    def note(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.media_type = dict(message["headers"])[b"content-type"].decode("latin-1")
        else:
            self.pieces.append(message.get("body", b""))
            self.ended = not message.get("more_body", False)


@contextmanager
def held(found: Callable[[str], None]) -> Iterator[None]:
    """While it is open, what is wrong with an answer of a document of ours is told to `found`,
    a sentence each."""
    run = Exchange.run

    @wraps(run)
    async def watched(self: Exchange, endpoint: Endpoint, params: Mapping[str, str]) -> None:
        wire, send = _Wire(), self.send

        async def noted(message: MutableMapping[str, Any]) -> None:
            # A copy, because middleware writes into the message that it passes on.
            sent = dict(message)
            await send(message)
            wire.note(sent)

        self.send = noted
        try:
            await run(self, endpoint, params)
        finally:
            for problem in _problems(self, endpoint, wire):
                found(problem)

    Exchange.run = watched  # type: ignore[method-assign]
    try:
        yield
    finally:
        Exchange.run = run  # type: ignore[method-assign]


def _problems(exchange: Exchange, endpoint: Endpoint, wire: _Wire) -> Iterator[str]:
    if not wire.status or exchange.scope["method"] == "HEAD":
        return
    contract, operation = endpoint.surface.contract, endpoint.operation
    if contract.name not in _OURS:
        return
    asked = exchange.request and exchange.request.body
    for problem in answer_problems(
        contract,
        operation,
        asked,
        wire.status,
        wire.media_type,
        b"".join(wire.pieces),
        cut=not wire.ended,
    ):
        yield f"{contract.name} {operation.id}: {problem}"
