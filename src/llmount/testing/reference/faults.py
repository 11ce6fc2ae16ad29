"""What may go wrong with an answer: a row for each fault, and the queue of those to come."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from ...backends.echo import Delay
from ...errors import (
    ApiError,
    BackendError,
    BackendTimeout,
    InternalError,
    Overloaded,
    RateLimited,
)
from ...jsontext import dumps, loads
from ...types import JSON
from .failing import Failure
from .frames import split_end

__all__ = ["Act", "Fault", "Faults"]

Act: TypeAlias = bytes | Delay | Literal["end", "cut"]
"""Send this; wait; end the answer as if all were well; cut the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is done to an answer. All that is not set stays as it is.

    spoils: a client that takes the answer for good is deceived. failure: what the backend
    fails with, so that the dialect draws it. delay:
    seconds before the first byte. reset: the connection is, before any answer. media_type:
    that is claimed. frame: what becomes of frame number n of a stream, from 0, or of a whole
    answer, for which n is None.
    """

    name: str
    spoils: bool = False
    failure: Failure | None = None
    delay: float = 0.0
    reset: bool = False
    media_type: str = ""
    frame: Callable[[int | None, bytes], Iterable[Act]] | None = None


_OUTAGES: Final[Mapping[int, Callable[[float | None], ApiError]]] = {
    500: lambda retry_after: InternalError(),
    502: lambda retry_after: BackendError(),
    503: lambda retry_after: Overloaded(retry_after=retry_after),
    504: lambda retry_after: BackendTimeout(),
}


@dataclass(slots=True)
class _Planned:
    fault: Fault
    skip: int
    left: int | None
    path: str

    def spent(self) -> bool:
        return self.left == 0


class Faults:
    """The faults to come, one after the other; each method adds one and returns the queue.

    Every method takes `times`, the number of requests that the fault hits (None: all that
    come), `skip`, the number of requests that pass before, and `path`, a part of the paths of
    those that count. Without a `path` every POST counts.

        server.fault.rate_limit(retry_after=1).truncate(after_items=3)

    refuses the first request, truncates the answer to the second, and lets all others be.
    """

    def __init__(self) -> None:
        self._planned: list[_Planned] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault, *, times: int | None = 1, skip: int = 0, path: str = "") -> Faults:
        """Add a fault of your own. Raises ValueError for numbers that make no sense."""
        if skip < 0 or (times is not None and times < 1):
            raise ValueError(f"a fault cannot hit {times} requests after {skip}")
        self._planned.append(_Planned(fault, skip, times, path))
        return self

    @property
    def left(self) -> list[str]:
        """The names of the faults that have not hit as often as they should."""
        return [each.fault.name for each in self._planned if each.left is not None]

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._planned.clear()

    def next(self, method: str, path: str) -> Fault | None:
        """The fault for a request that comes now."""
        with self._lock:
            for planned in self._planned:
                if planned.path not in path or (not planned.path and method != "POST"):
                    continue
                if planned.skip:
                    planned.skip -= 1
                    return None
                if planned.left is not None:
                    planned.left -= 1
                self._planned = [each for each in self._planned if not each.spent()]
                return planned.fault
        return None

    # Refusals

    def rate_limit(self, *, retry_after: float | None = 1.0, **which: Any) -> Faults:
        """Status 429, with `Retry-After` in whole seconds unless it is None."""
        failure = Failure(RateLimited(retry_after=retry_after))
        return self.add(Fault(name="rate_limit", failure=failure), **which)

    def outage(
        self, *, status: int = 503, retry_after: float | None = None, **which: Any
    ) -> Faults:
        """Status 500, 502, 503 or 504; `retry_after` is for 503."""
        if status not in _OUTAGES:
            raise ValueError(f"an outage has one of the statuses {list(_OUTAGES)}, not {status}")
        failure = Failure(_OUTAGES[status](retry_after))
        return self.add(Fault(name="outage", failure=failure), **which)

    def reset(self, **which: Any) -> Faults:
        """The connection is reset as soon as the request has come."""
        return self.add(Fault(name="reset", reset=True), **which)

    # Silences

    def slow_first_token(self, seconds: float, **which: Any) -> Faults:
        """Nothing comes for so long, then all as usual."""
        return self.add(Fault(name="slow_first_token", delay=seconds), **which)

    def stall(self, *, after_items: int = 2, seconds: float = 30.0, **which: Any) -> Faults:
        """A stream falls silent, and goes on when the time is over."""

        def frame(number: int | None, frame: bytes) -> list[Act]:
            return [Delay(seconds), frame] if number in (None, after_items) else [frame]

        return self.add(Fault(name="stall", frame=frame), **which)

    # Spoiled answers

    def truncate(self, *, after_items: int = 1, cut: bool = False, **which: Any) -> Faults:
        """An answer ends early: without a sign of it in the transport, or with the connection
        `cut`. Of a whole answer half is sent."""
        end: Act = "cut" if cut else "end"

        def frame(number: int | None, frame: bytes) -> list[Act]:
            if number is None:
                return [frame[: len(frame) // 2], end]
            return [frame] if number < after_items else [end]

        return self.add(Fault(name="truncate", spoils=True, frame=frame), **which)

    def malformed(self, *, after_items: int = 1, **which: Any) -> Faults:
        """An item is cut in half, but its frame is not."""

        def frame(number: int | None, frame: bytes) -> list[Act]:
            content, end = split_end(frame)
            return [content[: len(content) // 2] + end if number in (None, after_items) else frame]

        return self.add(Fault(name="malformed", spoils=True, frame=frame), **which)

    def duplicate(self, *, after_items: int = 1, **which: Any) -> Faults:
        """An item of a stream comes twice."""

        def frame(number: int | None, frame: bytes) -> list[Act]:
            return [frame, frame] if number == after_items else [frame]

        return self.add(Fault(name="duplicate", spoils=True, frame=frame), **which)

    def broken_tool_call(self, **which: Any) -> Faults:
        """The arguments of calls lack their end, so that they are no JSON."""

        def frame(number: int | None, frame: bytes) -> list[Act]:
            return [_without_ends(frame)]

        return self.add(Fault(name="broken_tool_call", spoils=True, frame=frame), **which)

    def wrong_content_type(self, media_type: str = "text/html", **which: Any) -> Faults:
        """The answer is as usual, but claims to be something else."""
        fault = Fault(name="wrong_content_type", spoils=True, media_type=media_type)
        return self.add(fault, **which)

    def error_in_band(self, *, after_items: int = 1, **which: Any) -> Faults:
        """The model fails in the midst of a stream, after so many pieces of text; the dialect
        tells it in the stream. A whole answer has status 502."""
        failure = Failure(BackendError(), after_items)
        return self.add(Fault(name="error_in_band", spoils=True, failure=failure), **which)


# Breaking calls

_DATA = re.compile(rb"(?m)^data: ?")
_DELTAS = "response.function_call_arguments.delta"


def _without_ends(frame: bytes) -> bytes:
    """The frame with the arguments of its calls cut; untouched without any."""
    content, end = split_end(frame)
    match = _DATA.search(content)
    head, text = (content[: match.end()], content[match.end() :]) if match else (b"", content)
    try:
        value = loads(text.decode())
    except ValueError:
        return frame
    broken = _broken(value)
    if broken == value:
        return frame
    return head + dumps(broken).encode() + end


def _broken(value: JSON) -> JSON:
    if isinstance(value, list):
        return [_broken(each) for each in value]
    if not isinstance(value, dict):
        return value
    pieces = value.get("type") == _DELTAS
    return {
        name: _cut(each) if name == "arguments" or (pieces and name == "delta") else _broken(each)
        for name, each in value.items()
    }


def _cut(arguments: JSON) -> JSON:
    """Whatever pieces they come in, no object without its closing braces is JSON."""
    text = arguments if isinstance(arguments, str) else dumps(arguments)
    return text.rstrip().rstrip("}")
