"""Several clients at once, and one that reads slowly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import anyio

from ...testing.reading import part, text
from ..clients import breaks
from ..openai_api import chunks
from ..probe import Inapplicable, Probe
from ..recording import Recording
from ..registry import Skip, check
from ..said import Ask
from ..verdict import Severity
from .brief import BUSY, brief, formed

_SOURCE = "https://platform.openai.com/docs/guides/error-codes"
_MANY: Final = 8
_PAUSE: Final = 1.0
_SECONDS: Final = 90.0

_QUESTIONS: Final = (
    "Name three colours.",
    "Count from one to five, in words.",
    "Which animals live in the sea?",
    "What is the capital of France?",
    "Say good morning to Peter.",
    "How do I boil an egg?",
)
_ROUNDS: Final = 2
_FEWEST_CROSSED: Final = 2


async def _crowd(probe: Probe) -> Sequence[Recording]:
    """What several clients get at once, half of them streams where there are both forms."""

    async def gather() -> list[Recording]:
        found: list[Recording] = []

        async def ask(stream: bool) -> None:
            found.append(await probe.ask(brief(probe, stream=stream), fresh=True))

        async with anyio.create_task_group() as group:
            for number in range(_MANY):
                group.start_soon(ask, number % 2 == 0)
        return found

    await probe.answered(brief(probe))
    return await probe.once(f"crowd {probe.operation.id}", gather)


@check(
    "robustness.many",
    "Of several questions at once each is answered, or refused for being too many",
    alone=True,
    source=_SOURCE,
    breaks=breaks("refused-with-500"),
)
async def many(probe: Probe) -> None:
    for recording in await _crowd(probe):
        refused = recording.status in BUSY and not recording.fault
        if not refused and (recording.status != 200 or recording.fault):
            probe.found(f"one of {_MANY} is not answered: {probe.told(recording)}", recording)


def _refusals(found: Sequence[Recording]) -> list[Recording]:
    """Raises `Skip` without any."""
    if not (refusals := [each for each in found if each.status in BUSY]):
        raise Skip(f"{_MANY} questions at once are not too many")
    return refusals


@check(
    "robustness.many-envelope",
    "A refusal for being too many tells its reason where clients look for it",
    alone=True,
    source=_SOURCE,
    breaks=breaks("envelope"),
)
async def many_envelope(probe: Probe) -> None:
    for recording in _refusals(await _crowd(probe)):
        if not probe.reason(recording):
            probe.found(f"there is no message: {probe.told(recording)}", recording)


@check(
    "robustness.retry-after",
    "A refusal for being too many says when to come again",
    severity=Severity.ADVICE,
    alone=True,
    source="https://www.rfc-editor.org/rfc/rfc9110#name-retry-after",
)
async def retry_after(probe: Probe) -> None:
    for recording in _refusals(await _crowd(probe)):
        if not recording.header("retry-after"):
            probe.found("there is no Retry-After", recording)


def _ids(recording: Recording) -> set[str]:
    """The ids that the items of a stream tell."""
    items = [part(value) for value in recording.values]
    carried = chunks(recording.values) or items
    return {found for each in carried if (found := text(each.get("id")))}


@check(
    "robustness.mixed",
    "Streams that are written at once are not mixed",
    alone=True,
    source=_SOURCE,
)
async def mixed(probe: Probe) -> None:
    if "stream" not in probe.api.knows:
        raise Inapplicable
    streams = [each for each in await _crowd(probe) if each.status == 200 and each.items]
    alone = await probe.answered(brief(probe, stream=True))
    again = await probe.answered(brief(probe, stream=True), fresh=True)
    before, after = _ids(alone), _ids(again)
    if len(before) != 1 or len(after) != 1 or before == after:
        raise Skip("the items do not tell to which answer they belong")
    owners: dict[str, Recording] = {}
    for recording in streams:
        ids = _ids(recording)
        if len(ids) > 1:
            probe.found(f"a stream has items of {len(ids)} answers", recording)
        for id in ids:
            if owners.setdefault(id, recording) is not recording:
                probe.found(f"the answer {id} is in two streams", recording)


@check(
    "robustness.crossed",
    "Of several clients at once, each gets the answer to its own question",
    alone=True,
    source=_SOURCE,
)
async def crossed(probe: Probe) -> None:
    asks = [formed(probe, Ask(text=each, max_tokens=16), stream=False) for each in _QUESTIONS]
    own = [(await probe.said(ask)).text for ask in asks]
    if len({*own}) < len(own):
        raise Skip("the server answers different questions alike")
    for _ in range(_ROUNDS):
        answers = await _at_once(probe, asks)
        # A model may well say something else than before, but hardly what it said to another.
        strange = [
            recording
            for number, recording in enumerate(answers)
            if (text := _text(probe, recording)) != own[number] and text in own
        ]
        if len(strange) < _FEWEST_CROSSED:
            return
    for recording in strange:
        probe.found("it is the answer to the question of another client", recording)


async def _at_once(probe: Probe, asks: Sequence[Ask]) -> list[Recording]:
    """The answers, in the order of the questions."""
    found: dict[int, Recording] = {}

    async def ask(number: int) -> None:
        found[number] = await probe.ask(asks[number], fresh=True)

    async with anyio.create_task_group() as group:
        for number in range(len(asks)):
            group.start_soon(ask, number)
    return [found[number] for number in range(len(asks))]


def _text(probe: Probe, recording: Recording) -> str:
    """What an answer says; "" if it is none."""
    if recording.status != 200 or recording.fault:
        return ""
    return probe.read(recording).text


@check(
    "robustness.slow-reader",
    "A client that reads slowly gets all of its stream, and is in nobody's way",
    alone=True,
    source=_SOURCE,
)
async def slow_reader(probe: Probe) -> None:
    ask = formed(probe, Ask(max_tokens=48), stream=True)
    if not ask.stream:
        raise Inapplicable
    usual = await probe.answered(ask, fresh=True)
    if len(usual.items) < 4:
        raise Skip("the stream has too few items")
    operation = probe.operation
    body = probe.api.body(probe.model, ask)
    beside: Recording | None = None
    with anyio.move_on_after(_SECONDS) as scope:
        path = probe.session.url(operation)
        async with probe.target.open(operation.method, path, body) as (recording, pieces):
            async for _ in pieces:
                if recording.items and beside is None:
                    await anyio.sleep(_PAUSE)
                    beside = await probe.ask(brief(probe), fresh=True)
    if scope.cancelled_caught:
        raise Skip(f"not done after {_SECONDS:.0f} seconds")
    if recording.status in BUSY:
        raise Skip(f"the server has too much to do: {probe.told(recording)}")
    if recording.status != 200 or recording.fault:
        probe.found(f"read slowly, it is not whole: {probe.told(recording)}", recording)
    elif probe.read(usual).finish and not probe.read(recording).finish:
        probe.found("read slowly, it does not say why it ended", recording)
    if beside and beside.status not in (200, *BUSY):
        probe.found(f"another client is not answered meanwhile: {probe.told(beside)}", beside)
