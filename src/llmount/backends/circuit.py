"""When a failing backend is left alone, and when it is tried again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..errors import ApiError, BackendError, Overloaded, RateLimited, Unsupported

__all__ = ["Breaker", "Circuit"]

_LONGEST_REST: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Circuit:
    """After how many failures in a row a backend is left alone, and for how many seconds.

    Then one request tries it, and the others follow once that has begun to be answered.
    """

    failures: int = 5
    cooldown: float = 30.0

    def __post_init__(self) -> None:
        if self.failures < 1 or not self.cooldown >= 0:
            raise ValueError("failures must be 1 or more, cooldown 0 or more")


class Breaker:
    """The circuit of one backend: closed, open, or half open with one request to try it.

    A failure is any `BackendError`, or a bug. A whole answer closes the circuit, or a refusal
    for which the request is to blame. So does the begin of an answer, but then the next
    failure opens it again. A `retry_after` is kept besides: until then, and for at most an
    hour, nothing is asked. Not for several threads at a time. clock: gives seconds.
    """

    __slots__ = ("_circuit", "_clock", "_failures", "_opened", "_probing", "_refusal", "_rests")

    def __init__(self, circuit: Circuit, clock: Callable[[], float]) -> None:
        self._circuit = circuit
        self._clock = clock
        self._failures = 0
        self._opened: float | None = None
        self._probing = False
        self._rests: float | None = None
        self._refusal: type[RateLimited | Overloaded] = Overloaded

    def wait(self) -> float:
        """Seconds until a request may be sent, as far as the clock decides it; 0 for now."""
        until = self._rests
        if self._opened is not None:
            closed = self._opened + self._circuit.cooldown
            until = closed if until is None else max(until, closed)
        return 0.0 if until is None else max(0.0, until - self._clock())

    @property
    def admits(self) -> bool:
        """Whether a request may be sent now."""
        return not self._probing and not self.wait()

    def refusal(self) -> RateLimited | Overloaded | None:
        """What its backend would say now, if it asked to be left alone until later."""
        left = 0.0 if self._rests is None else self._rests - self._clock()
        return self._refusal(retry_after=left) if left > 0 else None

    def enter(self) -> bool:
        """A request is sent that it `admits`; whether it is the one to try the backend."""
        self._probing = self._opened is not None
        return self._probing

    def begun(self, probe: bool) -> None:
        """An answer has begun."""
        if probe:
            self._probing = False
            self._opened = None

    def ended(self, probe: bool, error: BaseException | None) -> None:
        """A request is over; probe: it was sent to try the backend, and has not begun to be
        answered. error: what it ended with, None for a whole answer."""
        if probe:
            self._probing = False
        if error is None or _answered(error):
            self._failures = 0
            self._opened = None
        elif _failed(error):
            self._failures += 1
            if self._failures >= self._circuit.failures and (probe or self._opened is None):
                self._opened = self._clock()
        if isinstance(error, (RateLimited, Overloaded)) and error.retry_after:
            until = self._clock() + min(error.retry_after, _LONGEST_REST)
            if self._rests is None or until > self._rests:
                self._rests, self._refusal = until, type(error)


def _failed(error: BaseException) -> bool:
    """Whether the backend is at fault, and not the request or whoever gave it up."""
    if isinstance(error, ApiError):
        return isinstance(error, BackendError)
    return isinstance(error, Exception)


def _answered(error: BaseException) -> bool:
    """Whether the backend is well, though it refused."""
    # What is unsupported may be known without asking.
    return isinstance(error, ApiError) and not isinstance(error, (BackendError, Unsupported))
