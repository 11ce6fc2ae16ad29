"""Items to bytes and back, for the sequential media types.

An *item* is one JSON value of a stream. For NDJSON it is the value of a line. For
server-sent events it is the event, `{"data": "..."}` with `event`, `id` (strings) and
`retry` (an int, milliseconds) where the frame has them; `data` is a string.

    framing = framing_of("text/event-stream; charset=utf-8")
    frame = framing.encode({"data": "Hello"})
    decoder = framing.decoder()
    items = decoder.feed(frame) + decoder.close()
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from .jsontext import dumps, loads
from .types import JSON

__all__ = [
    "FRAMINGS",
    "MAX_FRAME",
    "Decoder",
    "Framing",
    "FramingError",
    "framing_of",
]

MAX_FRAME: Final = 8 * 2**20
"""How many bytes one frame may have, unless `Framing.decoder` is told otherwise."""


class FramingError(ValueError):
    """The bytes are not the stream that they should be: garbled, cut off or too long."""


class Decoder(Protocol):
    """Bytes to items, incrementally. However the bytes are cut up, the items are the same."""

    def feed(self, chunk: bytes, /) -> list[JSON]:
        """The items that `chunk` completes.

        Raises FramingError for garbled input and for a frame that is too long. Items
        before the fault are returned first; the error then waits for the next call.
        """

    def close(self) -> list[JSON]:
        """The items that the end of the stream completes.

        Raises FramingError if the stream is cut off: inside of a JSON value, or inside
        of a line of an event. That the last line end of an NDJSON stream, or the blank
        line after the last event, is missing is forgiven: nothing is lost.
        """


@dataclass(frozen=True, slots=True)
class Framing:
    """How one sequential media type carries items.

    encode: an item to one frame, to be sent as it is. Raises what `dumps` raises; for an
    event without `data` KeyError, and ValueError for a line end or a NUL in a field that
    cannot have one. Line ends within `data` arrive as "\\n", whichever they were.
    comment: bytes between two frames that carry nothing; empty where there are none such.
    """

    media_type: str
    encode: Callable[[JSON], bytes]
    _decoder: Callable[[int], Decoder]
    comment: bytes = b""

    def decoder(self, limit: int = MAX_FRAME) -> Decoder:
        """A new decoder of one stream, whose frames have at most `limit` bytes."""
        return self._decoder(limit)


def framing_of(media_type: str) -> Framing:
    """The framing of a media type, whose parameters and case do not matter.

    Raises KeyError for a media type that is not sequential.
    """
    return FRAMINGS[media_type.partition(";")[0].strip().lower()]


_LINE_END = re.compile("\r\n|\r|\n")
_FIELDS = {
    "event": re.compile("[^\r\n]*"),
    "id": re.compile("[^\r\n\0]*"),
    "retry": re.compile("[0-9]+"),
}


def _encode_line(value: JSON) -> bytes:
    return f"{dumps(value)}\n".encode()


def _encode_event(event: JSON) -> bytes:
    data: str = event["data"]
    if len(event) == 1 and "\n" not in data and "\r" not in data:
        return f"data: {data}\n\n".encode()
    lines = []
    for name, allowed in _FIELDS.items():
        if name in event:
            value = str(event[name])
            if not allowed.fullmatch(value):
                raise ValueError(f"the field {name} of an event cannot be {value!r}")
            lines.append(f"{name}: {value}\n")
    lines += [f"data: {line}\n" for line in _LINE_END.split(data)]
    return f"{''.join(lines)}\n".encode()


def _encode_tight_event(event: JSON) -> bytes:
    """Without the space after the colon, which no reader minds, where data is all there is."""
    data: str = event["data"]
    if len(event) > 1 or data.startswith(" ") or "\n" in data or "\r" in data:
        return _encode_event(event)
    return f"data:{data}\n\n".encode()


class _Reader(Protocol):
    """Lines to items. `held` is how many bytes of an unfinished frame it keeps."""

    held: int

    def line(self, line: bytes, /) -> list[JSON]: ...

    def end(self, rest: bytes, /) -> list[JSON]: ...


class _Values:
    """The lines of NDJSON."""

    held = 0

    def line(self, line: bytes) -> list[JSON]:
        return [loads(line.decode())] if line.strip() else []

    end = line


class _Events:
    """The lines of an event stream, read as the HTML standard has it."""

    def __init__(self) -> None:
        self.held = 0
        self._data: list[str] = []
        self._fields: dict[str, JSON] = {}

    def line(self, line: bytes) -> list[JSON]:
        if not line:
            return self._dispatch()
        if line.startswith(b":"):
            return []
        self.held += len(line)
        name, _, value = line.decode().partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event" or (name == "id" and "\0" not in value):
            self._fields[name] = value
        elif name == "retry" and value.isascii() and value.isdecimal():
            self._fields[name] = int(value)
        return []

    def end(self, rest: bytes) -> list[JSON]:
        if rest and not rest.startswith(b":"):
            raise ValueError("the stream ends inside of a line")
        return self._dispatch()

    def _dispatch(self) -> list[JSON]:
        items = [{"data": "\n".join(self._data), **self._fields}] if self._data else []
        self.held = 0
        self._data = []
        self._fields = {}
        return items


class _LineDecoder:
    """Cuts bytes into lines for a reader, and minds the limit and the order of faults."""

    def __init__(self, reader: _Reader, line_end: re.Pattern[bytes], limit: int) -> None:
        self._reader = reader
        self._split = line_end.split
        self._cr_ends = bool(line_end.fullmatch(b"\r"))
        self._limit = limit
        self._rest = bytearray()
        self._at_start = True
        self._after_cr = False
        self._fault: FramingError | None = None

    def feed(self, chunk: bytes, /) -> list[JSON]:
        if self._fault is not None:
            raise self._fault
        if not chunk:
            return []
        # The LF of a CRLF that was cut in two: its CR has ended the line already.
        *lines, rest = self._split(chunk.removeprefix(b"\n") if self._after_cr else chunk)
        self._after_cr = self._cr_ends and chunk.endswith(b"\r")
        items: list[JSON] = []
        try:
            for line in lines:
                items += self._reader.line(self._whole(line))
            self._rest += rest
            self._check(len(self._rest))
        except ValueError as error:
            self._fault = _fault(error)
            if not items:
                raise self._fault from error
        return items

    def close(self) -> list[JSON]:
        if self._fault is not None:
            raise self._fault
        try:
            return self._reader.end(self._whole(b""))
        except ValueError as error:
            raise _fault(error) from error

    def _whole(self, line: bytes) -> bytes:
        if self._rest:
            self._rest += line
            line = bytes(self._rest)
            self._rest.clear()
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        self._check(len(line))
        return line

    def _check(self, size: int) -> None:
        if self._reader.held + size > self._limit:
            raise FramingError(f"a frame has more than {self._limit} bytes")


def _fault(error: ValueError) -> FramingError:
    return error if isinstance(error, FramingError) else FramingError(str(error))


_LF = re.compile(rb"\n")
_ANY_LINE_END = re.compile(rb"\r\n|\r|\n")


def _decode_lines(limit: int) -> Decoder:
    return _LineDecoder(_Values(), _LF, limit)


def _decode_events(limit: int) -> Decoder:
    return _LineDecoder(_Events(), _ANY_LINE_END, limit)


_COMMENT = b": keep-alive\n\n"
"""Not the usual `: ping`, which a client is known to take for the end of what it reads."""

FRAMINGS: Final[dict[str, Framing]] = {
    framing.media_type: framing
    for framing in (
        Framing("application/x-ndjson", _encode_line, _decode_lines),
        Framing("application/jsonl", _encode_line, _decode_lines),
        Framing("text/event-stream", _encode_event, _decode_events, _COMMENT),
        Framing("tight-event-stream", _encode_tight_event, _decode_events, _COMMENT),
    )
}
"""The sequential media types that are known, by their names.

The last is none, but another way to write the one before: a document asks for it with
`x-framing` beside the schemas of `text/event-stream`.
"""
