"""What several backends say of themselves, asked all at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import anyio

from ..errors import ApiError
from ..types import Backend, Model, Residency, Resident
from .several import distinct, told

__all__ = ["LISTING_SECONDS", "Survey", "list_models", "of_models", "of_residents"]

logger = logging.getLogger("llmount")

T = TypeVar("T")

LISTING_SECONDS = 2.0
_REST = 10.0


class Survey(Generic[T]):
    """Asks backends one question, and none for long that does not answer.

    question: asks it; what: is asked for, in words. timeout: seconds until a backend has to
    have answered. rest: seconds for which one that failed, or was too late, is not asked
    again, so that not everybody waits for it. clock: gives seconds. Keeps no answers.

    The log tells once that a backend fails, and once that it is back.
    """

    def __init__(
        self,
        question: Callable[[Backend], Awaitable[T]],
        what: str,
        *,
        timeout: float = LISTING_SECONDS,
        rest: float = _REST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._question = question
        self._what = what
        self._timeout = timeout
        self._rest = rest
        self._clock = clock
        self._resting: dict[int, float] = {}

    async def of(self, backend: Backend) -> T | None:
        """The backend's answer; None if it gives none."""
        until = self._resting.get(id(backend))
        if until is not None and self._clock() < until:
            return None
        try:
            with anyio.fail_after(self._timeout):
                answer = await self._question(backend)
        except Exception as error:
            if id(backend) not in self._resting:
                bug = not isinstance(error, (ApiError, TimeoutError))
                level = logging.ERROR if bug else logging.WARNING
                words = "%r does not tell %s: %s"
                logger.log(level, words, backend, self._what, told(error), exc_info=bug)
            self._resting[id(backend)] = self._clock() + self._rest
            return None
        if self._resting.pop(id(backend), None) is not None:
            # As loud as the failure, or whoever has read that one believes it still.
            logger.warning("%r tells %s again", backend, self._what)
        return answer

    async def each(self, backends: Sequence[Backend]) -> list[T | None]:
        """As `of`, for each of the backends in their order, all at once. One that is there
        twice is asked once."""
        answers: dict[int, T | None] = {}

        async def ask(backend: Backend) -> None:
            answers[id(backend)] = await self.of(backend)

        async with anyio.create_task_group() as tasks:
            for backend in distinct(backends):
                tasks.start_soon(ask, backend)
        return [answers[id(backend)] for backend in backends]


def of_models(
    timeout: float = LISTING_SECONDS,
    rest: float = _REST,
    clock: Callable[[], float] = time.monotonic,
) -> Survey[Sequence[Model]]:
    """A survey of the models that backends offer."""
    return Survey(_models, "its models", timeout=timeout, rest=rest, clock=clock)


def of_residents(
    timeout: float = LISTING_SECONDS, clock: Callable[[], float] = time.monotonic
) -> Survey[Sequence[Residency]]:
    """A survey of the models that backends have in memory; none where a backend cannot tell."""
    return Survey(_residents, "what it has in memory", timeout=timeout, clock=clock)


async def list_models(
    backends: Sequence[Backend], timeout: float = LISTING_SECONDS
) -> list[Sequence[Model] | None]:
    """The models of each backend, in their order; None for one that fails or takes longer
    than `timeout` seconds: the others do not wait for it, and the log says why."""
    return await of_models(timeout).each(backends)


async def _models(backend: Backend) -> Sequence[Model]:
    return await backend.models()


async def _residents(backend: Backend) -> Sequence[Residency]:
    return await backend.resident() if isinstance(backend, Resident) else ()
