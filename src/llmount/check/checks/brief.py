"""Brief questions, and whether a server still answers them."""

from __future__ import annotations

from dataclasses import replace

import anyio

from ..probe import Probe
from ..registry import Skip
from ..said import Ask

__all__ = ["BUSY", "TEXT", "alive", "brief", "formed", "reachable"]

TEXT = "Say yes."

BUSY = frozenset({429, 503})
"""Statuses of a server that has enough to do."""

_LEAST_TOKENS = (1, 16)
_TRIES = 3
_PAUSE = 0.5
_LONGEST = 30.0


def brief(probe: Probe, *, stream: bool = False) -> Ask:
    """The question with the shortest answer that the document allows; whole, unless streamed
    or never whole."""
    asks = [formed(probe, Ask(text=TEXT, max_tokens=each), stream=stream) for each in _LEAST_TOKENS]
    bodies = [(ask, probe.api.body(probe.model, ask)) for ask in asks]
    return next((ask for ask, body in bodies if not probe.operation.fault(body)), asks[-1])


def formed(probe: Probe, ask: Ask, *, stream: bool) -> Ask:
    """The question whole or streamed, in the other form if the API has not this one."""
    wanted = "stream" if stream else "whole"
    return replace(ask, stream=stream if wanted in probe.api.knows else not stream)


async def reachable(probe: Probe) -> None:
    """Raises `Skip` if there is no server any more."""
    recording = await probe.target.send("GET", "/")
    if recording.status is None:
        raise Skip(f"the server cannot be reached: {recording.fault}")


async def alive(probe: Probe) -> str:
    """Why a brief question is not answered any more; "" if it is, or if the server says that
    it has too much to do."""
    why = ""
    with anyio.move_on_after(_LONGEST) as scope:
        for number in range(_TRIES):
            if number:
                await anyio.sleep(_PAUSE)
            recording = await probe.ask(brief(probe), fresh=True)
            if recording.status in BUSY or (recording.status == 200 and not recording.fault):
                return ""
            why = probe.told(recording)
    return f"not within {_LONGEST:.0f} seconds" if scope.cancelled_caught else why
