"""Our own servers, whole and broken, and what the checks say of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

import anyio

from llmount import EchoBackend, ai_app, chat_app, generate_app
from llmount.check.detect import capabilities, models
from llmount.check.probe import Session
from llmount.check.run import make, select
from llmount.check.served import served
from llmount.check.target import Target
from llmount.check.tolerance import tolerant
from llmount.check.verdict import Result, Verdict
from llmount.contract import Contract

__all__ = ["KEY", "OWN", "App", "checked", "failed", "told"]

KEY = "sk-good"
App: TypeAlias = Callable[..., Awaitable[None]]


def _chat(dialect: str) -> App:
    return chat_app(EchoBackend(), dialect=dialect)


OWN: Mapping[str, Callable[[], App]] = {
    "ai/geenii": lambda: ai_app({"echo": EchoBackend()}),
    "chat/azure": lambda: _chat("azure"),
    "chat/codeinferflow": lambda: _chat("codeinferflow"),
    "chat/ktransformers": lambda: _chat("ktransformers"),
    "chat/openai": lambda: _chat("openai"),
    "chat/responses": lambda: _chat("responses"),
    "generate/ajstudioz": lambda: generate_app(EchoBackend(), dialect="ajstudioz", keys=[KEY]),
    "generate/codeinferflow": lambda: generate_app(EchoBackend(), dialect="codeinferflow"),
    "generate/ktransformers": lambda: generate_app(EchoBackend(), dialect="ktransformers"),
    "generate/ollama": lambda: generate_app(EchoBackend()),
}
"""An app of ours for each document, at the root."""


async def checked(
    app: App,
    contract: str,
    *only: str,
    skip: tuple[str, ...] = (),
    model: str = "",
    keyless: bool = False,
) -> list[Result]:
    """The results of the checks of an app."""
    headers = {} if keyless else {"authorization": f"Bearer {KEY}"}
    with served(app) as url:
        async with Target(url, headers=headers, timeout=20) as target:
            model = model or ("echo:echo" if contract == "ai/geenii" else "echo")
            session = Session(
                target,
                Contract.load(contract),
                tolerant(contract),
                "",
                model,
                models=tuple(await models(target, contract, "")),
                capabilities=await capabilities(target, contract, "", model),
            )
            with anyio.fail_after(60):
                return await make(session, select(contract, only, skip))


def failed(results: list[Result]) -> list[str]:
    """The ids of the checks that found something."""
    return [r.check for r in results if r.verdict in (Verdict.FAIL, Verdict.WARN)]


def told(results: list[Result]) -> list[str]:
    """What was found, and why checks were not made, for people."""
    return [
        f"{r.verdict} {r.key} {r.reason} {'; '.join(f.message for f in r.findings)}"
        for r in results
        if r.verdict is not Verdict.PASS
    ]


Edit: TypeAlias = Callable[[bytes], bytes]


def edited(app: App, edit: Edit) -> App:
    """The app with the bodies of its answers changed, piece by piece; no lengths are told."""

    async def broken(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        async def sent(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                heads = [each for each in message["headers"] if each[0] != b"content-length"]
                message = {**message, "headers": heads}
            elif message.get("body"):
                message = {**message, "body": edit(message["body"])}
            await send(message)

        await app(scope, receive, sent)

    return broken
