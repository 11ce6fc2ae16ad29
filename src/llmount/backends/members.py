"""The members of a pool, and which of them is the least busy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from ..types import Backend
from .circuit import Breaker, Circuit

__all__ = ["Member", "Seat", "Seats"]


@dataclass(frozen=True, slots=True)
class Member:
    """A backend in a pool. model: what it calls the model, None for the name that is asked
    for. tier: the higher ones are asked only where the lower ones cannot answer."""

    backend: Backend
    model: str | None = None
    tier: int = 0

    def called(self, model: str) -> str:
        """What the model is called there."""
        return model if self.model is None else self.model


@dataclass(eq=False, slots=True)
class Seat:
    """A member's place in its pool. busy: answers under way. turn: when it was last taken,
    counted in turns of the pool."""

    member: Member
    breaker: Breaker
    busy: int = 0
    turn: int = 0


_rank = attrgetter("member.tier", "busy", "turn")


class Seats:
    """All places of a pool. Those who take them may belong to event loops in different
    threads. clock: gives seconds."""

    def __init__(
        self, members: Iterable[Member], circuit: Circuit, clock: Callable[[], float]
    ) -> None:
        self.all: Sequence[Seat] = tuple(Seat(each, Breaker(circuit, clock)) for each in members)
        self._turns = 0
        self._lock = threading.Lock()

    def take(self, among: Iterable[Seat]) -> tuple[Seat, bool] | None:
        """The least busy seat of the lowest tier whose circuit admits a request, and whether
        that is to try it; None if there is none. `leave` gives it back."""
        with self._lock:
            seat = min((each for each in among if each.breaker.admits), key=_rank, default=None)
            if seat is None:
                return None
            self._turns += 1
            seat.turn = self._turns
            seat.busy += 1
            return seat, seat.breaker.enter()

    def begun(self, seat: Seat, probe: bool) -> None:
        """An answer has begun, which leaves nothing to try."""
        with self._lock:
            seat.breaker.begun(probe)

    def leave(self, seat: Seat, probe: bool, error: BaseException | None) -> None:
        """error: what the answer ended with, None for a whole one."""
        with self._lock:
            seat.busy -= 1
            seat.breaker.ended(probe, error)
