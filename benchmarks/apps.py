"""The two applications of the comparison: llmount over an echo, and its bare counterpart.

A server imports `llmount_app`, or calls `bare_app` as a factory.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

from workloads import LONG, SHORT, WORKLOADS, Workload

from llmount.app import ai_app, chat_app, gateway, generate_app
from llmount.backends.echo import EchoBackend, tokens
from llmount.contract import Contract
from llmount.types import Event, Finish, Prompt, TextDelta, Usage

__all__ = ["bare_app", "llmount_app"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

_SHORT, _LONG = (tuple(TextDelta(token) for token in tokens(text)) for text in (SHORT, LONG))
_USAGE = Usage(prompt=9, completion=9)


def _script(prompt: Prompt) -> Iterable[Event]:
    """Events that are ready, so that the layer is measured and not who answers."""
    long = prompt.messages[-1].text == LONG
    return (*(_LONG if long else _SHORT), Finish(usage=_USAGE))


_echo = EchoBackend(_script)
llmount_app = gateway(
    {"/api": generate_app(_echo), "/v1": chat_app(_echo), "/ai/v1": ai_app({"echo": _echo})}
)


def bare_app() -> ASGIApp:
    """The least that a server of these documents does, and no framework.

    It reads the body, decodes it, validates it with the schema of the same document by
    the same library, and sends what llmount sent for the same request: its messages,
    header by header and byte by byte, recorded at the first request.
    """
    validators: dict[str, Callable[[Any], bool]] = {}
    streamed_by_default: set[str] = set()
    for workload in WORKLOADS:
        operation = Contract.load(workload.document).operations[workload.operation]
        assert operation.body is not None
        validators[workload.path] = operation.body.is_valid
        if dict(operation.defaults).get("stream"):
            streamed_by_default.add(workload.path)
    recorded: dict[tuple[str, bool], list[Message]] = {}

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        content = b""
        while True:
            message = await receive()
            content += message["body"]
            if not message["more_body"]:
                break
        path = scope["path"]
        body = json.loads(content)
        if not validators[path](body):
            await send({"type": "http.response.start", "status": 400, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        stream = body.get("stream", path in streamed_by_default)
        if not recorded:
            for each in WORKLOADS:
                recorded[each.path, each.stream] = await _record(each)
        for message in recorded[path, stream]:
            await send(message)

    return app


async def _record(workload: Workload) -> list[Message]:
    requests: list[Message] = [
        {"type": "http.request", "body": workload.content, "more_body": False}
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        if not requests:
            await asyncio.Event().wait()
        return requests.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": workload.path,
        "headers": [(b"content-type", b"application/json")],
    }
    await llmount_app(scope, receive, send)
    assert sent[0]["status"] == 200, sent
    return sent
