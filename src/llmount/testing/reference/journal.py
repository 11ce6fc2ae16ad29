"""What was asked of the reference server, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from ...jsontext import loads
from ...types import JSON

__all__ = ["MAX_KEPT", "Asked", "Journal", "shown_headers"]

MAX_KEPT: Final = 4 * 2**20
"""Bytes of a request's body that are kept."""

_SHOWN: Final = frozenset(
    {"accept", "accept-encoding", "content-length", "content-type", "host", "user-agent"}
)
_SHOWN_PREFIX: Final = "x-stainless-"
_HIDDEN: Final = "…"

End = Literal["", "complete", "truncated", "cut", "left"]


@dataclass(slots=True, kw_only=True)
class Asked:
    """One request.

    path: with the query. headers: by lower-case names, masked where a value could be a
    secret. at, ended: seconds since the journal began. status: None if no answer began.
    retry_after: seconds that the answer told to wait. items: of a stream, as sent. fault: the
    name of the fault that was played, "" for none. spoiled: the answer is not what it should
    be, so a client that takes it for good is deceived. silent_since: when the silence began in
    which it is, seconds as for `at`. waited: seconds of the longest silence that the client
    bore. end: "complete"; "truncated" by a fault without a sign of it in the
    transport; "cut" with one; "left" by the client; "" while it goes on.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    at: float = 0.0
    ended: float | None = None
    status: int | None = None
    retry_after: float | None = None
    items: int = 0
    fault: str = ""
    spoiled: bool = False
    silent_since: float | None = None
    waited: float = 0.0
    end: End = ""

    @property
    def json(self) -> JSON:
        """The body, None if it is not JSON."""
        try:
            return loads(self.body.decode()) if self.body else None
        except ValueError:
            return None

    @property
    def model(self) -> str:
        """The model that it names, "" if none."""
        named = self.json.get("model") if isinstance(self.json, dict) else None
        return named if isinstance(named, str) else ""

    @property
    def good(self) -> bool:
        """It was answered, wholly and as it should be."""
        return (
            self.status is not None
            and self.status < 400
            and self.end == "complete"
            and (not self.spoiled)
        )

    def same_as(self, other: Asked) -> bool:
        """Whether it asks for the very same thing."""
        return (self.method, self.path, self.body) == (other.method, other.path, other.body)

    def __str__(self) -> str:
        answer = "no answer" if self.status is None else str(self.status)
        told = f"{self.at:7.3f} s  {self.method} {self.path}  {answer}"
        if self.items:
            told += f", {self.items} items"
        if self.end not in ("", "complete"):
            told += f", {self.end}"
        return f"{told}  [{self.fault}]" if self.fault else told


class Journal:
    """The requests, in the order in which they came."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._asked: list[Asked] = []

    def now(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._begun

    def begin(self, asked: Asked) -> None:
        asked.at = self.now()
        self._asked.append(asked)

    @property
    def requests(self) -> Sequence[Asked]:
        """As they are now; a silence that goes on counts up to now."""
        return tuple(self._now(asked) for asked in tuple(self._asked))

    def _now(self, asked: Asked) -> Asked:
        # Of a client that left it may take a moment until the server knows.
        since = asked.silent_since
        silence = 0.0 if since is None else self.now() - since
        return replace(asked, waited=max(asked.waited, silence))


def shown_headers(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by name; of those that are not known to be harmless, only that they were sent."""
    found = {}
    for key, value in headers:
        name = key.decode("latin-1").lower()
        harmless = name in _SHOWN or name.startswith(_SHOWN_PREFIX)
        found[name] = value.decode("latin-1") if harmless else _HIDDEN
    return found
