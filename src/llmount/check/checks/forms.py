"""The form of answers to more than a plain question: calls, counts, several answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from ..clients import breaks
from ..probe import Probe
from ..recording import Recording
from ..registry import check
from ..said import Ask
from .answers import PLAIN, REFERENCE, check_form
from .order import ASKS
from .streams import STANDARD, STREAMED, item_problems


async def _answers(probe: Probe, asks: Sequence[Ask]) -> AsyncIterator[Recording]:
    """The answers to those questions that the API and the server know. Raises as
    `Probe.answered` for the first."""
    await probe.answered(asks[0])
    for ask in asks[1:]:
        if not probe.api.lacks(ask):
            recording = await probe.ask(ask)
            if recording.status == 200 and not recording.fault:
                yield recording


@check(
    "answers.asked-schema",
    "A whole answer with calls, or with several texts, has what clients read",
    source=REFERENCE,
    breaks=breaks("answer-form"),
)
async def whole(probe: Probe) -> None:
    tolerant = probe.session.tolerant.operations[probe.api.operation]
    asks = (PLAIN, *(replace(ask, stream=False) for ask in ASKS if not ask.usage))
    async for recording in _answers(probe, asks):
        check_form(probe, recording, tolerant)


@check(
    "stream.asked-schema",
    "Every item of a stream with calls, counts or several texts has what clients read",
    source=STANDARD,
    breaks=breaks("item-form"),
)
async def items(probe: Probe) -> None:
    tolerant = probe.session.tolerant.operations[probe.api.operation]
    asks = (STREAMED, *(ask for ask in ASKS if ask != STREAMED))
    async for recording in _answers(probe, asks):
        for number, problem in item_problems(recording, tolerant):
            probe.found(problem, recording, number)
