"""Blocking work in a thread of its own, read as an async generator."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Protocol, TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel

__all__ = ["Feed", "read_thread"]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

_AHEAD = 64


class Feed(Protocol[T_contra]):
    """What the thread is handed. All three are safe to use from the thread only."""

    @property
    def stopped(self) -> bool:
        """Whether the reader has left: return as soon as you see it."""

    def put(self, item: T_contra, /) -> bool:
        """Pass on an item, blocking while the reader is far behind. False: it has left."""


class _Feed:
    def __init__(self) -> None:
        self.items: deque[object] = deque()
        self.changed = anyio.Event()
        self.room = threading.Semaphore(_AHEAD)
        self.stopped = False
        self.ended = False
        self.error: BaseException | None = None
        self.token = anyio.lowlevel.current_token()

    def put(self, item: object, /) -> bool:
        if not self.stopped:
            self.room.acquire()
        if self.stopped:
            return False
        self.items.append(item)
        self._wake()
        return True

    def run(self, work: Callable[[Feed[T]], None]) -> None:
        try:
            work(self)
        except BaseException as error:
            self.error = error
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        try:
            anyio.from_thread.run_sync(self._changed, token=self.token)
        except RuntimeError:
            # The event loop is gone, and the reader with it.
            self.stopped = True

    def _changed(self) -> None:
        self.changed.set()


async def read_thread(
    work: Callable[[Feed[T]], None], *, name: str = "llmount"
) -> AsyncGenerator[T, None]:
    """Run `work(feed)` in a new thread and yield what it puts, in order.

    An exception that `work` raises is raised here after the items before it. When the
    generator is closed or cancelled it asks the thread to stop and waits until it has:
    what the thread used is free afterwards. At most 64 items wait unread.
    """
    feed = _Feed()
    thread = threading.Thread(target=feed.run, args=(work,), name=name, daemon=True)
    thread.start()
    try:
        while True:
            while feed.items:
                item = feed.items.popleft()
                feed.room.release()
                yield item  # type: ignore[misc]
            if feed.ended and not feed.items:
                break
            await feed.changed.wait()
            feed.changed = anyio.Event()
        if feed.error is not None:
            raise feed.error
    finally:
        feed.stopped = True
        feed.room.release()
        with anyio.CancelScope(shield=True):
            while not feed.ended:
                await feed.changed.wait()
                feed.changed = anyio.Event()
