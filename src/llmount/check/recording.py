"""One exchange with a server, as it went: what was sent, what came back, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..jsontext import loads
from ..types import JSON

__all__ = ["Item", "Recording"]


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a stream. at: seconds since the request was sent."""

    value: JSON
    at: float


@dataclass(slots=True, kw_only=True)
class Recording:
    """A request and what came of it.

    url: whole. headers: as sent, secrets masked. body: as sent. status: None if no answer
    began. content: the answer's body, as far as it was kept. items: of a stream. fault: what
    is wrong with the transport or the framing, such as a connection that was cut.
    began, ended: seconds from the request to the status line, and to the end. reads: of
    each piece as it came, when and how many bytes. left_out: of a field, how much a report
    does not keep: bytes or elements.
    """

    method: str
    url: str
    headers: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    status: int | None = None
    response_headers: Sequence[tuple[str, str]] = ()
    content: bytes = b""
    items: list[Item] = field(default_factory=list)
    fault: str = ""
    began: float = 0.0
    ended: float = 0.0
    reads: list[tuple[float, int]] = field(default_factory=list)
    left_out: Mapping[str, int] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """The first of this name in the answer; "" without one."""
        for key, value in self.response_headers:
            if key.lower() == name:
                return value
        return ""

    @property
    def media_type(self) -> str:
        return self.header("content-type")

    @property
    def values(self) -> list[JSON]:
        """The items of a stream."""
        return [item.value for item in self.items]

    @property
    def json(self) -> JSON:
        """The answer's body. Raises ValueError if it is not JSON."""
        return loads(self.content.decode())

    @property
    def answer(self) -> JSON:
        """The answer's body, None if it is not JSON."""
        try:
            return self.json
        except ValueError:
            return None

    @property
    def sent(self) -> JSON:
        """The request's body, None if it is not JSON."""
        try:
            return None if self.body is None else loads(self.body.decode())
        except ValueError:
            return None
