"""Limits: how often one may ask, where use is counted, and the request that is counted."""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

import anyio

from .errors import RateLimited
from .media import Image
from .types import Finish, Quota, ReasoningDelta, TextDelta, ToolCallDelta

__all__ = ["Admission", "LimitStore", "Limits", "LimitsOf", "MemoryLimitStore"]

logger = logging.getLogger("llmount")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one identity may use; None is no limit.

    requests: in each window of `window` seconds. tokens: of prompt and answer, in each
    window of `tokens_window` seconds; counted when an answer ends, so the last one may
    exceed it. concurrent: requests at a time.

    Raises `ValueError` for what is not positive.
    """

    requests: int | None = None
    window: float = 60.0
    tokens: int | None = None
    tokens_window: float = 86_400.0
    concurrent: int | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}, which is not positive")


LimitsOf: TypeAlias = Limits | Callable[[str], Limits | None]
"""The limits of everyone, or a function from an identity to its own (None for none)."""


class LimitStore(Protocol):
    """Where use is counted. One in process by default; a shared one for several processes.

    Both methods may be plain functions or async. Each `acquire` that succeeds is followed
    by one `release`, whatever becomes of the request and even if the task is cancelled;
    a process that dies releases nothing, so what a shared store counts as running should
    expire.
    """

    def acquire(self, identity: str, limits: Limits, /) -> Quota | Awaitable[Quota | None] | None:
        """Count a request that begins.

        What is left of its limit of requests, None if it has none. Raises `RateLimited`,
        with `retry_after`, and with `quota` if there is one.
        """

    def release(self, identity: str, limits: Limits, tokens: int, /) -> Awaitable[None] | None:
        """Count that it has ended, and the tokens that it took."""


@dataclass(slots=True)
class _Window:
    """What was used in a window, which is known by its number since the epoch."""

    number: int = 0
    used: int = 0

    def roll(self, now: float, length: float) -> float:
        """Begin a new one if it is time for it; when the present one ends."""
        number = int(now // length)
        if number != self.number:
            self.number, self.used = number, 0
        return (number + 1) * length


@dataclass(slots=True)
class _Use:
    requests: _Window = field(default_factory=_Window)
    tokens: _Window = field(default_factory=_Window)
    running: int = 0


class MemoryLimitStore:
    """Counts in this process. A `LimitStore`, for any number of threads.

    most: identities remembered; beyond that the longest unseen are forgotten, unless they
    have something running. clock: Unix seconds.
    """

    def __init__(self, *, most: int = 100_000, clock: Callable[[], float] = time.time) -> None:
        self._most = most
        self._clock = clock
        self._uses: OrderedDict[str, _Use] = OrderedDict()
        # Django may answer in several threads.
        self._lock = threading.Lock()

    def acquire(self, identity: str, limits: Limits, /) -> Quota | None:
        with self._lock:
            now = self._clock()
            use = self._uses.setdefault(identity, _Use())
            self._uses.move_to_end(identity)
            self._forget()
            reset = use.requests.roll(now, limits.window)
            tokens_reset = use.tokens.roll(now, limits.tokens_window)
            left = _left(limits.requests, use.requests.used)
            if left == 0:
                raise _limited(limits, left, reset, reset - now)
            if _left(limits.tokens, use.tokens.used) == 0:
                raise _limited(limits, left, reset, tokens_reset - now)
            if _left(limits.concurrent, use.running) == 0:
                # Nobody knows when one of them ends.
                raise _limited(limits, left, reset, 1.0)
            use.requests.used += 1
            use.running += 1
        return _quota(limits, None if left is None else left - 1, reset)

    def release(self, identity: str, limits: Limits, tokens: int, /) -> None:
        with self._lock:
            if use := self._uses.get(identity):
                use.running -= 1
                use.tokens.roll(self._clock(), limits.tokens_window)
                use.tokens.used += tokens

    def _forget(self) -> None:
        while len(self._uses) > self._most:
            oldest = next(iter(self._uses))
            if self._uses[oldest].running:
                self._uses.move_to_end(oldest)
                return
            del self._uses[oldest]


def _left(limit: int | None, used: int) -> int | None:
    return None if limit is None else max(0, limit - used)


def _quota(limits: Limits, left: int | None, reset: float) -> Quota | None:
    if limits.requests is None or left is None:
        return None
    return Quota(limits.requests, left, reset)


def _limited(limits: Limits, left: int | None, reset: float, seconds: float) -> RateLimited:
    return RateLimited(
        "Rate limit exceeded. Please wait before retrying.",
        retry_after=seconds,
        quota=_quota(limits, left, reset),
    )


# A request


class Admission:
    """A request that is counted: `begin` it once, and `leave` whatever becomes of it.

    quota: what is left after it, known once it has begun or was refused.
    """

    def __init__(self, store: LimitStore, identity: str, limits: Limits) -> None:
        self.quota: Quota | None = None
        self._store = store
        self._identity = identity
        self._limits = limits
        self._inside = False
        self._prompt = 0
        self._answers: dict[int, int] = {}

    @property
    def tokens(self) -> int:
        """What it has taken. Of an answer that has not ended, a token a piece: its prompt is
        not known, and its pieces are all that there is to count."""
        return self._prompt + sum(self._answers.values())

    async def begin(self) -> None:
        """Raises `RateLimited`, and whatever the store raises."""
        try:
            quota = self._store.acquire(self._identity, self._limits)
            if inspect.isawaitable(quota):
                await _to_its_end(self._entered(quota))
            else:
                self.quota, self._inside = quota, True
        except RateLimited as error:
            self.quota = error.quota
            raise

    async def _entered(self, quota: Awaitable[Quota | None]) -> None:
        self.quota = await quota
        self._inside = True

    async def leave(self) -> None:
        """Once is enough; it does nothing then."""
        if not self._inside:
            return
        self._inside = False
        try:
            released = self._store.release(self._identity, self._limits, self.tokens)
            if released is not None:
                await _to_its_end(released)
        except Exception:
            # The answer is out, or will be.
            logger.exception("the end of a request could not be counted")

    def used(self, tokens: int) -> None:
        """Count tokens of an answer that has no events."""
        self._prompt += tokens

    async def counted(self, events: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        """The same events, whose tokens are counted as they pass."""
        async with aclosing(events):
            async for event in events:
                self._count(event)
                yield event

    def _count(self, event: Any) -> None:
        # One of several answers comes with its number.
        number, event = event if isinstance(event, tuple) else (0, event)
        pieces = self._answers.get(number, 0)
        if isinstance(event, Finish):
            # The prompt is the same one.
            self._prompt = max(self._prompt, event.usage.prompt)
            self._answers[number] = event.usage.completion or pieces
        elif isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta):
            self._answers[number] = pieces + 1
        elif isinstance(event, Image) and event.usage is not None:
            self._prompt += event.usage.prompt
            self._answers[number] = pieces + event.usage.completion


_PATIENCE = 10.0
"""Seconds that a store may take."""

T = TypeVar("T")


async def _to_its_end(work: Awaitable[T]) -> T:
    """Await it to its end, even if this task is cancelled meanwhile, natively or by a scope.

    Raises `TimeoutError` if it does not come to one.
    """
    done: list[T] = []
    failed: list[Exception] = []

    async def run() -> None:
        try:
            with anyio.fail_after(_PATIENCE, shield=True):
                done.append(await work)
        except Exception as error:
            # Outside the group, so that it is not wrapped in an exception group.
            failed.append(error)

    # A scope would not hold up a native cancellation, but a task of its own does.
    async with anyio.create_task_group() as group:
        group.start_soon(run)
    if failed:
        raise failed[0]
    return done[0]
