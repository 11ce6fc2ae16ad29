"""A fixed number of places and a bounded queue before them."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from functools import partial
from types import TracebackType

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

from ..errors import Overloaded

__all__ = ["Slots"]


@dataclass(eq=False, slots=True)
class _Waiter:
    event: anyio.Event
    token: anyio.lowlevel.EventLoopToken


class Slots:
    """`async with slots:` holds one of `count` places, first come, first served.

    At most `queue` tasks wait for a place; the next one gets `Overloaded` at once. A task
    that is cancelled gives up its place, or its turn in the queue. The tasks may belong
    to different event loops in different threads.
    """

    def __init__(self, count: int, queue: int) -> None:
        if count < 1 or queue < 0:
            raise ValueError("there must be a slot, and the queue cannot be negative")
        self._free = count
        self._queue = queue
        self._waiters: deque[_Waiter] = deque()
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many tasks wait for a place."""
        return len(self._waiters)

    async def __aenter__(self) -> None:
        waiter = _Waiter(anyio.Event(), anyio.lowlevel.current_token())
        with self._lock:
            if self._free:
                self._free -= 1
                return
            if len(self._waiters) >= self._queue:
                raise Overloaded
            self._waiters.append(waiter)
        try:
            await waiter.event.wait()
        except BaseException:
            with self._lock:
                queued = waiter in self._waiters
                if queued:
                    self._waiters.remove(waiter)
            if not queued:
                await self._hand_on()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._hand_on()

    async def _hand_on(self) -> None:
        here = anyio.lowlevel.current_token()
        while True:
            with self._lock:
                if not self._waiters:
                    self._free += 1
                    return
                waiter = self._waiters.popleft()
            if waiter.token == here:
                waiter.event.set()
                return
            wake = partial(anyio.from_thread.run_sync, waiter.event.set, token=waiter.token)
            try:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(wake)
            except RuntimeError:
                # That event loop has ended without cancelling its task: the next, please.
                continue
            return
