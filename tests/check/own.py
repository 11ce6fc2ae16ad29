"""Our own servers, whole and broken, and what the checks say of them."""

from __future__ import annotations

import atexit
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, TypeAlias

import anyio

from llmount import (
    EchoBackend,
    ScriptedImageBackend,
    ScriptedSpeechBackend,
    ScriptedTranscriptionBackend,
    ai_app,
    chat_app,
    generate_app,
)
from llmount.backends.echo import Step, echo
from llmount.check.detect import capabilities, models
from llmount.check.probe import Session
from llmount.check.run import make, select
from llmount.check.served import served
from llmount.check.target import Target
from llmount.check.tolerance import tolerant
from llmount.check.verdict import Result, Verdict
from llmount.contract import Contract
from llmount.types import Prompt

__all__ = ["CALLING", "KEY", "OWN", "App", "checked", "edited", "failed", "staged", "told"]

KEY = "sk-good"
App: TypeAlias = Callable[..., Awaitable[None]]


def _chat(dialect: str) -> App:
    return chat_app(EchoBackend(), dialect=dialect)


OWN: Mapping[str, Callable[[], App]] = {
    "ai/geenii": lambda: ai_app(
        {"echo": EchoBackend()},
        images={"easel": ScriptedImageBackend(["easel"])},
        speech={"tones": ScriptedSpeechBackend(["tones"])},
        transcription={
            "tones": ScriptedTranscriptionBackend(
                ["tones"], translations={"de": {"Hello.": "Hallo."}}
            )
        },
    ),
    "chat/azure": lambda: _chat("azure"),
    "chat/codeinferflow": lambda: _chat("codeinferflow"),
    "chat/ktransformers": lambda: _chat("ktransformers"),
    "chat/openai": lambda: chat_app(EchoBackend(), images=ScriptedImageBackend(["easel"])),
    "chat/responses": lambda: _chat("responses"),
    "generate/ajstudioz": lambda: generate_app(EchoBackend(), dialect="ajstudioz", keys=[KEY]),
    "generate/codeinferflow": lambda: generate_app(EchoBackend(), dialect="codeinferflow"),
    "generate/ktransformers": lambda: generate_app(EchoBackend(), dialect="ktransformers"),
    "generate/ollama": lambda: generate_app(EchoBackend()),
}
"""An app of ours for each document, at the root."""


def _calls(prompt: Prompt) -> Iterator[Step]:
    if prompt.tools and prompt.tool_choice == "auto":
        prompt = replace(prompt, tool_choice=prompt.tools[0].name)
    return echo(prompt)


CALLING: Mapping[str, Callable[[], App]] = {
    "chat/openai": lambda: chat_app(EchoBackend(_calls)),
    "chat/responses": lambda: chat_app(EchoBackend(_calls), dialect="responses"),
    "generate/ajstudioz": lambda: generate_app(
        EchoBackend(_calls), dialect="ajstudioz", keys=[KEY]
    ),
    "generate/ollama": lambda: generate_app(EchoBackend(_calls)),
}
"""Apps whose model calls every tool that it is offered, for documents that have tools."""


class _Stage:
    """A server whose app changes, since to start one takes longer than most checks."""

    app: App

    def __init__(self) -> None:
        async def on_stage(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                await self.app(scope, receive, send)

        stack = ExitStack()
        self.url = stack.enter_context(served(on_stage, lifespan="off"))
        atexit.register(stack.close)


_stage = cache(_Stage)


@contextmanager
def staged(app: App) -> Iterator[str]:
    """The URL of a server of the app, for as long as the block lasts."""
    stage = _stage()
    stage.app = app
    yield stage.url


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
    with staged(app) as url:
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
