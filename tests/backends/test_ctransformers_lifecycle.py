"""The ctransformers engine as a resource: cancelled, queued for, loaded and dropped."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import fail_after, wait_all_tasks_blocked
from tests.bigram_backend import gather, open_bigram, say

from llmount.backends.ctransformers import CTransformersBackend
from llmount.errors import BackendUnavailable, ModelNotFound, Overloaded
from llmount.types import Event, Finish, Prompt, Resident, Sampling, TextDelta

pytest.importorskip("ctransformers")
pytestmark = pytest.mark.anyio

Make = Callable[..., CTransformersBackend]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return partial(open_bigram, tmp_path)


def endless(backend: CTransformersBackend, text: str = "hello world") -> AsyncGenerator[Event]:
    sampling = Sampling(max_tokens=-1, temperature=0.0)
    return backend.generate(Prompt(model="m", text=text, sampling=sampling))


async def evaluated(backend: CTransformersBackend, text: str) -> int:
    """How many tokens the engine holds of a text that it was about to evaluate or write."""
    return (await gather(backend, text, sampling={"max_tokens": 0}))[1].usage.cached


async def test_closing_the_answer_stops_the_engine(make: Make) -> None:
    backend = make(write={"context_length": 20_000}, context_length=20_000)
    with fail_after(60):
        async with aclosing(endless(backend)) as events:
            for letter in "efg":
                assert await anext(events) == TextDelta(letter)
    future = "hello world" + "efghijklmnopqrstuvwxyz \nabcd" * 20
    # Beyond what was read, at most 64 tokens wait in the feed and one is on its way.
    assert 11 + 3 - 1 <= await evaluated(backend, future) <= 11 + 3 + 64 + 2


async def test_cancelling_during_the_prompt_stops_its_evaluation(make: Make) -> None:
    length = 12_000
    backend = make(write={"context_length": length + 100}, context_length=length + 100)
    with fail_after(60):
        await backend.load("m", None)
        with anyio.move_on_after(0.1) as scope:
            await anext(endless(backend, "x" * length))
        assert scope.cancelled_caught
        done = await evaluated(backend, "x" * (length // 2))
    assert done < length // 2 - 1
    assert done % 32 == 0


async def test_a_waiting_request_can_be_cancelled_and_the_next_gets_its_turn(make: Make) -> None:
    backend = make(write={"context_length": 20_000}, context_length=20_000)
    answers: list[str] = []

    async def ask() -> None:
        answers.append(await say(backend, sampling={"max_tokens": 3}))

    with fail_after(60):
        async with anyio.create_task_group() as tasks, aclosing(endless(backend)) as first:
            await anext(first)
            with anyio.CancelScope() as cancelled:
                async with anyio.create_task_group() as waiting:
                    waiting.start_soon(ask)
                    await wait_all_tasks_blocked()
                    cancelled.cancel()
            tasks.start_soon(ask)
            await wait_all_tasks_blocked()
            assert answers == []
            await first.aclose()
    assert answers == ["efg"]


async def test_a_full_queue_refuses_at_once_and_order_is_kept(make: Make) -> None:
    backend = make(write={"context_length": 20_000}, context_length=20_000, queue=2)
    order: list[int] = []

    async def ask(number: int) -> None:
        await say(backend, sampling={"max_tokens": 3})
        order.append(number)

    with fail_after(60):
        async with anyio.create_task_group() as tasks, aclosing(endless(backend)) as first:
            await anext(first)
            for number in range(2):
                tasks.start_soon(ask, number)
                await wait_all_tasks_blocked()
            with pytest.raises(Overloaded):
                await anext(endless(backend))
            await first.aclose()
    assert order == [0, 1]


async def test_the_model_is_loaded_on_first_use_and_kept_as_long_as_asked(make: Make) -> None:
    backend = make()
    assert isinstance(backend, Resident)
    assert await backend.resident() == []
    await gather(backend, keep_alive=-1)
    (residency,) = await backend.resident()
    assert (residency.model.name, residency.expires) == ("m", None)
    assert (residency.context_length, residency.size > 0) == (2048, True)
    _, finish = await gather(backend, keep_alive=100)
    assert finish.usage.cached == 10
    (residency,) = await backend.resident()
    assert residency.expires is not None
    await gather(backend, keep_alive=0)
    _, finish = await gather(backend, keep_alive=0)
    assert finish.usage.cached == 0
    assert await backend.resident() == []
    await backend.load("m", 1e-9)
    assert await backend.resident() == []
    await backend.load("m", None)
    assert len(await backend.resident()) == 1
    await backend.unload("m")
    assert await backend.resident() == []


async def test_a_closed_backend_answers_no_more(make: Make) -> None:
    backend = make()
    await gather(backend)
    await backend.aclose()
    assert await backend.resident() == []
    with pytest.raises(BackendUnavailable):
        await gather(backend)


async def test_closing_refuses_who_waits_and_lets_the_running_answer_end(make: Make) -> None:
    backend = make(write={"context_length": 2000})
    refused: list[type[Exception]] = []

    async def ask() -> None:
        try:
            await gather(backend)
        except BackendUnavailable as error:
            refused.append(type(error))

    with fail_after(60):
        async with anyio.create_task_group() as tasks, aclosing(endless(backend)) as running:
            await anext(running)
            tasks.start_soon(ask)
            await wait_all_tasks_blocked()
            await backend.aclose()
            assert len(await backend.resident()) == 1
            rest = [event async for event in running]
    assert isinstance(rest[-1], Finish)
    assert len(rest[-1].context) == 2000
    assert refused == [BackendUnavailable]
    assert await backend.resident() == []


async def test_a_file_that_has_gone_is_an_unavailable_backend(make: Make, tmp_path: Path) -> None:
    backend = make()
    (tmp_path / "m.gguf").unlink()
    with pytest.raises(BackendUnavailable) as caught:
        await gather(backend)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert str(tmp_path) not in caught.value.message


async def test_an_unknown_model_is_not_found(make: Make) -> None:
    backend = make()
    for call in (backend.load("x", None), backend.unload("x")):
        with pytest.raises(ModelNotFound):
            await call
    with pytest.raises(ModelNotFound):
        await anext(backend.generate(Prompt(model="x", text="a")))
