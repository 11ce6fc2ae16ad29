"""A pool of backends: who is asked, what is asked again, and what becomes of failures."""

import logging
from contextlib import aclosing
from dataclasses import replace

import anyio
import pytest
from tests.pool_members import NEVER_OPEN, PROMPT, Scripted, Time, ask, pool, who_answers

from llmount import EchoBackend
from llmount.backends.pool import Circuit, Member, PoolBackend, Retry
from llmount.errors import (
    ApiError,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    BadRequest,
    ContextTooLong,
    ModelNotFound,
    Overloaded,
    RateLimited,
    Unsupported,
)
from llmount.testing.conformance import check_backend
from llmount.types import (
    Backend,
    Directory,
    EmbeddingBackend,
    EmbeddingPrompt,
    Finish,
    Resident,
    TextDelta,
)

pytestmark = pytest.mark.anyio

REFUSED = BackendError("the upstream refused this server's access", upstream_status=401)
PASSING = [
    BackendUnavailable(),
    BackendTimeout(),
    Overloaded(),
    RateLimited(),
    BackendError(upstream_status=500),
    BackendError("the connection to the upstream broke"),
]


def named(error: Exception) -> str:
    return f"{type(error).__name__} {error}"


# Who is asked


async def test_a_backend_is_a_member_as_it_is() -> None:
    first, second = Scripted("first"), Scripted("second")

    several = PoolBackend([Member(second, tier=1), first])

    assert several.members == (Member(first), Member(second, tier=1))
    assert await who_answers(several) == "first"


async def test_a_pool_keeps_what_backends_promise() -> None:
    members = [Member(EchoBackend(delay=0.001)), Member(EchoBackend(delay=0.001), tier=1)]

    assert await check_backend(PoolBackend(members)) == []


async def test_a_named_pool_keeps_what_backends_promise() -> None:
    members = [
        Member(EchoBackend(models=["a"], delay=0.001), "a"),
        Member(EchoBackend(models=["b"], delay=0.001), "b"),
    ]

    assert await check_backend(PoolBackend(members, name="both")) == []


async def test_a_pool_embeds_and_lists_as_one_that_is_no_pool() -> None:
    both = pool(EchoBackend())

    assert isinstance(both, EmbeddingBackend)
    assert isinstance(both, Directory)
    assert isinstance(both, Resident)


async def test_whoever_has_the_fewest_answers_under_way_is_asked() -> None:
    hold = anyio.Event()
    members = [Scripted(name, [[hold]]) for name in "abc"]
    several = pool(*members)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for _ in range(9):
                tasks.start_soon(ask, several)
            while sum(member.busy for member in members) < 9:
                await anyio.lowlevel.checkpoint()
            assert [member.busy for member in members] == [3, 3, 3]
            hold.set()
    assert [member.busy for member in members] == [0, 0, 0]


async def test_a_slow_one_gets_less() -> None:
    hold = anyio.Event()
    slow, fast = Scripted("slow", [[hold]]), Scripted("fast")
    several = pool(slow, fast)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, several)
            while not slow.busy:
                await anyio.lowlevel.checkpoint()
            assert {await who_answers(several) for _ in range(5)} == {"fast"}
            hold.set()


async def test_those_that_are_equally_busy_take_turns() -> None:
    several = pool(Scripted("a"), Scripted("b"), Scripted("c"))

    assert [await who_answers(several) for _ in range(6)] == [*"abcabc"]


async def test_higher_tiers_are_asked_only_where_the_lower_ones_cannot_answer() -> None:
    first = Scripted("first", [(), [BackendUnavailable()], ()])
    several = pool(Member(Scripted("last"), tier=7), Member(first, tier=-1))

    assert [await who_answers(several) for _ in range(3)] == ["first", "last", "first"]


async def test_each_member_is_asked_for_its_own_name_of_the_model() -> None:
    one = Scripted("one", [[BackendUnavailable()]], has=["x"])
    two = Scripted("two", has=["m"])

    assert await who_answers(pool(Member(one, "x"), Member(two))) == "two"
    assert (one.asked, two.asked) == (["x"], ["m"])


# What is tried again


