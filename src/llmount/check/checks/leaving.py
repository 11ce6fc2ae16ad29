"""Clients that leave: nothing is computed for them any more.

What a server computes cannot be seen from outside. But where a long answer keeps a brief
question waiting, the question tells: once the client of the long answer has left, it has to
be answered at once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Final, TypeAlias

import anyio

from ..probe import Inapplicable, Probe
from ..registry import Skip, check
from ..said import Ask
from ..verdict import Severity
from .brief import brief, formed

_STREAM = Ask(text="Count from one to one thousand, in words.", max_tokens=24, stream=True)

_TRIES: Final = 3
"""A client that leaves must be missed as often, before that is told."""

_CROWD: Final = (1, 4)
"""How many long answers at once may keep a question waiting."""

_MARGIN: Final = 0.5
_SLOWEST: Final = 2.0
_SETTLING: Final = 40.0
_FIRST_ITEMS: Final = 2
_FEWEST, _MOST = 64, 4000
_TIMES: Final = 6
"""How many times longer than our patience a long answer takes."""


class _Seen(Enum):
    """BESIDE: the question did not have to wait. OVER: the long answer was too short. STOPPED,
    WENT_ON: what the server did once the client had left. DECLINED: it had too much to do."""

    BESIDE = auto()
    OVER = auto()
    STOPPED = auto()
    WENT_ON = auto()
    DECLINED = auto()


@dataclass(frozen=True, slots=True)
class _Pace:
    """How fast a server is. patience: seconds that are far more than a brief question takes.
    long: a question whose answer takes far longer than that."""

    patience: float
    long: Ask


async def _pace(probe: Probe) -> _Pace:
    """Raises `Skip` for a server that is too slow."""

    async def measure() -> _Pace:
        await probe.answered(brief(probe), fresh=True)
        usual = max([await _seconds(probe) for _ in range(3)])
        if usual > _SLOWEST:
            raise Skip(f"a brief question takes {usual:.1f} seconds, which is too long to tell")
        patience = max(3 * usual, usual + _MARGIN)
        sample = await probe.answered(formed(probe, _STREAM, stream=True), fresh=True)
        tokens = max(len(sample.items), probe.read(sample).tokens.completion or 0, 1)
        wanted = math.ceil(_TIMES * patience * tokens / max(sample.ended, 0.001))
        return _Pace(patience, replace(_STREAM, max_tokens=min(max(wanted, _FEWEST), _MOST)))

    return await probe.once(f"pace {probe.operation.id}", measure)


async def _seconds(probe: Probe) -> float:
    begun = time.perf_counter()
    await probe.answered(brief(probe), fresh=True)
    return time.perf_counter() - begun


@dataclass(slots=True)
class _Client:
    """One that asks, and may leave. begun: it has read the first items; done: all."""

    probe: Probe
    ask: Ask
    begun: anyio.Event = field(default_factory=anyio.Event)
    done: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    status: int | None = None

    async def run(self) -> None:
        probe, operation = self.probe, self.probe.operation
        body = probe.api.body(probe.model, self.ask)
        with self.scope:
            path = probe.session.url(operation)
            async with probe.target.open(operation.method, path, body) as (recording, pieces):
                self.status = recording.status
                async for _ in pieces:
                    if len(recording.items) >= _FIRST_ITEMS:
                        self.begun.set()
            self.done.set()
            self.begun.set()


async def _watch(probe: Probe, pace: _Pace, asks: Sequence[Ask], queued: Ask | None) -> _Seen:
    """Leave while a question waits behind the answers to `asks`, and behind one that has not
    begun."""
    clients = [_Client(probe, ask) for ask in asks]
    later = [_Client(probe, queued)] if queued else []
    waiting = _Client(probe, brief(probe))
    seen = _Seen.OVER
    async with anyio.create_task_group() as group:
        for client in clients:
            group.start_soon(client.run)
        with anyio.move_on_after(pace.patience):
            for client in clients:
                await client.begun.wait()
        for client in later:
            group.start_soon(client.run)
            await anyio.sleep(pace.patience / 4)
        group.start_soon(waiting.run)
        with anyio.move_on_after(2 * pace.patience):
            await waiting.done.wait()
        if before := _before(clients, later, waiting):
            seen = before
        else:
            for client in later:
                client.scope.cancel()
                await anyio.sleep(pace.patience / 4)
            for client in clients:
                client.scope.cancel()
            with anyio.move_on_after(pace.patience):
                await waiting.done.wait()
            seen = _Seen.STOPPED if waiting.done.is_set() else _Seen.WENT_ON
            if waiting.done.is_set() and waiting.status != 200:
                seen = _Seen.DECLINED
        group.cancel_scope.cancel()
    return seen


def _before(clients: Sequence[_Client], later: Sequence[_Client], waiting: _Client) -> _Seen | None:
    """What there is to see before anybody leaves; None if all is as it should be."""
    everybody = (*clients, *later, waiting)
    if any(each.done.is_set() and each.status != 200 for each in everybody):
        return _Seen.DECLINED
    if any(client.done.is_set() for client in clients):
        return _Seen.OVER
    if waiting.done.is_set() or any(client.begun.is_set() for client in later):
        return _Seen.BESIDE
    return None


async def _settled(probe: Probe, pace: _Pace) -> None:
    """Wait until a brief question takes no longer than usual. Raises `Skip`."""
    with anyio.move_on_after(_SETTLING):
        while await _seconds(probe) > pace.patience:
            pass
        return
    raise Skip(f"the server does not come to rest within {_SETTLING:.0f} seconds")


async def _misses(probe: Probe, *, stream: bool, queued: bool = False) -> bool:
    """Whether the server goes on for clients that have left; one of them before its answer
    began, if queued. Raises `Skip` where that cannot be told."""
    pace = await _pace(probe)
    ask = replace(pace.long, stream=stream)
    waiting = ask if queued else None
    seen, count = _Seen.BESIDE, 0
    for count in _CROWD:
        await _settled(probe, pace)
        seen = await _watch(probe, pace, [ask] * count, waiting)
        if seen is not _Seen.BESIDE:
            break
    for _ in range(_TRIES - 1):
        if seen is not _Seen.WENT_ON:
            break
        await _settled(probe, pace)
        seen = await _watch(probe, pace, [ask] * count, waiting)
    reasons = {
        _Seen.BESIDE: f"the server answers beside {count} long answers",
        _Seen.OVER: "the answers are too short to tell",
        _Seen.DECLINED: "the server declines to answer so much at once",
    }
    if seen in reasons:
        raise Skip(reasons[seen])
    return seen is _Seen.WENT_ON


_SOURCE = "https://github.com/BerriAI/litellm/issues/37140"
_MISSED = "the server works on for who has left, and the next question has to wait"

Judge: TypeAlias = Callable[[Probe], Awaitable[None]]


def _while(*, stream: bool) -> Judge:
    async def judge(probe: Probe) -> None:
        _knows(probe, stream=stream)
        if await _misses(probe, stream=stream):
            probe.found(_MISSED)

    return judge


def _knows(probe: Probe, *, stream: bool) -> None:
    if ("stream" if stream else "whole") not in probe.api.knows:
        raise Inapplicable


for _name, _title in {
    "stream": "An answer is not written on once the client has left its stream",
    "whole": "An answer is not written on once the client has left that waits for all",
}.items():
    check(
        f"robustness.leaving-{_name}",
        _title,
        severity=Severity.STRICT,
        alone=True,
        source=_SOURCE,
    )(_while(stream=_name == "stream"))


@check(
    "robustness.leaving-queue",
    "An answer is not begun once the client has left that waits for its turn",
    severity=Severity.STRICT,
    alone=True,
    source=_SOURCE,
)
async def leaving_queue(probe: Probe) -> None:
    _knows(probe, stream=True)
    if not await _misses(probe, stream=True, queued=True):
        return
    # The streams before it may be what is written on.
    if await _misses(probe, stream=True):
        raise Skip("the server writes streams on, so that it cannot be told")
    probe.found(_MISSED)
