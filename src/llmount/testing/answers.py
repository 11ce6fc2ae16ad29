"""Whether an answer, as it went over the wire, is what its document says."""

from __future__ import annotations

from collections.abc import Iterator

from ..contract import Contract, Media, Operation, essence
from ..framing import FramingError, framing_of
from ..jsontext import loads
from ..streaming import carried
from ..types import JSON
from .stream_rules import STREAM_RULES

__all__ = ["answer_problems", "stream_problems"]


def answer_problems(
    contract: Contract,
    operation: Operation,
    asked: JSON,
    status: int,
    media_type: str,
    content: bytes,
    *,
    cut: bool = False,
) -> Iterator[str]:
    """What is wrong with an answer, a sentence each.

    asked: the body of the request, if it was read. media_type: the whole `Content-Type`.
    cut: nobody waited for the end, so that nothing can be said of it.
    """
    documented = operation.responses.get(str(status), ())
    media = next((each for each in documented if each.name == media_type), None)
    if media is None:
        yield f"status {status} is not documented as {media_type!r}"
    elif media.item is not None:
        yield from _framed(contract, operation, media, asked, content, cut)
    elif media.schema is not None and not media.is_text and not cut:
        try:
            value = loads(content.decode())
        except ValueError as error:
            yield f"it is not JSON: {error}"
            return
        for violation in media.schema.violations(value):
            yield violation.message


def _framed(
    contract: Contract, operation: Operation, media: Media, asked: JSON, content: bytes, cut: bool
) -> Iterator[str]:
    decoder = framing_of(media.framing).decoder()
    try:
        items = decoder.feed(content)
        if not cut:
            items += decoder.close()
    except FramingError as error:
        yield f"the stream is garbled: {error}"
        return
    schema = media.carried
    assert schema is not None
    is_event = essence(media.name) == "text/event-stream"
    for number, item in enumerate(items):
        for violation in schema.violations(carried(item) if is_event else item):
            yield f"item {number}: {violation.message}"
    if not cut:
        yield from stream_problems(contract, operation, items, asked)


def stream_problems(
    contract: Contract, operation: Operation, items: list[JSON], asked: JSON
) -> Iterator[str]:
    """What is wrong with the items of a whole stream together: what the document says of
    the stream, and the rule for their order, where there is one."""
    if operation.stream is not None and operation.stream.schema is not None:
        for violation in operation.stream.schema.violations(items):
            yield f"the stream as a whole: {violation.message}"
    if rule := STREAM_RULES.get(f"{contract.name} {operation.id}"):
        yield from map(str, rule(items, asked))
