"""A backend that answers as another, up to where it has to fail."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from ...errors import ApiError
from ...types import EmbeddingPrompt, Embeddings, Event, Finish, Model, Prompt
from .answers import ScriptedBackend

__all__ = ["FAILURE", "FailingBackend", "Failure"]


@dataclass(frozen=True, slots=True)
class Failure:
    """The error that is raised in the place of event number `after`, from 0, or of the
    `Finish` if that comes first; and for all that is not generated."""

    error: ApiError
    after: int = 0

    def raised(self) -> ApiError:
        # It is raised by several requests, and each adds to its traceback.
        error = self.error.with_traceback(None)
        error.planned = True  # type: ignore[attr-defined]
        return error


FAILURE: Final[ContextVar[Failure | None]] = ContextVar("FAILURE", default=None)
"""What the request that is answered now has to fail with."""


class FailingBackend:
    """Answers as the backend, but for the `FAILURE` of a request. `Backend`, `Directory`,
    `EmbeddingBackend`."""

    def __init__(self, backend: ScriptedBackend) -> None:
        self._backend = backend

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        failure = FAILURE.get()
        if failure is not None and not failure.after:
            # What is refused takes no answer from the queue.
            raise failure.raised()
        async with aclosing(self._backend.generate(prompt)) as events:
            number = 0
            async for event in events:
                if failure and (number == failure.after or isinstance(event, Finish)):
                    raise failure.raised()
                number += 1
                yield event

    async def models(self) -> Sequence[Model]:
        _fail()
        return await self._backend.models()

    async def model(self, name: str) -> Model:
        _fail()
        return await self._backend.model(name)

    async def embed(self, prompt: EmbeddingPrompt) -> Embeddings:
        _fail()
        return await self._backend.embed(prompt)


def _fail() -> None:
    failure = FAILURE.get()
    if failure is not None:
        raise failure.raised()
