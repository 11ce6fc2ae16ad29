"""The bytes of a stream, cut into frames as they were sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ...contract import essence
from ...framing import MAX_FRAME

__all__ = ["Cutter", "carries", "split_end"]

_ENDS: Final[Mapping[str, re.Pattern[bytes]]] = {
    "application/x-ndjson": re.compile(rb"\n"),
    "application/jsonl": re.compile(rb"\n"),
    "text/event-stream": re.compile(rb"\r\n\r\n|\n\n|\r\r"),
}


class Cutter:
    """Bytes to frames, each with its end. Joined they are the bytes that came.

    Unlike the decoders of `llmount.framing` it keeps every byte.
    """

    @classmethod
    def of(cls, media_type: str) -> Cutter | None:
        """None for a media type that is no stream."""
        end = _ENDS.get(essence(media_type))
        return None if end is None else cls(end)

    def __init__(self, end: re.Pattern[bytes]) -> None:
        self._end = end
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The frames that the piece completes; one that grows too long is given as it is."""
        text, begin, frames = self._rest + piece, 0, []
        for match in self._end.finditer(text):
            frames.append(text[begin : match.end()])
            begin = match.end()
        self._rest = text[begin:]
        if len(self._rest) > MAX_FRAME:
            frames += self.close()
        return frames

    def close(self) -> list[bytes]:
        """What is left without an end."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


def split_end(frame: bytes) -> tuple[bytes, bytes]:
    """A frame without its end, and the end."""
    content = frame.rstrip(b"\r\n")
    return content, frame[len(content) :]


def carries(frame: bytes) -> bool:
    """Whether it has an item: it is neither blank nor a comment."""
    return any(line and not line.startswith(b":") for line in frame.splitlines())
