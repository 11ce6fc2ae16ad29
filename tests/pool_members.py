"""Members for pools under test: backends that fail as they are told, and a time of their own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel

from llmount.backends.pool import Circuit, Member, PoolBackend, Waiting
from llmount.errors import ModelNotFound
from llmount.types import Event, Finish, Message, Model, Prompt, TextDelta, TextPart

PROMPT = Prompt(model="m", messages=(Message("user", (TextPart("Hello"),)),))


@dataclass(eq=False)
class Scripted:
    """Answers each request with the next of its scripts, the last one again and again.

    A script is events and, among them, errors to raise and events of anyio to wait for.
    """

    name: str
    scripts: Sequence[Sequence[Any]] = ((),)
    has: Sequence[str] = ("m",)
    asked: list[str] = field(default_factory=list)
    busy: int = 0
    most: int = 0

    def __repr__(self) -> str:
        return self.name

    async def models(self) -> Sequence[Model]:
        return [Model(name=each, owner=self.name) for each in self.has]

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        script = self.scripts[min(len(self.asked), len(self.scripts) - 1)]
        self.asked.append(prompt.model)
        if prompt.model not in self.has:
            raise ModelNotFound(prompt.model)
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            await anyio.lowlevel.checkpoint()
            for step in script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, anyio.Event):
                    await step.wait()
                else:
                    yield step
            yield TextDelta(self.name)
            yield Finish()
        finally:
            self.busy -= 1


@dataclass
class Time:
    """A clock that only sleeping moves on, and what was slept."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await anyio.lowlevel.checkpoint()


def pool(*members: Any, time: Time | None = None, **options: Any) -> PoolBackend:
    """A pool whose waits take no time, and are as long as chance allows."""
    time = time or Time()
    return PoolBackend(
        [each if isinstance(each, Member) else Member(each) for each in members],
        clock=time.clock,
        waiting=Waiting(sleep=time.sleep, chance=lambda: 0.0),
        **options,
    )


NEVER_OPEN = Circuit(failures=1_000_000)


async def ask(backend: Any, prompt: Prompt = PROMPT) -> list[Event]:
    async with aclosing(backend.generate(prompt)) as events:
        return [event async for event in events]


async def who_answers(backend: Any, prompt: Prompt = PROMPT) -> str:
    """What the answer says, which is the name of the member that gave it."""
    return "".join(e.text for e in await ask(backend, prompt) if isinstance(e, TextDelta))
