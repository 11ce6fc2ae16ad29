"""Changing what an app is asked and what it answers, one exchange at a time."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from llmount.framing import FRAMINGS, Framing
from llmount.jsontext import dumps, dumps_bytes, loads
from llmount.types import JSON

__all__ = [
    "ASGI",
    "Answer",
    "Change",
    "Question",
    "Stage",
    "answers",
    "both",
    "frames",
    "items",
    "questions",
    "refusals",
    "refused",
    "stream_text",
    "whole",
]

T = TypeVar("T")
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGI: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


@dataclass(slots=True)
class Question:
    """A request, to be changed in place."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> JSON:
        """None for a body that is not JSON."""
        try:
            return loads(self.body.decode())
        except ValueError:
            return None


@dataclass(slots=True)
class Answer:
    """An answer, to be changed in place. frames: its body, in the pieces that it is sent in."""

    question: Question
    status: int
    headers: dict[str, str]
    frames: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(self.frames)

    @body.setter
    def body(self, body: bytes) -> None:
        self.frames = [body]

    @property
    def framing(self) -> Framing | None:
        """None for an answer that is no stream."""
        return FRAMINGS.get(self.headers.get("content-type", "").partition(";")[0])


@dataclass(slots=True)
class Stage:
    """An app under change. on: a pattern of the paths below its mount whose exchanges are
    changed. touched: something was. errors: of changes that failed, which says nothing about
    the tester."""

    app: ASGI
    mount: str
    on: str
    touched: bool = False
    errors: list[Exception] = field(default_factory=list)

    def is_on(self, scope: MutableMapping[str, Any]) -> bool:
        if scope["type"] != "http":
            return False
        return re.fullmatch(re.escape(self.mount) + self.on, scope["path"]) is not None

    def make(self, edit: Callable[[T], None], value: T) -> None:
        """Change a value in place."""
        try:
            edit(value)
        except Exception as error:
            self.errors.append(error)
            raise


Change: TypeAlias = Callable[[Stage], ASGI]
"""What makes a broken app of an app, and marks the stage once it has changed something."""


# Any exchange


def questions(edit: Callable[[Question], None]) -> Change:
    """Change requests before the app reads them."""

    def change(stage: Stage) -> ASGI:
        async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
            if not stage.is_on(scope):
                await stage.app(scope, receive, send)
                return
            body = b""
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
            question = _question(scope, body)
            stage.make(edit, question)
            stage.touched |= question != _question(scope, body)
            question.headers["content-length"] = str(len(question.body))
            changed = {**scope, "method": question.method, "headers": _encoded(question.headers)}
            rest = [{"type": "http.request", "body": question.body, "more_body": False}]

            async def replayed() -> Message:
                return rest.pop() if rest else await receive()

            await stage.app(changed, replayed, send)

        return app

    return change


def answers(edit: Callable[[Answer], None]) -> Change:
    """Change answers before they are sent, each as a whole."""

    def change(stage: Stage) -> ASGI:
        async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
            if not stage.is_on(scope):
                await stage.app(scope, receive, send)
                return
            read: list[bytes] = []
            sent: list[Message] = []

            async def reading() -> Message:
                message = await receive()
                read.append(message.get("body", b""))
                return message

            async def keep(message: Message) -> None:
                sent.append(message)

            await stage.app(scope, reading, keep)
            if not sent:
                return
            start, *pieces = sent
            before = [piece["body"] for piece in pieces if piece.get("body")]
            headers = {key.decode(): value.decode() for key, value in start["headers"]}
            question = _question(scope, b"".join(read))
            answer = Answer(question, start["status"], dict(headers), list(before))
            if answer.framing is not None:
                answer.frames = _FRAME[answer.framing.media_type].findall(answer.body)
            stage.make(edit, answer)
            after = (answer.status, answer.headers, answer.body)
            stage.touched |= after != (start["status"], headers, b"".join(before))
            await _send(answer, send)

        return app

    return change


