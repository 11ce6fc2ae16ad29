"""Streams: their framing, their items and their end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...contract import Media, Operation
from ...jsontext import loads
from ...testing.reading import part, text
from ...types import JSON
from ..clients import breaks
from ..probe import Probe
from ..recording import Recording
from ..registry import check
from ..said import Ask
from ..verdict import Severity
from .answers import check_type, violations

STREAMED = Ask(stream=True)

STANDARD = "https://platform.openai.com/docs/api-reference/chat-streaming"

_EVENTS = ("chat/*", "ai/geenii")


@check(
    "stream.media-type",
    "A stream has the media type of the document",
    severity=Severity.STRICT,
    source=STANDARD,
)
async def media_type(probe: Probe) -> None:
    check_type(probe, await probe.answered(STREAMED), _stream(probe.operation))


@check(
    "stream.streams",
    "A stream that is asked for comes as one",
    source=STANDARD,
    breaks=breaks("not-a-stream"),
)
async def streams(probe: Probe) -> None:
    recording = await probe.answered(STREAMED)
    if not recording.items:
        probe.found("there are no items in it", recording)


@check(
    "stream.framing",
    "A stream is framed so that readers can cut it into items",
    source=STANDARD,
    breaks=breaks("bad-framing"),
)
async def framing(probe: Probe) -> None:
    recording = await probe.ask(STREAMED)
    if recording.status == 200 and recording.fault:
        probe.found(recording.fault, recording, len(recording.items))


@check(
    "stream.bare-frames",
    "Every event has data",
    contracts=_EVENTS,
    source="https://github.com/openai/openai-python/issues/2722",
    breaks=breaks("bare-frame"),
)
async def bare_frames(probe: Probe) -> None:
    recording = await probe.answered(STREAMED)
    commented = numbered = False
    for frame in _frames(recording.content):
        lines = frame.split(b"\n")
        fields = [line.partition(b":") for line in lines if line and not line.startswith(b":")]
        names = {name for name, _, _ in fields}
        commented |= any(line.startswith(b":") for line in lines)
        numbered |= b"id" in names
        if names & {b"id", b"event", b"retry"} and b"data" not in names:
            probe.found(f"an event has no data: {_shown(frame)}", recording)
        elif b"data" in names and not any(v.strip() for n, _, v in fields if n == b"data"):
            probe.found(f"the data of an event is empty: {_shown(frame)}", recording)
    if commented and numbered:
        probe.found("there are comments beside events with an id", recording)


@check(
    "stream.last-frame",
    "The last event ends with a blank line",
    contracts=_EVENTS,
    source="https://html.spec.whatwg.org/multipage/server-sent-events.html",
    breaks=breaks("cut-frame"),
)
async def last_frame(probe: Probe) -> None:
    recording = await probe.answered(STREAMED)
    frames = [frame for frame in _frames(recording.content) if frame.strip()]
    ended = recording.content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").endswith(b"\n\n")
    # What is lost without the blank line does not matter if it is only [DONE].
    if frames and not ended and not frames[-1].strip().endswith(b"[DONE]"):
        probe.found("the stream ends without one", recording)


@check(
    "stream.blank-lines",
    "A stream of lines has no empty ones",
    contracts=("generate/*",),
    source="https://docs.ollama.com/api/streaming",
    breaks=breaks("blank-line"),
)
async def blank_lines(probe: Probe) -> None:
    recording = await probe.answered(STREAMED)
    lines = recording.content.removesuffix(b"\n").split(b"\n")
    if any(not line.strip() for line in lines):
        probe.found("there is an empty line", recording)


@check(
    "stream.line-separators",
    "Characters that readers take for the end of a line are escaped",
    contracts=("generate/ollama", "generate/ajstudioz"),
    source="https://docs.ollama.com/api/streaming",
    breaks=breaks("line-separator"),
)
async def line_separators(probe: Probe) -> None:
    said = "Say the same: one\u2028two\u2029three"
    recording = await probe.answered(replace(STREAMED, text=said))
    for character in "\u2028\u2029":
        if character.encode() in recording.content:
            probe.found(f"U+{ord(character):04X} is not escaped", recording)


_HANDLED = "thread."
"""What names of events begin with that SDKs read as those of another API."""


@check(
    "stream.event-names",
    "No event has a name that clients take for one of another API",
    contracts=("chat/openai", "chat/azure", "chat/codeinferflow", "chat/ktransformers"),
    source="https://platform.openai.com/docs/api-reference/assistants-streaming/events",
    breaks=breaks("other-event"),
)
async def event_names(probe: Probe) -> None:
    recording = await probe.answered(STREAMED)
    for number, value in enumerate(recording.values):
        name = text(part(value).get("event"))
        if name.startswith(_HANDLED):
            probe.found(f"an event is named {name!r}", recording, number)
            return


def _frames(content: bytes) -> list[bytes]:
    """The frames of a stream of events, as they are."""
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n")


def _shown(frame: bytes) -> str:
    return repr(frame[:40].decode(errors="replace"))


@check(
    "stream.item-schema",
    "Every item of a stream has what its clients read",
    source=STANDARD,
    breaks=breaks("item-form"),
)
async def item_schema(probe: Probe) -> None:
    await _items(probe, probe.session.tolerant.operations[probe.api.operation])


@check(
    "stream.item-exact",
    "Every item of a stream has exactly what the document says",
    severity=Severity.STRICT,
    source=STANDARD,
)
async def item_exact(probe: Probe) -> None:
    await _items(probe, probe.operation)


async def _items(probe: Probe, operation: Operation) -> None:
    recording = await probe.answered(STREAMED)
    for number, problem in item_problems(recording, operation):
        probe.found(problem, recording, number)


def item_problems(recording: Recording, operation: Operation) -> Iterator[tuple[int, str]]:
    """What an operation has against the items of a stream, each told once, with the number
    of the first item that it is about."""
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
                yield number, problem


def carried(item: JSON) -> JSON:
    """The item; of an event, with what its data says in the place of the text. Raises
    ValueError for data that is not JSON."""
    if not isinstance(item, dict) or not isinstance(item.get("data"), str):
        return item
    return item if item["data"] == "[DONE]" else {**item, "data": loads(item["data"])}


def _stream(operation: Operation) -> Media:
    assert operation.stream is not None, f"{operation.id} has no streams"
    return operation.stream
