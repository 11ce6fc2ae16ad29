"""Whole answers: their form."""

from __future__ import annotations

from ...contract import Media, Operation, essence
from ...types import JSON
from ...validation import Schema
from ..clients import breaks
from ..probe import Probe
from ..recording import Recording
from ..registry import check
from ..said import Ask
from ..verdict import Severity

PLAIN = Ask()

REFERENCE = "https://platform.openai.com/docs/api-reference/chat/object"
OLLAMA = "https://docs.ollama.com/api/generate"


@check(
    "answers.plain",
    "A plain question is answered with status 200",
    source=REFERENCE,
    breaks=breaks("no-text"),
)
async def plain(probe: Probe) -> None:
    for ask in (PLAIN, Ask(stream=True)):
        if probe.api.lacks(ask):
            continue
        recording = await probe.ask(ask)
        if recording.status != 200 or recording.fault:
            probe.found(f"not answered: {probe.told(recording)}", recording)


@check(
    "answers.media-type",
    "A whole answer has the media type of the document",
    contracts=("chat/*",),
    source=REFERENCE,
    breaks=breaks("answer-type"),
)
async def media_type(probe: Probe) -> None:
    await _typed(probe)


# Their clients read JSON whatever it is called.
@check(
    "answers.media-type-told",
    "A whole answer has the media type of the document",
    severity=Severity.STRICT,
    contracts=("generate/*", "ai/*"),
    source=OLLAMA,
)
async def media_type_told(probe: Probe) -> None:
    await _typed(probe)


async def _typed(probe: Probe) -> None:
    recording = await probe.answered(PLAIN)
    media = _whole(probe.operation)
    if essence(recording.media_type) != essence(media.name):
        probe.found(
            f"the Content-Type is {recording.media_type or 'missing'}, not {media.name}", recording
        )


@check(
    "answers.schema",
    "A whole answer has what its clients read",
    source=REFERENCE,
    breaks=breaks("answer-form"),
)
async def schema(probe: Probe) -> None:
    recording = await probe.answered(PLAIN)
    tolerant = probe.session.tolerant.operations[probe.api.operation]
    for problem in problems(recording, _whole(tolerant).schema):
        probe.found(problem, recording)


@check(
    "answers.exact",
    "A whole answer has exactly what the document says",
    severity=Severity.STRICT,
    source=REFERENCE,
)
async def exact(probe: Probe) -> None:
    recording = await probe.answered(PLAIN)
    for problem in problems(recording, _whole(probe.operation).schema):
        probe.found(problem, recording)


def problems(recording: Recording, schema: Schema | None) -> list[str]:
    """What a schema has against the body of an answer."""
    try:
        value = recording.json
    except ValueError as error:
        return [f"it is not JSON: {error}"]
    return violations(schema, value)


def violations(schema: Schema | None, value: JSON) -> list[str]:
    """What a schema has against a value, each told once."""
    if schema is None or schema.is_valid(value):
        return []
    found = (violation.message for violation in schema.violations(value))
    return list(dict.fromkeys(found))


def _whole(operation: Operation) -> Media:
    assert operation.whole is not None, f"{operation.id} has no whole answers"
    return operation.whole