@pytest.mark.parametrize("error", PASSING, ids=named)
async def test_a_failure_is_answered_by_another_member_without_a_wait(error: ApiError) -> None:
    time = Time()
    failing, well = Scripted("failing", [[error]]), Scripted("well")

    assert await who_answers(pool(failing, well, time=time)) == "well"
    assert time.slept == []


@pytest.mark.parametrize("error", PASSING, ids=named)
async def test_it_is_tried_again_after_a_wait_when_all_have_failed(error: ApiError) -> None:
    time = Time()
    members = [Scripted(name, [[error], [error], ()]) for name in "ab"]

    assert await who_answers(pool(*members, time=time)) == "a"
    assert [len(member.asked) for member in members] == [3, 2]
    assert time.slept == [0.5, 1.0]


@pytest.mark.parametrize("error", PASSING, ids=named)
async def test_the_number_of_tries_is_bounded_and_the_failure_is_raised(error: ApiError) -> None:
    time = Time()
    members = [Scripted(name, [[error]]) for name in "ab"]
    several = pool(*members, time=time, retry=Retry(4, 1.0, 3.0), circuit=NEVER_OPEN)

    with pytest.raises(type(error)):
        await ask(several)

    assert [len(member.asked) for member in members] == [4, 4]
    assert time.slept == [1.0, 2.0, 3.0]


async def test_chance_shortens_a_wait_by_up_to_half() -> None:
    retry = Retry(9, 1.0, 3.0)

    assert [retry.wait(number, 0.0) for number in range(4)] == [1.0, 2.0, 3.0, 3.0]
    assert [retry.wait(number, 1.0) for number in range(4)] == [0.5, 1.0, 1.5, 1.5]
    assert retry.wait(10_000, 0.0) == 3.0


@pytest.mark.parametrize(
    "error", [BadRequest("no"), ContextTooLong(9, 8), KeyError("a bug")], ids=named
)
async def test_what_the_request_is_to_blame_for_is_not_tried_again(error: Exception) -> None:
    failing, well = Scripted("failing", [[error]]), Scripted("well")

    with pytest.raises(type(error)):
        await ask(pool(failing, well))

    assert len(failing.asked) == 1
    assert well.asked == []


@pytest.mark.parametrize("step", [TextDelta(""), TextDelta("a")], ids=repr)
async def test_nothing_is_tried_again_once_an_event_has_gone_out(step: TextDelta) -> None:
    failing = Scripted("failing", [[step, BackendUnavailable()]])
    well = Scripted("well")

    async with aclosing(pool(failing, well).generate(PROMPT)) as events:
        assert await anext(events) == step
        with pytest.raises(BackendUnavailable):
            await anext(events)

    assert (len(failing.asked), len(well.asked)) == (1, 0)


async def test_whoever_refuses_the_pool_as_such_is_not_asked_again() -> None:
    refusing = Scripted("refusing", [[REFUSED]])
    failing = Scripted("failing", [[BackendUnavailable()], ()])

    assert await who_answers(pool(refusing, failing)) == "failing"
    assert (len(refusing.asked), len(failing.asked)) == (1, 2)


async def test_a_member_alone_that_refuses_the_pool_is_not_waited_for() -> None:
    time = Time()

    with pytest.raises(BackendError, match="refused this server"):
        await ask(pool(Scripted("refusing", [[REFUSED]]), time=time))
    assert time.slept == []


# What a member lacks


@pytest.mark.parametrize("error", [ModelNotFound("m"), Unsupported("tools")], ids=named)
async def test_whoever_cannot_answer_is_skipped_and_is_not_failing(error: ApiError) -> None:
    without, with_it = Scripted("without", [[error]]), Scripted("with")
    several = pool(Member(without), Member(with_it, tier=1), circuit=Circuit(1, 1000))

    assert [await who_answers(several) for _ in range(3)] == ["with"] * 3
    assert len(without.asked) == 3


async def test_a_model_that_no_member_has_is_not_found_by_the_name_that_was_asked_for() -> None:
    time = Time()

    with pytest.raises(ModelNotFound, match="'m'"):
        await ask(pool(Member(Scripted("a"), "x"), Member(Scripted("b"), "y"), time=time))
    assert time.slept == []


async def test_a_model_may_be_where_nobody_answers() -> None:
    without, failing = Scripted("without", has=[]), Scripted("failing", [[BackendTimeout()]])

    with pytest.raises(BackendTimeout):
        await ask(pool(without, failing))
    assert (len(without.asked), len(failing.asked)) == (1, 3)


