"""Watching the client while work is done: the portable way, and the fast one under asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest

from llmount.errors import BackendError
from llmount.streaming import (
    Message,
    Receive,
    _while_connected_anyio,
    _while_connected_asyncio,
    while_connected,
)

SECONDS = 10.0
"""How long anything here may take before its test fails."""

Watching = Callable[[Receive, Callable[[], Awaitable[None]]], Awaitable[None]]


class Host:
    """What the host of one request does: it tells that the client left."""

    def __init__(self) -> None:
        self.left = anyio.Event()
        self.watching = 0

    async def receive(self) -> Message:
        self.watching += 1
        try:
            await self.left.wait()
        finally:
            self.watching -= 1
        return {"type": "http.disconnect"}


def nothing_is_left_over() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() == 0


ON_ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])
BOTH = pytest.mark.parametrize("watching", [_while_connected_asyncio, _while_connected_anyio])


@pytest.mark.anyio
async def test_work_that_ends_is_watched_no_longer() -> None:
    host = Host()
    with anyio.fail_after(SECONDS):
        await while_connected(host.receive, anyio.wait_all_tasks_blocked)
        await anyio.wait_all_tasks_blocked()
    assert host.watching == 0


@pytest.mark.anyio
@ON_ASYNCIO
@BOTH
async def test_the_end_of_the_work_is_the_end_of_the_watching(watching: Watching) -> None:
    host = Host()
    with anyio.fail_after(SECONDS):
        await watching(host.receive, anyio.wait_all_tasks_blocked)
        await anyio.wait_all_tasks_blocked()
    assert host.watching == 0
    assert nothing_is_left_over()


@pytest.mark.anyio
@ON_ASYNCIO
@BOTH
async def test_an_error_of_the_work_is_raised_as_it_is(watching: Watching) -> None:
    async def work() -> None:
        await anyio.lowlevel.checkpoint()
        raise ZeroDivisionError

    host = Host()
    with pytest.raises(ZeroDivisionError), anyio.fail_after(SECONDS):
        await watching(host.receive, work)
    assert nothing_is_left_over()


async def ignores_it(host: Host) -> None:
    """Work that takes its cancellation for something else."""
    with suppress(asyncio.CancelledError):
        await anyio.sleep_forever()


async def fails_of_it(host: Host) -> None:
    """Work that makes an error of its cancellation."""
    try:
        await anyio.sleep_forever()
    except asyncio.CancelledError:
        raise BackendError from None


async def is_stopped(host: Host) -> None:
    await anyio.sleep_forever()


async def waits_too(host: Host) -> None:
    """Work that ends at the same moment."""
    await host.left.wait()


@pytest.mark.anyio
@ON_ASYNCIO
@BOTH
@pytest.mark.parametrize("work", [is_stopped, waits_too, ignores_it, fails_of_it])
async def test_leaving_does_not_cancel_what_the_host_does_next(
    watching: Watching, work: Callable[[Host], Awaitable[None]]
) -> None:
    host = Host()
    failed = False
    async with anyio.create_task_group() as group:
        group.start_soon(_leave, host)
        with anyio.fail_after(SECONDS):
            try:
                await watching(host.receive, lambda: work(host))
            except BackendError:
                failed = True
            assert nothing_is_left_over()
            await anyio.wait_all_tasks_blocked()
    assert failed == (work is fails_of_it)
    assert host.watching == 0


async def _leave(host: Host) -> None:
    await anyio.wait_all_tasks_blocked()
    host.left.set()


@pytest.mark.anyio
@ON_ASYNCIO
@BOTH
@pytest.mark.parametrize("first", ["the client", "the work"])
async def test_work_may_end_as_the_client_leaves(watching: Watching, first: str) -> None:
    host, done = Host(), anyio.Event()

    async def both() -> None:
        await anyio.wait_all_tasks_blocked()
        for event in (host.left, done) if first == "the client" else (done, host.left):
            event.set()

    async with anyio.create_task_group() as group:
        group.start_soon(both)
        with anyio.fail_after(SECONDS):
            await watching(host.receive, done.wait)
            assert nothing_is_left_over()
            await anyio.wait_all_tasks_blocked()


@pytest.mark.anyio
@ON_ASYNCIO
@BOTH
@pytest.mark.parametrize("work", [is_stopped, waits_too])
@pytest.mark.parametrize("first", ["the client", "the host"])
async def test_a_host_that_cancels_as_the_client_leaves_is_obeyed(
    watching: Watching, work: Callable[[Host], Awaitable[None]], first: str
) -> None:
    host = Host()
    went_on = False

    async def serve() -> None:
        nonlocal went_on
        await watching(host.receive, lambda: work(host))
        went_on = True

    with anyio.fail_after(SECONDS):
        task = asyncio.create_task(serve())
        await anyio.wait_all_tasks_blocked()
        if first == "the client":
            host.left.set()
        task.cancel()
        host.left.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not went_on
    assert task.cancelling() == 1


@pytest.mark.anyio
@pytest.mark.parametrize("first", ["the client", "the host"])
async def test_a_scope_of_the_host_ends_the_work_as_the_client_leaves(first: str) -> None:
    host = Host()
    with anyio.fail_after(SECONDS):
        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                group.start_soon(_leave_and_cancel, host, scope, first)
                await while_connected(host.receive, anyio.sleep_forever)
                await anyio.sleep_forever()
            assert scope.cancelled_caught
            await anyio.wait_all_tasks_blocked()


async def _leave_and_cancel(host: Host, scope: anyio.CancelScope, first: str) -> None:
    await anyio.wait_all_tasks_blocked()
    if first == "the client":
        host.left.set()
    scope.cancel()
    host.left.set()