_FRAME = {
    "application/x-ndjson": re.compile(rb"[^\n]*\n"),
    "text/event-stream": re.compile(rb"(?:[^\n]+\n)+\n"),
}
"""A frame as our apps write it."""


async def _send(answer: Answer, send: Send) -> None:
    if "content-length" in answer.headers:
        answer.headers["content-length"] = str(len(answer.body))
    start = {"status": answer.status, "headers": _encoded(answer.headers)}
    await send({"type": "http.response.start", **start})
    for frame in answer.frames:
        await send({"type": "http.response.body", "body": frame, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _question(scope: MutableMapping[str, Any], body: bytes) -> Question:
    headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
    return Question(scope["method"], scope["path"], headers, body)


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(key.encode("latin-1"), value.encode("latin-1")) for key, value in headers.items()]


# Those of one kind


def whole(edit: Callable[[JSON], JSON]) -> Change:
    """Change the JSON of answers with status 200 that are no streams."""

    def change(answer: Answer) -> None:
        if answer.status == 200 and answer.framing is None and answer.body:
            answer.body = dumps_bytes(edit(loads(answer.body.decode())))

    return answers(change)


def items(edit: Callable[[list[JSON]], list[JSON]]) -> Change:
    """Change what the items of streams say: a line's value; an event's data, as JSON or, if
    it is none, as text. Events that have names are named after their types."""

    def change(answer: Answer) -> None:
        if answer.status == 200 and answer.framing is not None:
            _restream(answer, answer.framing, edit)

    return answers(change)


def both(edit: Callable[[JSON], JSON]) -> Change:
    """Change whole answers and every item of streams that is JSON, alike."""

    def change(answer: Answer) -> None:
        if answer.status != 200 or not answer.body:
            return
        if answer.framing is None:
            answer.body = dumps_bytes(edit(loads(answer.body.decode())))
        else:
            _restream(answer, answer.framing, each(edit))

    return answers(change)


def each(edit: Callable[[JSON], JSON]) -> Callable[[list[JSON]], list[JSON]]:
    """For `items`: change every one that is JSON."""
    return lambda said: [item if isinstance(item, str) else edit(item) for item in said]


def frames(edit: Callable[[list[bytes]], list[bytes]]) -> Change:
    """Change the frames of streams."""

    def change(answer: Answer) -> None:
        if answer.status == 200 and answer.framing is not None:
            answer.frames = edit(answer.frames)

    return answers(change)


def refusals(edit: Callable[[Answer], None]) -> Change:
    """Change answers with a status of 400 or more."""

    def change(answer: Answer) -> None:
        if answer.status >= 400:
            edit(answer)

    return answers(change)


def refused(edit: Callable[[JSON], JSON]) -> Change:
    """Change the JSON of refusals."""

    def change(answer: Answer) -> None:
        if "json" in answer.headers.get("content-type", ""):
            answer.body = dumps_bytes(edit(loads(answer.body.decode())))

    return refusals(change)


def stream_text(framing: Framing, said: list[JSON], *, named: bool) -> list[bytes]:
    """The frames of items."""
    if framing.media_type != "text/event-stream":
        return [framing.encode(item) for item in said]
    found = []
    for item in said:
        event = {"data": item if isinstance(item, str) else dumps(item)}
        if named:
            event["event"] = "done" if isinstance(item, str) else item["type"]
        found.append(framing.encode(event))
    return found


def _restream(answer: Answer, framing: Framing, edit: Callable[[list[JSON]], list[JSON]]) -> None:
    decoder = framing.decoder()
    read = decoder.feed(answer.body) + decoder.close()
    if framing.media_type != "text/event-stream":
        answer.frames = stream_text(framing, edit(read), named=False)
        return
    said = [event["data"] if event["data"] == "[DONE]" else loads(event["data"]) for event in read]
    named = any("type" in item for item in said if not isinstance(item, str))
    answer.frames = stream_text(framing, edit(said), named=named)
