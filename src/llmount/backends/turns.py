"""One at a time, first come first served, with a queue that can be full."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from llmount.errors import Overloaded

__all__ = ["Turns"]


class Turns:
    """Lets one task in; at most `queue` others wait. For tasks of one event loop at a time."""

    def __init__(self, queue: int) -> None:
        self._queue = queue
        self._waiting: deque[anyio.Event] = deque()
        self._busy = False

    @property
    def busy(self) -> bool:
        return self._busy

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def turn(self, *, bounded: bool = True) -> AsyncGenerator[None, None]:
        """Wait for a turn and hold it. A waiting task may be cancelled.

        Raises `Overloaded` at once if the queue is full, unless not `bounded`.
        """
        if self._busy:
            if bounded and len(self._waiting) >= self._queue:
                raise Overloaded()
            await self._wait()
        self._busy = True
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self) -> None:
        called = anyio.Event()
        self._waiting.append(called)
        try:
            await called.wait()
        except BaseException:
            if called.is_set():
                self._pass_on()
            else:
                self._waiting.remove(called)
            raise

    def _pass_on(self) -> None:
        # While somebody waits the place stays busy, so that nobody overtakes.
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._busy = False