async def test_what_nobody_can_do_is_told() -> None:
    members = [Scripted("a", [[Unsupported("tools")]]), Scripted("b", has=[])]

    with pytest.raises(Unsupported, match="tools"):
        await ask(pool(*members))


async def test_a_named_pool_has_no_other_model() -> None:
    member = Scripted("a", has=["x"])
    several = pool(Member(member, "x"), name="Mine")

    assert await who_answers(several, replace(PROMPT, model="mine:latest")) == "a"
    with pytest.raises(ModelNotFound, match="'x'"):
        await ask(several, replace(PROMPT, model="x"))
    assert member.asked == ["x"]


# Retry-After


@pytest.mark.parametrize("kind", [RateLimited, Overloaded])
async def test_a_member_is_not_asked_before_it_said(kind: type[RateLimited | Overloaded]) -> None:
    time = Time()
    member = Scripted("a", [[kind(retry_after=5)], ()])

    assert await who_answers(pool(member, time=time)) == "a"
    assert time.slept == [5]


async def test_other_requests_keep_the_time_too() -> None:
    time = Time()
    limited, well = Scripted("limited", [[RateLimited(retry_after=60)], ()]), Scripted("well")
    several = pool(limited, well, time=time)

    assert {await who_answers(several) for _ in range(5)} == {"well"}
    assert len(limited.asked) == 1
    time.now += 61
    assert {await who_answers(several) for _ in range(2)} == {"limited", "well"}


@pytest.mark.parametrize("kind", [RateLimited, Overloaded])
async def test_what_takes_too_long_is_not_waited_for_but_told(
    kind: type[RateLimited | Overloaded],
) -> None:
    time = Time()
    members = [
        Scripted("a", [[kind(retry_after=90)]]),
        Scripted("b", [[kind(retry_after=30)]]),
    ]
    several = pool(*members, time=time)

    for left in (30, 20):
        with pytest.raises(kind) as caught:
            await ask(several)
        assert caught.value.retry_after == left
        time.now += 10
    assert time.slept == []
    assert [len(member.asked) for member in members] == [1, 1]


async def test_when_to_come_back_is_told_rather_than_how_the_others_failed() -> None:
    limited = Scripted("limited", [[RateLimited(retry_after=30)]])
    failing = Scripted("failing", [[BackendUnavailable()]])

    with pytest.raises(RateLimited) as caught:
        await ask(pool(limited, failing))

    assert caught.value.retry_after is not None
    assert isinstance(caught.value.__cause__, BackendUnavailable)
    assert len(failing.asked) == 3


# The circuit


async def test_an_open_circuit_gets_no_request() -> None:
    failing, well = Scripted("failing", [[BackendUnavailable()]]), Scripted("well")
    several = pool(Member(failing), Member(well, tier=1), circuit=Circuit(3, 60))

    assert {await who_answers(several) for _ in range(10)} == {"well"}
    assert len(failing.asked) == 3


async def test_where_all_circuits_are_open_nobody_waits_and_nobody_is_asked() -> None:
    time = Time()
    failing = Scripted("failing", [[BackendUnavailable()]])
    several = pool(failing, time=time, circuit=Circuit(2, 60))

    for _ in range(5):
        with pytest.raises(BackendUnavailable):
            await ask(several)

    assert len(failing.asked) == 2
    assert time.slept == [0.5]


async def test_after_the_cool_down_one_request_tries_and_then_all_come_back() -> None:
    time = Time()
    hold = anyio.Event()
    ill = [[BackendUnavailable()], [BackendUnavailable()]]
    first, last = Scripted("first", [*ill, [hold], ()]), Scripted("last")
    several = pool(Member(first), Member(last, tier=1), time=time, circuit=Circuit(2, 60))
    assert [await who_answers(several) for _ in range(3)] == ["last"] * 3
    time.now += 61

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, several)
            while not first.busy:
                await anyio.lowlevel.checkpoint()
            assert [await who_answers(several) for _ in range(3)] == ["last"] * 3
            assert len(first.asked) == 3
            hold.set()
    assert await who_answers(several) == "first"


