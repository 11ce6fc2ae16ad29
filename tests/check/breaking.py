"""Apps made wrong: what one of ours answers, changed before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from llmount.contract import essence
from llmount.framing import FRAMINGS, framing_of
from llmount.jsontext import dumps, dumps_bytes, loads

from .own import App

__all__ = ["Answer", "Edit", "altered", "each", "items", "refusal", "whole"]


class Answer:
    """What an app answered, to be changed.

    asked: the body of the request, None if it is not JSON. path, method: of the request.
    """

    def __init__(self, method: str, path: str, asked: Any) -> None:
        self.method, self.path, self.asked = method, path, asked
        self.status = 200
        self.headers: list[tuple[bytes, bytes]] = []
        self.content = b""

    @property
    def media(self) -> str:
        return dict(self.headers).get(b"content-type", b"").decode()

    @media.setter
    def media(self, name: str) -> None:
        kept = [each for each in self.headers if each[0] != b"content-type"]
        self.headers = [*kept, (b"content-type", name.encode())]


Edit: TypeAlias = Callable[[Answer], object]


def altered(app: App, edit: Edit) -> App:
    """The app, its answers gathered, changed and sent at once."""

    async def broken(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        read = bytearray()

        async def received() -> Any:
            message = await receive()
            read.extend(message.get("body", b""))
            return message

        answer = Answer(scope["method"], scope["path"], None)

        async def sent(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status, answer.headers = message["status"], list(message["headers"])
            else:
                answer.content += message.get("body", b"")

        await app(scope, received, sent)
        try:
            answer.asked = loads(bytes(read).decode())
        except ValueError:
            answer.asked = None
        edit(answer)
        heads = [pair for pair in answer.headers if pair[0] != b"content-length"]
        heads.append((b"content-length", str(len(answer.content)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": heads})
        await send({"type": "http.response.body", "body": answer.content})

    return broken


def whole(change: Callable[[Any], object]) -> Edit:
    """Change the JSON of answers of status 200; what the change cannot be made to stays."""

    def edit(answer: Answer) -> None:
        if answer.status == 200 and essence(answer.media) == "application/json":
            value = loads(answer.content.decode())
            if _made(change, value):
                answer.content = dumps_bytes(value)

    return edit


def items(change: Callable[[list[Any]], object]) -> Edit:
    """Change what the items of streams carry, as a list; `[DONE]` is a text there."""

    def edit(answer: Answer) -> None:
        if answer.status != 200 or essence(answer.media) not in FRAMINGS:
            return
        framing = framing_of(answer.media)
        decoder = framing.decoder()
        found = decoder.feed(answer.content) + decoder.close()
        events = framing.media_type == "text/event-stream"
        named = events and any("event" in each for each in found)
        values = [_carried(each) if events else each for each in found]
        if _made(change, values):
            frames = [_event(each, named) if events else each for each in values]
            answer.content = b"".join(map(framing.encode, frames))

    return edit


def each(change: Callable[[Any], object]) -> Edit:
    """Change every item of streams that is an object."""
    return items(lambda values: [_made(change, value) for value in values])


def refusal(change: Callable[[Answer], object]) -> Edit:
    """Change the answers that are refusals."""

    def edit(answer: Answer) -> None:
        if answer.status >= 400:
            change(answer)

    return edit


def _made(change: Callable[[Any], object], value: Any) -> bool:
    try:
        change(value)
    except (LookupError, TypeError, AttributeError):
        return False
    return True


def _carried(event: Mapping[str, Any]) -> Any:
    return event["data"] if event["data"] == "[DONE]" else loads(event["data"])


def _event(value: Any, named: bool) -> dict[str, Any]:
    if isinstance(value, str):
        return {"data": value}
    fields = dict(value.pop("_fields", {}))
    if named and "type" in value:
        fields.setdefault("event", value["type"])
    return {"data": dumps(value), **fields}
