"""A pool before small real servers on loopback: what it makes of the answers on the wire."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from tests.upstream import (
    KEY,
    OLLAMA,
    OPENAI,
    SSE,
    A,
    Reply,
    Stream,
    Upstream,
    answering,
    collect,
    hanging_up,
    head,
    sending,
    serving,
    stalling,
    text_of,
)

from llmount.backends.http import OllamaBackend, OpenAIBackend, Timeouts
from llmount.backends.pool import Member, PoolBackend, Retry
from llmount.errors import BackendError, BackendTimeout, BadRequest, RateLimited

pytestmark = [
    pytest.mark.anyio,
    # httpx leaves inner generators of its own unclosed, and trio says so.
    pytest.mark.filterwarnings("ignore:Async generator 'http(x|core):ResourceWarning"),
]

# Long enough for a busy machine to have read the request by then.
TIMEOUTS = Timeouts(first=1.0, idle=1.0)
QUICK = Retry(attempts=3, base=0.01, longest=5.0)


@asynccontextmanager
async def pool_of(*upstreams: Upstream, retry: Retry = QUICK) -> AsyncGenerator[PoolBackend, None]:
    """Of Ollama servers, each one a tier of its own."""
    backends = [OllamaBackend(each.url, timeout=TIMEOUTS) for each in upstreams]
    several = PoolBackend(
        [Member(backend, tier=tier) for tier, backend in enumerate(backends)], retry=retry
    )
    try:
        yield several
    finally:
        await several.aclose()


FAILING = {
    "it hangs up at once": hanging_up(),
    "it hangs up after the headers": hanging_up(head()),
    "it hangs up in its first item": hanging_up(head(), A[:9]),
    "it is silent": stalling(),
    "it is silent after the headers": stalling(head()),
    "it fails": answering(500, '{"error": "out of memory"}'),
    "it says so in its first item": sending(head(), b'14\r\n{"error": "broken"}\n\r\n0\r\n\r\n'),
    "it is a proxy without a server": answering(502, "<html></html>"),
    "it is busy": answering(503, '{"error": "server busy"}'),
    "it allows no more": answering(429, "{}"),
    "it refuses our key": answering(401, "{}"),
    "it does not have the model": answering(404, '{"error": "model \'m\' not found"}'),
    "it is something else": answering(404, "nothing here"),
    "it answers nonsense": answering(200, "<html></html>"),
}


@pytest.mark.parametrize("failing", FAILING.values(), ids=FAILING)
async def test_another_server_answers_where_one_fails(failing: Reply) -> None:
    async with (
        serving(failing) as one,
        serving(OLLAMA) as two,
        pool_of(one, two) as several,
    ):
        assert text_of(await collect(several)) == "ab"
        assert (len(one.requests), len(two.requests)) == (1, 1)


async def test_a_rejected_request_is_sent_to_nobody_else() -> None:
    async with (
        serving(answering(400, '{"error": "invalid format"}')) as one,
        serving(OLLAMA) as two,
        pool_of(one, two) as several,
    ):
        with pytest.raises(BadRequest, match="invalid format"):
            await collect(several)
        assert (len(one.requests), len(two.requests)) == (1, 0)


@pytest.mark.parametrize("rest", [hanging_up, stalling], ids=["hangs up", "is silent"])
async def test_an_answer_that_began_is_not_begun_again(rest) -> None:  # type: ignore[no-untyped-def]
    async with (
        serving(rest(head(), A)) as one,
        serving(OLLAMA) as two,
        pool_of(one, two) as several,
    ):
        with pytest.raises(BackendError):
            await collect(several)
        assert (len(one.requests), len(two.requests)) == (1, 0)


async def test_the_time_that_a_server_asks_for_passes_before_it_is_asked_again() -> None:
    times: list[float] = []

    def noted(reply: Reply) -> Reply:
        async def noting(stream: Stream) -> None:
            times.append(anyio.current_time())
            await reply(stream)

        return noting

    limited = noted(answering(429, "{}", "Retry-After: 1"))
    async with serving(limited, noted(OLLAMA)) as one, pool_of(one) as several:
        assert text_of(await collect(several)) == "ab"

    assert len(times) == 2
    assert times[1] - times[0] >= 1


async def test_a_long_time_to_wait_is_handed_on() -> None:
    limited = answering(429, "{}", "Retry-After: 77")

    async with serving(limited) as one, pool_of(one) as several:
        with pytest.raises(RateLimited) as caught:
            await collect(several)
        assert len(one.requests) == 1

    assert caught.value.retry_after == pytest.approx(77, abs=1)


async def test_whoever_leaves_closes_the_connection_and_nobody_else_is_asked() -> None:
    async with (
        serving(stalling()) as one,
        serving(OLLAMA) as two,
    ):
        several = PoolBackend(
            [Member(OllamaBackend(one.url)), Member(OllamaBackend(two.url), tier=1)]
        )
        with anyio.move_on_after(0.2):
            await collect(several)
        await one.gone.wait()
        assert several.busy == [0, 0]
        assert two.requests == []
        await several.aclose()


async def test_servers_of_different_apis_stand_in_for_each_other() -> None:
    broken = hanging_up(SSE)
    async with serving(broken) as one, serving(OLLAMA) as two:
        several = PoolBackend(
            [
                Member(OpenAIBackend(f"{one.url}/v1", api_key=KEY), "up"),
                Member(OllamaBackend(two.url), "down", tier=1),
            ],
            name="m",
        )
        assert text_of(await collect(several)) == "ab"
        await several.aclose()

    assert one.requests[0].body["model"] == "up"
    assert two.requests[0].body["model"] == "down"


async def test_a_server_that_is_always_too_late_is_given_up() -> None:
    async with serving(stalling()) as one, pool_of(one) as several:
        with pytest.raises(BackendTimeout):
            await collect(several)
        assert len(one.requests) == 3


async def test_one_request_is_one_request_where_nothing_fails() -> None:
    async with serving(OPENAI) as one:
        several = PoolBackend([Member(OpenAIBackend(f"{one.url}/v1"))])
        assert text_of(await collect(several)) == "ab"
        await several.aclose()
        assert len(one.requests) == 1
