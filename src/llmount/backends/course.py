"""One request's way through the members of a pool, until one has answered."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import anyio

from ..errors import (
    ApiError,
    BackendError,
    BackendUnavailable,
    ModelNotFound,
    RateLimited,
    Unsupported,
)
from .members import Member, Seat, Seats
from .several import told

__all__ = ["Course", "Retry", "Turn", "Waiting"]

logger = logging.getLogger("llmount")

_MOST_DOUBLINGS: Final = 64


@dataclass(frozen=True, slots=True)
class Retry:
    """How often each member of a pool is asked for one answer, and the waits in between.

    attempts: the first one included. base: seconds of the first wait; each is twice as long
    as the one before, less up to half of it by chance. longest: seconds of a wait; where a
    member can be asked no sooner, it is not waited for.
    """

    attempts: int = 3
    base: float = 0.5
    longest: float = 8.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or not self.base >= 0 or not self.longest >= 0:
            raise ValueError("attempts must be 1 or more, base and longest 0 or more")

    def wait(self, number: int, chance: float) -> float:
        """Seconds of wait `number`, from 0. chance: from 0 to 1."""
        wait = self.base * 2.0 ** min(number, _MOST_DOUBLINGS)
        return min(self.longest, wait) * (1 - chance / 2)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How a pool waits. sleep: for seconds. chance: gives 0 to 1."""

    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    chance: Callable[[], float] = random.random


class Turn:
    """One request to one member, as a context that is left with its answer or its error.

    An error after which another member may be asked goes no further, if nothing has begun.
    """

    __slots__ = ("_course", "_probe", "_seat", "begun", "member")

    def __init__(self, course: Course, seat: Seat, probe: bool) -> None:
        self.member: Member = seat.member
        self.begun = False
        self._course = course
        self._seat = seat
        self._probe = probe

    def begin(self) -> None:
        """The answer begins: from here on there is no other."""
        self.begun = True
        self._course.seats.begun(self._seat, self._probe)
        self._probe = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self._course.seats.leave(self._seat, self._probe, error)
        return not self.begun and self._course.goes_on(self._seat, error)


class Course:
    """The turns of one request, one after the other.

    able: the seats that might answer. model: that is asked for.
    """

    def __init__(
        self, seats: Seats, able: Sequence[Seat], retry: Retry, waiting: Waiting, model: str
    ) -> None:
        self.seats = seats
        self._able = list(able)
        self._untried = list(able)
        self._retry = retry
        self._waiting = waiting
        self._model = model
        self._waits = 0
        self._failure: ApiError | None = None
        self._unsupported: ApiError | None = None

    async def turn(self) -> Turn:
        """The next turn, at once or after a wait. Raises the `ApiError` to give up with."""
        while (taken := self.seats.take(self._untried)) is None:
            await self._wait()
        seat, probe = taken
        self._untried.remove(seat)
        return Turn(self, seat, probe)

    async def _wait(self) -> None:
        soonest = min((seat.breaker.wait() for seat in self._able), default=math.inf)
        if soonest > self._retry.longest or self._waits + 1 >= self._retry.attempts:
            raise self._defeat()
        wait = self._retry.wait(self._waits, self._waiting.chance())
        self._waits += 1
        await self._waiting.sleep(max(soonest, wait))
        self._untried = list(self._able)

    def goes_on(self, seat: Seat, error: BaseException | None) -> bool:
        """Whether another turn may follow one that ended with this error."""
        if isinstance(error, (ModelNotFound, Unsupported)):
            self._able.remove(seat)
            if isinstance(error, Unsupported):
                self._unsupported = error
            return True
        if not isinstance(error, (BackendError, RateLimited)):
            return False
        logger.warning("%r failed before it answered: %s", seat.member.backend, told(error))
        self._failure = error
        if _is_final(error):
            self._able.remove(seat)
        return True

    def _defeat(self) -> ApiError:
        """The error that helps the client most."""
        refusals = [
            refusal for seat in self._able if (refusal := seat.breaker.refusal()) is not None
        ]
        if refusals:
            soonest = min(refusals, key=lambda refusal: refusal.retry_after or 0.0)
            soonest.__cause__ = self._failure
            return soonest
        if self._failure is not None:
            return self._failure
        if self._able:
            return BackendUnavailable()
        return self._unsupported or ModelNotFound(self._model)


def _is_final(error: ApiError) -> bool:
    """Whether the upstream refuses whoever asks, or does not have the API at all."""
    status = error.upstream_status if type(error) is BackendError else None
    return status is not None and status < 500
