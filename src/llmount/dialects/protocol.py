"""What a dialect is: handlers for a document's operations, and a way to draw errors."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from ..contract import Operation
from ..decoding import decode
from ..errors import (
    ApiError,
    InvalidRequest,
    MethodNotAllowed,
    Overloaded,
    RateLimited,
    Unauthenticated,
)
from ..types import JSON, Quota

__all__ = [
    "Answer",
    "Codec",
    "Dialect",
    "Drawing",
    "Handler",
    "Headers",
    "Reply",
    "Request",
    "Run",
    "quota_headers",
    "read_strictly",
    "whole_seconds",
]

Headers: TypeAlias = Sequence[tuple[str, str]]


@dataclass(slots=True)
class Request:
    """A request that the document allows, but for a `fault`.

    body: the decoded body, defaults filled in; None where the operation takes none.
    params: the path's parameters. started: `time.perf_counter_ns()` at its arrival.
    fault: what the document has against the body, where the dialect's `read` leaves it to
    the handlers when to say so.
    """

    operation: Operation
    body: JSON = None
    params: Mapping[str, str] = field(default_factory=dict)
    started: int = field(default_factory=time.perf_counter_ns)
    fault: InvalidRequest | None = None


def read_strictly(body: bytes, request: Request) -> None:
    """Fill in the body of a request. Raises `MalformedBody` or `InvalidRequest`."""
    request.body = request.operation.validate(decode(body))


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: a JSON value, or a str for a textual media type.

    tokens: what it took, to be counted for whoever asked.
    """

    content: JSON
    status: int = 200
    tokens: int = 0


class Codec(Protocol):
    """Turns the events of one generation into the dialect's items, or one whole answer.

    A codec belongs to one request and may keep state.
    """

    finished: bool
    """Whether the last event has been turned into items; reading stops there."""

    def items(self, event: Any, /) -> Iterable[JSON]:
        """The stream's items for this event; of a `Finish`, all that remain."""

    def whole(self, events: Sequence[Any], /) -> JSON:
        """The answer that is not streamed, of all events at once."""


@dataclass(slots=True)
class Run:
    """A generation under way. `stream` says in which of its two forms it is answered."""

    events: AsyncGenerator[Any, None]
    codec: Codec
    stream: bool


Reply: TypeAlias = Answer | Run
Handler: TypeAlias = Callable[[Request], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Drawing:
    """An error as the client sees it. `content` as in `Answer`."""

    status: int
    content: JSON
    headers: Headers = ()

    @classmethod
    def of(cls, error: ApiError, content: JSON, *, status: int | None = None) -> Drawing:
        """With the error's own status, unless told, and the headers that HTTP has for it."""
        headers: list[tuple[str, str]] = []
        if isinstance(error, MethodNotAllowed):
            headers.append(("allow", ", ".join(error.allowed)))
        if isinstance(error, Unauthenticated):
            headers.append(("www-authenticate", "Bearer"))
        if isinstance(error, (RateLimited, Overloaded)) and error.retry_after is not None:
            headers.append(("retry-after", str(whole_seconds(error.retry_after))))
        return cls(error.status if status is None else status, content, headers)


def whole_seconds(retry_after: float) -> int:
    """At least one, and never too early."""
    return max(1, math.ceil(retry_after))


def quota_headers(quota: Quota | None) -> Headers:
    """The quota in the headers that most APIs have for it; none where it is unknown."""
    if quota is None:
        return ()
    return (
        ("x-ratelimit-limit", str(quota.limit)),
        ("x-ratelimit-remaining", str(quota.remaining)),
        ("x-ratelimit-reset", str(math.ceil(quota.reset))),
    )


class Dialect(Protocol):
    """One wire API.

    contract: the name of its document, or the path of one.
    handlers: one for each `operationId` of the document, no more and no fewer.

    A dialect that reads bodies in a way of its own has, in place of `read_strictly`, a
    `read(body: bytes, request: Request) -> None`, which raises what it refuses at once.
    """

    @property
    def contract(self) -> str: ...

    @property
    def handlers(self) -> Mapping[str, Handler]: ...

    @property
    def backends(self) -> Sequence[object]:
        """All it answers from, so that they can be closed."""

    def draw(self, error: ApiError, operation: Operation | None, /) -> Drawing:
        """The error as a response. `operation` is None if the request reached none."""

    def draw_item(self, error: ApiError, codec: Codec, /) -> Iterable[JSON]:
        """The error as the last items of a stream that has begun; `codec` made the others."""

    def headers(self, started: int, quota: Quota | None, /) -> Headers:
        """Headers that every response of this dialect carries.

        started: `time.perf_counter_ns()` at the arrival of the request. quota: what is
        left to whoever sent it; None if requests are not counted, or nobody knows whose.
        """
