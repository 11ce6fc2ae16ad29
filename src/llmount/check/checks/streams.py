"""Streams: their framing, their items and their end."""

from __future__ import annotations

from ...contract import Media, Operation, essence
from ...jsontext import loads
from ...types import JSON
from ..probe import Probe
from ..registry import check
from ..said import Ask
from ..verdict import Severity
from .answers import violations

STREAMED = Ask(stream=True)


@check("stream.media-type", "A stream has the media type of the document")
async def media_type(probe: Probe) -> None:
    recording = await probe.answered(STREAMED)
    media = _stream(probe.operation)
    if essence(recording.media_type) != essence(media.name):
        probe.found(
            f"the Content-Type is {recording.media_type or 'missing'}, not {media.name}", recording
        )


@check("stream.framing", "A stream is framed so that readers can cut it into items")
async def framing(probe: Probe) -> None:
    recording = await probe.ask(STREAMED)
    if recording.status == 200 and recording.fault:
        probe.found(recording.fault, recording, len(recording.items))


@check("stream.item-schema", "Every item of a stream has what its clients read")
async def item_schema(probe: Probe) -> None:
    await _items(probe, probe.session.tolerant.operations[probe.api.operation])


@check(
    "stream.item-exact",
    "Every item of a stream has exactly what the document says",
    severity=Severity.STRICT,
)
async def item_exact(probe: Probe) -> None:
    await _items(probe, probe.operation)


async def _items(probe: Probe, operation: Operation) -> None:
    recording = await probe.answered(STREAMED)
    schema = _stream(operation).carried
    seen: set[str] = set()
    for number, value in enumerate(recording.values):
        try:
            problems = violations(schema, carried(value))
        except ValueError as error:
            problems = [f"its data is not JSON: {error}"]
        for problem in problems:
            if problem not in seen:
                seen.add(problem)
                probe.found(problem, recording, number)


def carried(item: JSON) -> JSON:
    """The item; of an event, with what its data says in the place of the text. Raises
    ValueError for data that is not JSON."""
    if not isinstance(item, dict) or not isinstance(item.get("data"), str):
        return item
    return item if item["data"] == "[DONE]" else {**item, "data": loads(item["data"])}


def _stream(operation: Operation) -> Media:
    assert operation.stream is not None, f"{operation.id} has no streams"
    return operation.stream
