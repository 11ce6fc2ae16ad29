"""A cassette: exchanges with a real server, each piece of an answer as it came and when.

One JSON value a line: first what the file is, then an exchange each.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from ..jsontext import dumps
from ..types import JSON

__all__ = ["Cassette", "CassetteError", "Exchange", "Miss", "Piece"]

VERSION: Final = 1
_KEY: Final = "llmount-cassette"


class CassetteError(ValueError):
    """A file that is no cassette; the text says why."""


class Miss(LookupError):
    """A request that is not on the cassette; the text says what is."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a body, as it was read. at: seconds since the request was passed on."""

    at: float
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request and its answer.

    path: with the query, in which secrets are masked. body: as sent. headers: of the answer.
    began, ended: seconds from the request to the status line, and to the end. end: "cut" if
    the connection was; "left" if the client had enough.
    """

    method: str
    path: str
    body: bytes = b""
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    began: float = 0.0
    ended: float = 0.0
    pieces: Sequence[Piece] = ()
    end: Literal["complete", "cut", "left"] = "complete"

    @property
    def content(self) -> bytes:
        return b"".join(piece.data for piece in self.pieces)

    @property
    def question(self) -> tuple[str, str, str]:
        """What has to be the same for it to answer a request: bodies of JSON may differ in
        the order of their keys, and in white space."""
        return self.method, self.path, _normal_body(self.body)


@dataclass(slots=True)
class Cassette:
    """Exchanges in their order. Of those with the same question each is played once, the last
    one again and again."""

    exchanges: list[Exchange] = field(default_factory=list)
    _played: dict[tuple[str, str, str], int] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Cassette:
        """Raises `CassetteError`."""
        try:
            head, *rest = file.read_text(encoding="utf-8").split("\n")
            if json.loads(head).get(_KEY) != VERSION:
                raise ValueError(f"its first line is not {{{_KEY!r}: {VERSION}}}")
            return cls([_exchange(json.loads(line)) for line in rest if line.strip()])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CassetteError(f"{file} is no cassette: {error}") from error

    def write(self, file: Path) -> None:
        """Raises OSError."""
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [dumps({_KEY: VERSION}), *(dumps(_value(each)) for each in self.exchanges)]
        # Beside the old one, which is whole until the new one is.
        new = file.with_name(f"{file.name}.new")
        new.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        new.replace(file)

    def play(self, asked: Exchange) -> Exchange:
        """The exchange with the answer to this question. Raises `Miss`."""
        question = asked.question
        fitting = [each for each in self.exchanges if each.question == question]
        if not fitting:
            raise Miss(self._told(asked))
        count = self._played.get(question, 0)
        self._played[question] = count + 1
        return fitting[min(count, len(fitting) - 1)]

    def _told(self, asked: Exchange) -> str:
        method, path, body = asked.question
        near = [each for each in self.exchanges if each.question[:2] == (method, path)]
        told = f"{method} {path} is not on the cassette"
        if near:
            bodies = " or ".join(_short(each.question[2]) for each in near[:3])
            return f"{told} with the body {_short(body)}, but with {bodies}"
        known = sorted({f"{each.method} {each.path}" for each in self.exchanges})
        return f"{told}, which has {', '.join(known) or 'nothing'}"


def _normal_body(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), sort_keys=True, ensure_ascii=False)
    except ValueError:
        return body.decode("utf-8", "backslashreplace")


def _short(text: str, most: int = 300) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


# As JSON


def _value(exchange: Exchange) -> JSON:
    return {
        "request": {
            "method": exchange.method,
            "path": exchange.path,
            "body": _shown(exchange.body),
        },
        "response": {
            "status": exchange.status,
            "headers": [list(header) for header in exchange.headers],
            "began": round(exchange.began, 6),
            "ended": round(exchange.ended, 6),
            "end": exchange.end,
            "pieces": [[round(piece.at, 6), _shown(piece.data)] for piece in exchange.pieces],
        },
    }


def _exchange(value: Mapping[str, Any]) -> Exchange:
    request, response = value["request"], value["response"]
    return Exchange(
        method=request["method"],
        path=request["path"],
        body=_bytes(request["body"]),
        status=response["status"],
        headers=[(name, each) for name, each in response["headers"]],
        began=response["began"],
        ended=response["ended"],
        end=response["end"],
        pieces=[Piece(at, _bytes(data)) for at, data in response["pieces"]],
    )


def _shown(data: bytes) -> JSON:
    """Text as it is, other bytes in base64."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _bytes(shown: JSON) -> bytes:
    return shown.encode() if isinstance(shown, str) else base64.b64decode(shown["base64"])
