"""Lists of models from several backends, some of which are dead."""

import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
import pytest
from tests.pool_members import Scripted, Time
from tests.upstream import OLLAMA_TAGS, serving, stalling

from llmount import EchoBackend, RoutingBackend, ai_app
from llmount.backends.http import OllamaBackend
from llmount.backends.listing import list_models, of_models
from llmount.backends.pool import Member, PoolBackend
from llmount.backends.routing import Route
from llmount.errors import BackendTimeout, BackendUnavailable, ModelNotFound
from llmount.testing.transport import ASGITransport
from llmount.types import Model, Residency

pytestmark = [
    pytest.mark.anyio,
    # httpx leaves inner generators of its own unclosed, and trio says so.
    pytest.mark.filterwarnings("ignore:Async generator 'http(x|core):ResourceWarning"),
]


class Broken(EchoBackend):
    """Does not list its models."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
        self.failing = True
        self.asked = 0

    async def models(self) -> Sequence[Model]:
        self.asked += 1
        if self.failing:
            raise self.error
        return await super().models()


class Silent(Broken):
    """Never says which models it has."""

    def __init__(self) -> None:
        super().__init__(BackendTimeout())

    async def models(self) -> Sequence[Model]:
        self.asked += 1
        await anyio.sleep_forever()
        raise self.error


def names(models: Sequence[Model] | None) -> list[str] | None:
    return None if models is None else [model.name for model in models]


async def test_a_dead_server_and_a_silent_one_do_not_delay_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = OllamaBackend(f"http://127.0.0.1:{closed.getsockname()[1]}")
    async with serving(OLLAMA_TAGS) as one, serving(stalling()) as two:
        well, silent = OllamaBackend(one.url), OllamaBackend(two.url)
        with caplog.at_level(logging.WARNING, "llmount"), anyio.fail_after(5):
            started = anyio.current_time()
            listed = await list_models([dead, silent, well, silent], 0.3)
            assert anyio.current_time() - started < 2

        assert [names(each) for each in listed] == [None, None, ["m", "n"], None]
        assert len(two.requests) == 1
        for backend in (dead, silent, well):
            await backend.aclose()
    assert len(caplog.records) == 2


async def test_all_are_asked_at_once() -> None:
    together = Meeting(3)

    with anyio.fail_after(2):
        await list_models([Met(together) for _ in range(3)])


@dataclass
class Meeting:
    """Begins when so many have come."""

    missing: int
    begun: anyio.Event = field(default_factory=lambda: anyio.Event())


class Met(EchoBackend):
    def __init__(self, meeting: Meeting) -> None:
        super().__init__()
        self.meeting = meeting

    async def models(self) -> Sequence[Model]:
        self.meeting.missing -= 1
        if not self.meeting.missing:
            self.meeting.begun.set()
        await self.meeting.begun.wait()
        return await super().models()


@pytest.mark.parametrize("error", [BackendUnavailable(), KeyError("a bug")], ids=repr)
async def test_whoever_failed_rests_for_a_while(error: Exception) -> None:
    time = Time()
    broken = Broken(error)
    survey = of_models(rest=10, clock=time.clock)

    for _ in range(3):
        assert await survey.of(broken) is None
    assert broken.asked == 1
    time.now += 11
    assert await survey.of(broken) is None
    assert broken.asked == 2


@pytest.mark.parametrize("error", [BackendUnavailable(), KeyError("a bug")], ids=repr)
async def test_the_log_tells_once_that_it_is_gone_and_once_that_it_is_back(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    time = Time()
    broken = Broken(error)
    survey = of_models(rest=10, clock=time.clock)

    for failing in (True, True, True, False, False, True):
        time.now += 11
        broken.failing = failing
        listed = await survey.of(broken)
        assert (listed is None) is failing

    said = [record.getMessage().replace(repr(broken), "it") for record in caplog.records]
    gone, back, gone_again = said
    assert gone.startswith("it does not tell its models: ")
    assert type(error).__name__ in gone
    assert back == "it tells its models again"
    assert gone_again == gone


async def test_whoever_was_too_late_rests_too() -> None:
    silent = Silent()
    survey = of_models(timeout=0.02, clock=Time().clock)

    for _ in range(3):
        assert await survey.of(silent) is None
    assert silent.asked == 1


async def test_cancelling_is_no_failure_of_a_backend() -> None:
    silent = Silent()
    survey = of_models()

    for _ in range(2):
        with anyio.move_on_after(0.02) as scope:
            await survey.of(silent)
        assert scope.cancelled_caught
    assert silent.asked == 2


async def test_a_gateway_leaves_a_dead_provider_alone_for_a_while() -> None:
    dead = Broken(BackendTimeout())
    transport = ASGITransport(ai_app({"dead": dead, "mine": EchoBackend()}))

    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        for _ in range(3):
            answer = await client.get("/models")
            assert [each["provider"] for each in answer.json()] == ["mine"]

    assert dead.asked == 1


async def test_those_who_wait_together_read_of_a_failure_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    silent = Silent()
    survey = of_models(timeout=0.02)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(survey.of, silent)

    assert silent.asked == 3
    assert len(caplog.records) == 1


# Routes


async def test_models_of_a_dead_backend_are_left_out() -> None:
    several = RoutingBackend({"a": Broken(BackendUnavailable()), "echo": EchoBackend()})

    assert names(await several.models()) == ["echo"]


async def test_a_route_may_lead_to_a_pool() -> None:
    pool = PoolBackend([Member(Scripted("one", has=["x"]), "x")], name="m")
    several = RoutingBackend({"mine": Route(pool, "m")})

    assert [(each.name, each.owner) for each in await several.models()] == [("mine", "one")]
    assert await several.model("mine:latest") == Model(name="mine", owner="one")


async def test_a_silent_member_does_not_take_its_pool_out_of_a_list() -> None:
    silent = Silent()
    pool = PoolBackend([Member(silent), Member(Scripted("one"))])
    several = RoutingBackend({"mine": Route(pool, "m")})

    with anyio.fail_after(5):
        assert names(await several.models()) == ["mine"]
        assert names(await several.models()) == ["mine"]
    assert silent.asked == 1


# Pools


async def test_a_pool_lists_what_its_members_have_each_name_once() -> None:
    pool = PoolBackend(
        [
            Member(Scripted("late", has=["b", "C:latest"]), tier=1),
            Member(Broken(BackendUnavailable())),
            Member(Scripted("early", has=["a", "c"])),
            Member(Scripted("one of two", has=["x", "y"]), "y"),
        ]
    )

    assert [(model.name, model.owner) for model in await pool.models()] == [
        ("a", "early"),
        ("c", "early"),
        ("y", "one of two"),
        ("b", "late"),
    ]
    assert await pool.model("C") == Model(name="c", owner="early")
    assert await pool.model("z") is None


async def test_a_named_pool_lists_its_name() -> None:
    pool = PoolBackend(
        [
            Member(Broken(BackendUnavailable()), "w"),
            Member(Scripted("a", has=["x", "y"]), "y"),
            Member(Scripted("b", has=["m", "n"])),
        ],
        name="m",
    )

    assert await pool.models() == (Model(name="m", owner="a"),)
    assert await pool.model("M:latest") == Model(name="m", owner="a")
    assert await pool.model("y") is None


async def test_a_named_pool_whose_members_list_something_else_is_known_by_its_name() -> None:
    pool = PoolBackend([Member(Scripted("a", has=["x"]), "y")], name="m")

    assert await pool.models() == (Model(name="m", capabilities=frozenset()),)


@pytest.mark.parametrize("question", [PoolBackend.models, lambda pool: pool.model("echo")])
async def test_a_pool_of_which_nobody_answers_is_unavailable(question: Any) -> None:
    with pytest.raises(BackendUnavailable):
        await question(PoolBackend([Member(Broken(BackendTimeout()))]))


# What is in memory


class InMemory(EchoBackend):
    """Loads what it is told to, unless it has an error to raise."""

    def __init__(self, *models: str, error: Exception | None = None) -> None:
        super().__init__(models=models)
        self.loaded: dict[str, float | None] = {}
        self.error = error

    async def load(self, model: str, keep_alive: float | None) -> None:
        if self.error is not None:
            raise self.error
        self.loaded[model] = keep_alive

    async def unload(self, model: str) -> None:
        if self.error is not None:
            raise self.error
        del self.loaded[model]

    async def resident(self) -> Sequence[Residency]:
        if self.error is not None:
            raise self.error
        return [Residency(model=Model(name=name)) for name in self.loaded]


async def in_memory(backend: Any) -> list[str]:
    return [each.model.name for each in await backend.resident()]


async def test_the_lowest_tier_loads_and_all_unload() -> None:
    first, second, last = InMemory("x"), InMemory("y"), InMemory("z")
    pool = PoolBackend(
        [Member(first, "x"), Member(second, "y"), Member(EchoBackend()), Member(last, "z", 1)],
        name="m",
    )

    await pool.load("m", 5.0)
    assert (first.loaded, second.loaded, last.loaded) == ({"x": 5.0}, {"y": 5.0}, {})
    assert await in_memory(pool) == ["m"]
    await last.load("z", None)
    await pool.unload("m")
    assert await in_memory(pool) == []
    assert last.loaded == {}


async def test_a_member_that_cannot_load_matters_only_if_no_other_can() -> None:
    broken, well = InMemory("m", error=BackendUnavailable()), InMemory("m")

    await PoolBackend([Member(broken), Member(well)]).load("m", None)
    assert well.loaded == {"m": None}
    without = InMemory(error=ModelNotFound("m"))
    with pytest.raises(BackendUnavailable):
        await PoolBackend([Member(without), Member(broken)]).load("m", None)


@pytest.mark.parametrize("several", ["pool", "routes"])
async def test_a_dead_backend_does_not_hide_what_the_others_have_in_memory(several: str) -> None:
    broken, well = InMemory("a", error=BackendUnavailable()), InMemory("b")
    await well.load("b", None)
    backend: Any = {
        "pool": PoolBackend([Member(broken), Member(well)]),
        "routes": RoutingBackend({"a": broken, "b": well}),
    }[several]

    assert await in_memory(backend) == ["b"]
