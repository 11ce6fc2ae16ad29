"""When the items of a stream come: as they are written, or all together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from ..probe import Inapplicable, Probe
from ..recording import Recording
from ..registry import Skip, check
from ..said import Ask
from ..verdict import Severity
from .brief import brief

_SOURCE = "https://docs.ollama.com/api/streaming"
_LONG = Ask(text="Count from one to one hundred, in words.", max_tokens=64, stream=True)

_FEWEST: Final = 8
"""Items of an answer that is long enough to tell."""

_BRIEFEST: Final = 0.3
_SLOW: Final = 1.0
"""Seconds in which an answer is written, so that it matters when its items come."""

_LATE: Final = 0.8
_LUMP: Final = 0.1


@dataclass(frozen=True, slots=True)
class _Pace:
    """A long stream, and how long its server wrote on it: seconds beyond those of a brief one."""

    recording: Recording
    writing: float

    @property
    def first(self) -> float:
        return self.recording.items[0].at

    @property
    def spread(self) -> float:
        """Seconds from the first item to the last."""
        return self.recording.items[-1].at - self.first


async def _pace(probe: Probe) -> _Pace:
    """Raises `Skip` where nothing can be told."""
    if "stream" not in probe.api.knows:
        raise Inapplicable

    async def measure() -> _Pace:
        # Twice, since a model may have to be loaded first.
        await probe.answered(brief(probe, stream=True), fresh=True)
        short = await probe.answered(brief(probe, stream=True), fresh=True)
        recording = await probe.answered(_LONG, fresh=True)
        if not recording.items:
            raise Skip("there are no items in the stream")
        return _Pace(recording, recording.ended - short.ended)

    pace = await probe.once(f"timing {probe.operation.id}", measure)
    _note(probe, pace)
    return pace


def _note(probe: Probe, pace: _Pace) -> None:
    recording = pace.recording
    items = recording.items
    probe.measured |= {"first item": pace.first, "whole stream": recording.ended}
    if len(items) > 1:
        probe.measured["longest pause"] = max(b.at - a.at for a, b in pairwise(items))
    tokens = probe.read(recording).tokens.completion
    if tokens and len(items) >= _FEWEST and pace.spread > 0:
        probe.measured["tokens per second"] = tokens / pace.spread


def _telling(probe: Probe, pace: _Pace, seconds: float) -> None:
    """Raises `Skip` for a stream whose times tell nothing."""
    count = len(pace.recording.items)
    if count < _FEWEST:
        raise Skip(f"the stream has only {count} items")
    if pace.writing < seconds:
        raise Skip(f"the server is too fast to tell: {max(pace.writing, 0):.3f} seconds")
    said = probe.read(pace.recording)
    if (said.tokens.completion or 0) > 2 * count:
        raise Skip("its items have several tokens each, or some are not shown")


@check(
    "timing.first-item",
    "The first item of a stream comes long before the last",
    severity=Severity.ADVICE,
    alone=True,
    source=_SOURCE,
)
async def first_item(probe: Probe) -> None:
    pace = await _pace(probe)
    _telling(probe, pace, _BRIEFEST)
    if pace.spread < (1 - _LATE) * pace.writing:
        probe.found(_told(pace), pace.recording, 0)


@check(
    "timing.lump",
    "The items of a stream that is written slowly do not come all at its end",
    alone=True,
    source=_SOURCE,
)
async def lump(probe: Probe) -> None:
    pace = await _pace(probe)
    _telling(probe, pace, _SLOW)
    if pace.spread >= _LUMP * pace.writing:
        return
    again = await probe.answered(replace(_LONG, text=_LONG.text + " Go on."), fresh=True)
    if again.items and again.items[-1].at - again.items[0].at < _LUMP * pace.writing:
        probe.found(_told(pace), pace.recording, 0)


def _told(pace: _Pace) -> str:
    items, ended = len(pace.recording.items), pace.recording.ended
    return (
        f"{items} items came within {pace.spread:.2f} seconds, the first after "
        f"{pace.first:.2f} of {ended:.2f}, although {pace.writing:.2f} were spent on writing"
    )
