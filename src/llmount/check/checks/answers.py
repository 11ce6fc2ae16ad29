"""Whole answers: their form."""

from __future__ import annotations

from typing import Final

from ...contract import Media, Operation, essence
from ...errors import Violation
from ...testing.reading import listed, part, text
from ...types import JSON
from ...validation import Schema
from ..clients import breaks
from ..probe import Probe
from ..recording import Recording
from ..registry import Unsupported, check
from ..said import Ask
from ..verdict import Severity

PLAIN = Ask()

_NOT_THERE: Final = frozenset({404, 405, 501})

_NAMED: Final = 8
"""Properties that are named, of those that are too many."""

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
        if probe.api.optional and _is_not_there(recording, probe.model):
            raise Unsupported(f"there is no {probe.operation.path}: {probe.told(recording)}")
        if recording.status != 200 or recording.fault:
            probe.found(f"not answered: {probe.told(recording)}", recording)
        elif recording.items and (error := probe.api.items(recording.values).error):
            probe.found(f"an error comes in the stream: {error}", recording)


def _is_not_there(recording: Recording, model: str) -> bool:
    """Whether the path itself is missing, and not the model."""
    return recording.status in _NOT_THERE and model.encode() not in recording.content


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
    check_type(probe, await probe.answered(PLAIN), _whole(probe.operation))


@check(
    "answers.schema",
    "A whole answer has what its clients read",
    source=REFERENCE,
    breaks=breaks("answer-form"),
)
async def schema(probe: Probe) -> None:
    recording = await probe.answered(PLAIN)
    check_form(probe, recording, probe.session.tolerant.operations[probe.api.operation])


@check(
    "answers.exact",
    "A whole answer has exactly what the document says",
    severity=Severity.STRICT,
    source=REFERENCE,
)
async def exact(probe: Probe) -> None:
    recording = await probe.answered(PLAIN)
    check_form(probe, recording, probe.operation)


@check(
    "answers.output-text",
    "The text of an answer is that of its output",
    severity=Severity.STRICT,
    contracts=("ai/geenii",),
    source=REFERENCE,
)
async def output_text(probe: Probe) -> None:
    recording = await probe.answered(PLAIN)
    try:
        answer = part(recording.json)
    except ValueError:
        return  # That is for `answers.schema`.
    output = "".join(
        text(content.get("text"))
        for item in listed(answer.get("output"))
        for content in listed(item.get("content"))
    )
    if text(answer.get("output_text")) != output:
        probe.found(f"it is {answer.get('output_text')!r}, the output has {output!r}", recording)


def check_form(probe: Probe, recording: Recording, operation: Operation, label: str = "") -> None:
    """Note what an operation has against a whole answer, each with a label before it."""
    schema = operation.whole.schema if operation.whole else None
    try:
        problems = violations(schema, recording.json)
    except ValueError as error:
        problems = [f"it is not JSON: {error}"]
    for problem in problems:
        probe.found(label + problem, recording)


def check_type(probe: Probe, recording: Recording, media: Media) -> None:
    """Note that an answer has another media type."""
    if essence(recording.media_type) != essence(media.name):
        probe.found(
            f"the Content-Type is {recording.media_type or 'missing'}, not {media.name}", recording
        )


def violations(schema: Schema | None, value: JSON) -> list[str]:
    """What a schema has against a value, each told once."""
    if schema is None or schema.is_valid(value):
        return []
    return list(dict.fromkeys(map(_worded, schema.violations(value))))


def _worded(violation: Violation) -> str:
    names = ", ".join(violation.extra[:_NAMED])
    more = ", …" if violation.extra[_NAMED:] else ""
    return f"{violation.message}: {names}{more}" if names else violation.message


def _whole(operation: Operation) -> Media:
    assert operation.whole is not None, f"{operation.id} has no whole answers"
    return operation.whole
