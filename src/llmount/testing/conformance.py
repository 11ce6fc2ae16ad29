"""Whether a backend keeps its contract, told before its users find out."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

import anyio

from ..errors import ApiError, ModelNotFound
from ..jsontext import loads
from ..types import (
    Backend,
    Event,
    Finish,
    Message,
    Model,
    Prompt,
    ReasoningDelta,
    TextDelta,
    TextPart,
    ToolCallDelta,
)

__all__ = ["Problem", "check_backend"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken promise: which check found it, and what happened."""

    check: str
    what: str

    def __str__(self) -> str:
        return f"{self.check}: {self.what}"


class _Broken(Exception):
    """Raised by a check with what is wrong."""


async def check_backend(
    backend: Backend, *, model: str | None = None, timeout: float = 30.0
) -> list[Problem]:
    """What is wrong with the backend; an empty list if nothing was found.

    model: which one to ask, the first that it lists by default; it should answer a short
    question with more than one event. timeout: seconds for each check. Prompts are real:
    an engine computes, an upstream is called, about ten times.

        async def test_my_backend_keeps_the_contract():
            assert await check_backend(MyBackend()) == []
    """
    problems: list[Problem] = []
    name = model
    for check in _CHECKS:
        title = (check.__doc__ or "").strip().rstrip(".")
        try:
            with anyio.fail_after(timeout):
                if name is None:
                    name = (await _listed(backend))[0].name
                await check(backend, _prompt(name))
        except _Broken as broken:
            problems.append(Problem(title, str(broken)))
        except TimeoutError:
            problems.append(Problem(title, f"not done after {timeout:g} seconds"))
        except Exception as error:
            problems.append(Problem(title, f"raised {type(error).__name__}: {error}"))
        if name is None:
            break
    return problems


def _prompt(model: str) -> Prompt:
    return Prompt(
        model=model,
        messages=(Message("user", (TextPart("Count from one to five, in words."),)),),
    )


async def _listed(backend: Backend) -> list[Model]:
    models = list(await backend.models())
    if not models:
        raise _Broken("it lists no model")
    return models


async def _models(backend: Backend, prompt: Prompt) -> None:
    """models() lists models with names that differ"""
    models = await _listed(backend)
    for model in models:
        if not isinstance(model, Model):
            raise _Broken(f"it lists {type(model).__name__}, not Model")
    names = [model.name for model in models]
    if len(set(names)) != len(names):
        raise _Broken(f"two models have one name: {sorted(names)}")
    if prompt.model not in names:
        raise _Broken(f"{prompt.model!r} is asked for but not listed")


async def _generator(backend: Backend, prompt: Prompt) -> None:
    """generate() returns an async generator at once"""
    await _begin(backend, prompt).aclose()


def _begin(backend: Backend, prompt: Prompt) -> AsyncGenerator[Event, None]:
    events: object = backend.generate(prompt)
    if inspect.iscoroutine(events):
        events.close()
        raise _Broken("it is a coroutine function: write `yield`, not `return`")
    if not isinstance(events, AsyncGenerator):
        raise _Broken(f"it returned {type(events).__name__}, which has no aclose()")
    return events


async def _events(backend: Backend, prompt: Prompt) -> None:
    """an answer is events, and one Finish at its end"""
    events = await _collect(backend, prompt)
    for event in events:
        if not isinstance(event, (TextDelta, ReasoningDelta, ToolCallDelta, Finish)):
            raise _Broken(f"it yielded {type(event).__name__}, which is no event")
    finishes = [number for number, event in enumerate(events) if isinstance(event, Finish)]
    if finishes != [len(events) - 1]:
        raise _Broken(f"Finish came {len(finishes)} times, not once and last")
    for event in events:
        if isinstance(event, TextDelta) and not event.text.isascii():
            event.text.encode("utf-8")


async def _usage(backend: Backend, prompt: Prompt) -> None:
    """counts and times are not negative, and what was written is counted"""
    events = await _collect(backend, prompt)
    finish = events[-1]
    if not isinstance(finish, Finish):
        raise _Broken("there is no Finish")
    usage, timings = finish.usage, finish.timings
    counts = (usage.prompt, usage.completion, usage.cached, usage.reasoning)
    if min(*counts, timings.load, timings.prompt, timings.completion) < 0:
        raise _Broken(f"a count or a time is negative: {usage}, {timings}")
    if usage.cached > usage.prompt or usage.reasoning > usage.completion:
        raise _Broken(f"a part is more than the whole: {usage}")
    if len(events) > 1 and not usage.completion:
        raise _Broken("it wrote something, but counted no token of it")


async def _tool_calls(backend: Backend, prompt: Prompt) -> None:
    """tool calls are numbered from 0, named once, with arguments that are one object"""
    arguments: dict[int, str] = {}
    for event in await _collect(backend, prompt):
        if not isinstance(event, ToolCallDelta):
            continue
        if event.index not in arguments:
            if event.index != len(arguments):
                raise _Broken(f"call {event.index} came after {len(arguments)} calls")
            if not event.id or not event.name:
                raise _Broken("the first delta of a call lacks its id or its name")
        elif event.id or event.name:
            raise _Broken("a later delta of a call has its id or its name again")
        arguments[event.index] = arguments.get(event.index, "") + event.arguments
    for text in arguments.values():
        if not isinstance(loads(text), dict):
            raise _Broken(f"the arguments are not an object: {text[:80]}")


async def _unknown_model(backend: Backend, prompt: Prompt) -> None:
    """an unknown model raises ModelNotFound before the first event"""
    try:
        await _collect(backend, replace(prompt, model="no-such-model-anywhere"))
    except ModelNotFound:
        return
    except ApiError as error:
        raise _Broken(f"it raised {type(error).__name__}") from error
    raise _Broken("it answered")


async def _closing(backend: Backend, prompt: Prompt) -> None:
    """closing the generator after its first event ends it, and the backend goes on"""
    async with aclosing(_begin(backend, prompt)) as events:
        await anext(events)
    await _collect(backend, prompt)


async def _cancelling(backend: Backend, prompt: Prompt) -> None:
    """cancelling whoever waits ends the work, and the backend goes on"""
    for events_before in (0, 1):
        async with anyio.create_task_group() as group:
            reached = anyio.Event()

            async def read(count: int, reached: anyio.Event) -> None:
                async with aclosing(_begin(backend, prompt)) as events:
                    for _ in range(count):
                        await anext(events)
                    reached.set()
                    async for _ in events:
                        await anyio.sleep_forever()

            group.start_soon(read, events_before, reached)
            await reached.wait()
            group.cancel_scope.cancel()
    await _collect(backend, prompt)


async def _at_once(backend: Backend, prompt: Prompt) -> None:
    """several prompts at once are all answered"""
    answers: list[list[Event]] = []

    async def ask() -> None:
        answers.append(await _collect(backend, prompt))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
    if not all(answer and isinstance(answer[-1], Finish) for answer in answers):
        raise _Broken("an answer has no Finish")


async def _collect(backend: Backend, prompt: Prompt) -> list[Event]:
    async with aclosing(_begin(backend, prompt)) as events:
        return [event async for event in events]


_CHECKS: tuple[Callable[[Backend, Prompt], Awaitable[None]], ...] = (
    _models,
    _generator,
    _events,
    _usage,
    _tool_calls,
    _unknown_model,
    _closing,
    _cancelling,
    _at_once,
)