async def test_a_try_that_is_cancelled_leaves_the_next_one_to_try() -> None:
    time = Time()
    ill = [[BackendUnavailable()], [BackendUnavailable()]]
    first = Scripted("first", [*ill, [anyio.Event()], ()])
    several = pool(first, time=time, circuit=Circuit(2, 60))
    with pytest.raises(BackendUnavailable):
        await ask(several)
    time.now += 61

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, several)
            while not first.busy:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    assert await who_answers(several) == "first"


# Cancelling, and the log


async def test_whoever_leaves_while_all_are_waited_for_is_gone_at_once() -> None:
    member = Scripted("a", [[RateLimited(retry_after=5)]])
    several = PoolBackend([Member(member)])

    with anyio.fail_after(2), anyio.move_on_after(0.05) as scope:
        await ask(several)

    assert scope.cancelled_caught
    assert len(member.asked) == 1


@pytest.mark.parametrize("begun", [False, True])
async def test_an_answer_that_is_given_up_is_closed_and_no_longer_counted(begun: bool) -> None:
    script = [*([TextDelta("a")] if begun else []), anyio.Event()]
    members = [Scripted("a", [script]), Scripted("b", [script])]
    several = pool(*members)

    for _ in range(2):
        with anyio.fail_after(2), anyio.move_on_after(0.02) as scope:
            await ask(several)
        assert scope.cancelled_caught
        assert [member.busy for member in members] == [0, 0]
    assert [member.most for member in members] == [1, 1]


async def test_closing_the_generator_closes_the_members() -> None:
    member = Scripted("a", [[TextDelta("a"), anyio.Event()]])
    events = pool(member).generate(PROMPT)

    assert await anext(events) == TextDelta("a")
    assert member.busy == 1
    await events.aclose()
    assert member.busy == 0


async def test_every_failure_is_in_the_log_with_what_the_upstream_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = RateLimited()
    error.add_note("the upstream said: too many tokens")

    with caplog.at_level(logging.WARNING, "llmount"):
        assert await who_answers(pool(Scripted("failing", [[error]]), Scripted("well"))) == "well"

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "failing failed before it answered" in caplog.text
    assert "too many tokens" in caplog.text


# Embeddings

TEXTS = EmbeddingPrompt(model="m", texts=("one", "two"))


class Vectors(EchoBackend):
    """Embeds, after it has failed as it is told."""

    def __init__(self, *failures: ApiError, model: str = "m") -> None:
        super().__init__(models=[model])
        self.failures = [*failures]

    async def embed(self, prompt: EmbeddingPrompt):  # type: ignore[no-untyped-def]
        if self.failures:
            raise self.failures.pop()
        return await super().embed(prompt)


async def test_embeddings_are_tried_again_too() -> None:
    time = Time()
    failing = Vectors(BackendUnavailable(), BackendUnavailable())
    several = pool(Scripted("writes only"), failing, time=time)

    assert len((await several.embed(TEXTS)).vectors) == 2
    assert time.slept == [0.5, 1.0]


async def test_embeddings_come_from_another_member_by_its_own_name() -> None:
    several = pool(Vectors(BackendTimeout()), Member(Vectors(model="x"), "x", tier=1))

    assert await several.embed(TEXTS) == await EchoBackend(models=["m"]).embed(TEXTS)


async def test_a_pool_that_only_writes_does_not_embed() -> None:
    with pytest.raises(Unsupported, match="embedding"):
        await pool(Scripted("a")).embed(TEXTS)


# Settings


def test_a_pool_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a member"):
        PoolBackend([])


@pytest.mark.parametrize("wrong", [(0, 1, 1), (1, -1, 1), (1, 1, -1), (1, float("nan"), 1)])
def test_a_retry_that_makes_no_sense_is_refused(wrong: tuple[int, float, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Retry(*wrong)


async def test_members_are_asked_from_several_event_loops_at_once() -> None:
    members = [Scripted(name) for name in "ab"]
    shared: Backend = pool(*members)

    async def in_a_loop_of_its_own() -> None:
        def run() -> None:
            anyio.run(many)

        await anyio.to_thread.run_sync(run)

    async def many() -> None:
        for _ in range(50):
            assert isinstance((await ask(shared))[-1], Finish)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(in_a_loop_of_its_own)
    assert sum(len(member.asked) for member in members) == 200
