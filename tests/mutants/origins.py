"""Our own servers, that the mutants are made of."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Final

import anyio

from llmount import EchoBackend, gateway
from llmount.backends.echo import Step, echo, tokens
from llmount.contract import Contract
from llmount.types import Event, Finish, Model, Prompt, TextDelta, TextPart, Usage
from tests import documented

from .exchange import ASGI

__all__ = ["KEY", "keyed", "model_of", "mount_of", "standing"]

KEY: Final = "the-key-of-the-tester"

_ALWAYS_KEYED = frozenset({"generate/ajstudioz"})
"""Contracts whose documents demand keys."""


def standing(contract: str, kind: str) -> ASGI:
    """One of our servers, without a defect, mounted where its document says.

    kind: "plain"; "keyed", which wants `KEY`; "thinking", whose model thinks; "calling", whose
    model calls every tool that it is offered; "random", which is random where no seed is
    given; "slow", which takes its time and does one thing at once.
    """
    models = documented.named(contract)
    backend = {
        "random": lambda: EchoBackend(_random, models=models),
        "calling": lambda: EchoBackend(_call, models=models),
        "thinking": lambda: EchoBackend(_talk, models=[_THINKER]),
        "slow": _Slow,
    }.get(kind, lambda: EchoBackend(_talk, models=models))()
    options = {"keys": {"tester": KEY}} if keyed(contract, kind) else {}
    return gateway({mount_of(contract): documented.app(contract, backend, **options)})


def keyed(contract: str, kind: str) -> bool:
    return kind == "keyed" or contract in _ALWAYS_KEYED


def model_of(contract: str) -> str:
    return "mine:echo" if contract == "ai/geenii" else "echo"


def mount_of(contract: str) -> str:
    """Where the document says that its API stands."""
    address: str = Contract.load(contract).document["servers"][0]["url"]
    return address.rstrip("/")


_THINKER = Model(
    name="echo",
    context_length=4096,
    embedding_length=64,
    capabilities=frozenset({"completion", "tools", "insert", "vision", "thinking"}),
)


def _talk(prompt: Prompt) -> Iterator[Step]:
    """An echo that says it again and again, so that limits and stop sequences cut something."""
    if prompt.format is not None or not (prompt.text or prompt.messages):
        yield from echo(prompt)
        return
    asked = prompt.text or prompt.messages[-1].text
    again = f" {asked}" * (_LONG // max(len(tokens(asked)), 1))
    if prompt.text:
        longer = replace(prompt, text=prompt.text + again)
    else:
        *earlier, last = prompt.messages
        last = replace(last, parts=(*last.parts, TextPart(again)))
        longer = replace(prompt, messages=(*earlier, last))
    for step in echo(longer):
        if isinstance(step, Finish):
            usage = replace(step.usage, prompt=step.usage.prompt - len(tokens(again)))
            step = replace(step, usage=usage)
        yield step


def _call(prompt: Prompt) -> Iterator[Step]:
    """As `_talk`, but a tool that is offered is called."""
    if prompt.tools and prompt.tool_choice == "auto":
        prompt = replace(prompt, tool_choice=prompt.tools[0].name)
    return _talk(prompt)


_LONG = 40
"""Words that an answer has, at least."""


def _random(prompt: Prompt) -> Iterator[Step]:
    """An echo whose words are shuffled at a high temperature."""
    sampling = prompt.sampling
    if not sampling.temperature or prompt.tools or prompt.format or prompt.logprobs is not None:
        yield from echo(prompt)
        return
    said = tokens(prompt.text or (prompt.messages[-1].text if prompt.messages else ""))
    random.Random(sampling.seed).shuffle(said)
    limit = sampling.max_tokens
    asked = len(said)
    cut = limit is not None and 0 <= limit < asked
    said = said[:limit] if cut else said
    yield from map(TextDelta, said)
    usage = Usage(prompt=asked, completion=len(said))
    yield Finish(reason="length" if cut else "stop", usage=usage)


class _Slow(EchoBackend):
    """An echo that speaks on until its limit, a word every so often, to one at once."""

    def __init__(self) -> None:
        super().__init__(_words)
        self._place = anyio.Semaphore(1)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        await self._place.acquire()
        try:
            async with aclosing(super().generate(prompt)) as events:
                async for event in events:
                    if not isinstance(event, Finish):
                        await anyio.sleep(_PAUSE)
                    yield event
        finally:
            self._place.release()


_PAUSE = 0.03
_MOST = 400


def _words(prompt: Prompt) -> Iterator[Step]:
    if prompt.tools or prompt.format or prompt.logprobs is not None or prompt.sampling.stop:
        yield from echo(prompt)
        return
    limit = prompt.sampling.max_tokens
    count = _MOST if limit is None or limit < 0 else min(limit, _MOST)
    asked = sum(len(tokens(message.text)) for message in prompt.messages) or 1
    yield from (TextDelta(f" word{number}") for number in range(count))
    yield Finish(reason="length", usage=Usage(prompt=asked, completion=count))
