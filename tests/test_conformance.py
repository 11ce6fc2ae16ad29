"""The check of backends: it passes ours, and it finds what is wrong with bad ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import anyio
import pytest

from llmount import EchoBackend, FunctionBackend, RoutingBackend
from llmount.errors import BackendError
from llmount.testing.conformance import check_backend
from llmount.types import Event, Finish, Model, Prompt, TextDelta, ToolCallDelta, Usage

pytestmark = pytest.mark.anyio


async def _speak(prompt: Prompt) -> AsyncGenerator[str | Event, None]:
    yield "one "
    yield "two"


@pytest.mark.parametrize(
    "backend",
    [
        EchoBackend(),
        EchoBackend([ToolCallDelta(0, "a", "f"), ToolCallDelta(0, arguments="{}")]),
        FunctionBackend(_speak, ["speak"]),
        RoutingBackend({"e": FunctionBackend(_speak, ["e"])}),
    ],
    ids=["echo", "echo with a tool call", "function", "routing"],
)
async def test_our_own_backends_keep_the_contract(backend: EchoBackend) -> None:
    assert await check_backend(backend, timeout=5) == []


class _Bad:
    """A backend that does one thing wrong, told by the name of a method."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    async def models(self) -> Sequence[Model]:
        return (
            [] if self.fault == "none" else [Model(name="m")] * (2 if self.fault == "twice" else 1)
        )

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        if prompt.model != "m" and self.fault != "any name":
            raise BackendError if self.fault == "wrong error" else _not_found(prompt.model)
        if self.fault == "early finish":
            yield Finish(usage=Usage(completion=1))
        if self.fault == "no event":
            yield "text"  # type: ignore[misc]
        if self.fault == "call":
            yield ToolCallDelta(1, "a", "f", "{}")
        if self.fault == "arguments":
            yield ToolCallDelta(0, "a", "f", "[]")
        if self.fault == "hangs":
            await anyio.sleep_forever()
        yield TextDelta("one")
        if self.fault != "no finish":
            count = {"negative": -1, "uncounted": 0}.get(self.fault, 1)
            yield Finish(usage=Usage(completion=count))


def _not_found(model: str) -> Exception:
    from llmount.errors import ModelNotFound

    return ModelNotFound(model)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("none", "lists no model"),
        ("twice", "two models have one name"),
        ("any name", "it answered"),
        ("wrong error", "raised BackendError"),
        ("early finish", "Finish came 2 times"),
        ("no finish", "Finish came 0 times"),
        ("no event", "which is no event"),
        ("call", "call 1 came after 0 calls"),
        ("arguments", "are not an object"),
        ("negative", "negative"),
        ("uncounted", "counted no token"),
        ("hangs", "not done after"),
    ],
)
async def test_a_backend_that_breaks_a_promise_is_told_so(fault: str, told: str) -> None:
    problems = await check_backend(_Bad(fault), timeout=0.5)

    assert any(told in str(problem) for problem in problems), problems


async def test_a_coroutine_function_is_told_to_yield() -> None:
    class Coroutine(_Bad):
        async def generate(self, prompt: Prompt) -> list[Event]:  # type: ignore[override]
            return []

    problems = await check_backend(Coroutine(""), timeout=1)

    assert any("write `yield`" in problem.what for problem in problems)
