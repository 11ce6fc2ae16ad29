"""Our own app over a model that takes its time, as real ones do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any

import anyio

from llmount import chat_app
from llmount.backends.function import FunctionBackend
from llmount.types import Event, Prompt

from .own import App

__all__ = ["deaf", "gathering", "slow", "wrapped"]

Message = MutableMapping[str, Any]


def slow(dialect: str = "responses", *, step: float = 0.01, tokens: int = 4000) -> App:
    """An app whose model writes one answer at a time, a token each `step` seconds."""
    place: list[anyio.Semaphore] = []

    async def write(prompt: Prompt) -> AsyncGenerator[str | Event, None]:
        if not place:
            place.append(anyio.Semaphore(1))
        async with place[0]:
            for number in range(min(prompt.sampling.max_tokens or tokens, tokens)):
                await anyio.sleep(step)
                yield f"{number} "

    return chat_app(FunctionBackend(write, ["echo"]), dialect=dialect)


def wrapped(
    app: App,
    *,
    receiving: Callable[[Callable[[], Awaitable[Message]]], Awaitable[Message]] | None = None,
    before: Callable[[MutableMapping[str, Any], bytes], tuple[int, bytes] | None] | None = None,
) -> App:
    """The app with another way to receive, or another answer of JSON to some requests: by
    their scope and body."""

    async def broken(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        waiting: list[Message] = []
        if before is not None and scope["type"] == "http":
            body, more = b"", True
            while more:
                message = await receive()
                waiting.append(message)
                body += message.get("body", b"")
                more = message.get("more_body", False)
            if (answer := before(scope, body)) is not None:
                status, content = answer
                heads = [(b"content-type", b"application/json")]
                await send({"type": "http.response.start", "status": status, "headers": heads})
                await send({"type": "http.response.body", "body": content})
                return

        async def received() -> Message:
            if waiting:
                return waiting.pop(0)
            message: Message = await (receiving(receive) if receiving else receive())
            return message

        await app(scope, received, send)

    return broken


def deaf(app: App) -> App:
    """The app that never hears that a client has left."""

    async def receiving(receive: Callable[[], Awaitable[Message]]) -> Message:
        message = await receive()
        if message["type"] == "http.disconnect":
            await anyio.sleep_forever()
        return message

    return wrapped(app, receiving=receiving)


def gathering(app: App) -> App:
    """The app whose answers are gathered, and sent in many pieces at their end."""

    async def broken(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        kept: list[Message] = []

        async def sent(message: Message) -> None:
            kept.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                for each in kept:
                    await send(each)

        await app(scope, receive, sent)

    return broken
