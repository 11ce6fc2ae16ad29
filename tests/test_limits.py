"""Limits: what is counted, and that it is counted once whatever becomes of a request."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from llmount import App, EchoBackend, backend, chat_app, generate_app
from llmount.access import Limits, MemoryLimitStore
from llmount.backends.echo import Fail
from llmount.dialects.openai import service_headers
from llmount.errors import BackendError, BackendUnavailable, RateLimited
from llmount.streaming import Message
from llmount.types import Event, Finish, Prompt, Quota, ReasoningDelta, TextDelta, Usage
from tests.limiting import LIMITS, SECONDS, SharedStore, ask, chat
from tests.test_exchange import Connection, Witness, body, connect, post, serving

STREAM = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


# The store


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryLimitStore:
    return MemoryLimitStore(clock=clock)


def use(store: MemoryLimitStore, limits: Limits, tokens: int = 0, who: str = "ada") -> Quota | None:
    quota = store.acquire(who, limits)
    store.release(who, limits, tokens)
    return quota


def test_requests_are_counted_by_window(clock: Clock, store: MemoryLimitStore) -> None:
    limits = Limits(requests=2, window=60)
    clock.now = 600.0
    assert use(store, limits) == Quota(2, 1, 660.0)
    clock.now = 659.0
    assert use(store, limits) == Quota(2, 0, 660.0)
    with pytest.raises(RateLimited) as caught:
        store.acquire("ada", limits)
    assert caught.value.retry_after == 1.0
    assert caught.value.quota == Quota(2, 0, 660.0)
    clock.now = 660.0
    assert use(store, limits) == Quota(2, 1, 720.0)


def test_everyone_is_counted_apart(store: MemoryLimitStore) -> None:
    limits = Limits(requests=1)
    use(store, limits, who="ada")
    assert use(store, limits, who="bob") is not None
    with pytest.raises(RateLimited):
        store.acquire("ada", limits)


def test_tokens_are_counted_when_they_have_been_used(clock: Clock, store: MemoryLimitStore) -> None:
    limits = Limits(tokens=10, tokens_window=100)
    clock.now = 1000.0
    assert use(store, limits, tokens=9) is None
    assert use(store, limits, tokens=50) is None
    with pytest.raises(RateLimited) as caught:
        store.acquire("ada", limits)
    assert caught.value.retry_after == 100.0
    assert caught.value.quota is None
    clock.now = 1100.0
    use(store, limits)


def test_tokens_count_in_the_window_in_which_they_end(
    clock: Clock, store: MemoryLimitStore
) -> None:
    limits = Limits(tokens=10, tokens_window=100)
    clock.now = 1099.0
    store.acquire("ada", limits)
    clock.now = 1100.0
    store.release("ada", limits, 10)
    with pytest.raises(RateLimited):
        store.acquire("ada", limits)


def test_so_many_at_a_time_and_no_more(store: MemoryLimitStore) -> None:
    limits = Limits(requests=10, concurrent=2)
    store.acquire("ada", limits)
    store.acquire("ada", limits)
    with pytest.raises(RateLimited) as caught:
        store.acquire("ada", limits)
    assert caught.value.quota is not None
    assert caught.value.quota.remaining == 8
    store.release("ada", limits, 0)
    quota = store.acquire("ada", limits)
    assert quota is not None
    # What was refused does not count.
    assert quota.remaining == 7


def test_the_longest_unseen_is_forgotten_unless_it_runs(clock: Clock) -> None:
    store = MemoryLimitStore(most=2, clock=clock)
    limits = Limits(requests=1)
    store.acquire("runs", limits)
    use(store, limits, who="old")
    use(store, limits, who="new")
    use(store, limits, who="newer")
    for who in ("runs", "newer"):
        with pytest.raises(RateLimited):
            store.acquire(who, limits)
    use(store, limits, who="old")


def test_threads_may_count_together() -> None:
    store = MemoryLimitStore()
    limits = Limits(requests=4000, concurrent=8, window=1e9)

    def work() -> None:
        for _ in range(500):
            use(store, limits)

    threads = [threading.Thread(target=work) for _ in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
    finally:
        sys.setswitchinterval(interval)
    with pytest.raises(RateLimited) as caught:
        store.acquire("ada", limits)
    assert caught.value.quota == Quota(4000, 0, 2e9)


@pytest.mark.parametrize("name", ["requests", "window", "tokens", "tokens_window", "concurrent"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_is_positive(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is"):
        Limits(**{name: value})


# What an answer took


def scripted(*events: Any) -> EchoBackend:
    return EchoBackend(events)


USED = Finish(usage=Usage(prompt=3, completion=5))


@pytest.mark.anyio
@STREAM
@pytest.mark.parametrize(
    ("script", "count", "tokens"),
    [
        ([TextDelta("Hello"), USED], 1, 8),
        ([TextDelta("Hello"), USED], 3, 18),
        # An engine that does not count.
        ([TextDelta("Hel"), ReasoningDelta("Hm"), TextDelta("lo"), Finish()], 1, 3),
        # An answer that fails: what there was of it.
        ([TextDelta("Hel"), TextDelta("lo"), Fail(BackendError())], 1, 2),
        ([Fail(BackendError())], 1, 0),
    ],
    ids=["one answer", "three answers", "uncounted", "failing later", "failing at once"],
)
async def test_the_tokens_of_an_answer_are_counted(
    stream: bool, script: Sequence[Any], count: int, tokens: int
) -> None:
    store = SharedStore()
    app = chat_app(scripted(*script), limits=LIMITS, limit_store=store)
    await ask(app, json=chat(stream=stream, n=count))
    assert store.told == [("acquire", ""), ("release", "")]
    assert store.tokens == [tokens]


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/models", "/nowhere"])
async def test_what_generates_nothing_takes_no_tokens(path: str) -> None:
    store = SharedStore()
    await ask(chat_app(EchoBackend(), limits=LIMITS, limit_store=store), path=path)
    assert store.tokens == [0]


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/embed", "/embeddings"])
async def test_the_tokens_of_embeddings_are_counted(path: str) -> None:
    store = SharedStore()
    app = generate_app(EchoBackend(), limits=LIMITS, limit_store=store)
    body = {"model": "echo", "input": "one two three", "prompt": "one two three"}
    assert (await ask(app, path=path, json=body)).status_code == 200
    assert store.tokens == [3]


@pytest.mark.anyio
async def test_tokens_used_up_are_refused_until_the_day_is_over() -> None:
    app = generate_app(scripted(TextDelta("Hi"), USED), limits=Limits(tokens=10))
    body = {"model": "echo", "prompt": "Hi", "stream": False}
    statuses = [(await ask(app, path="/generate", json=body)).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


# Released once, whatever happens


WINDOWS = pytest.mark.parametrize("window", ["queued", "quiet", "slow"])


async def run(app: App, connection: Connection, key: str | None = None) -> None:
    headers = [(b"content-type", b"application/json")]
    if key is not None:
        headers.append((b"authorization", b"Bearer " + key.encode()))
    scope = {"type": "http", "method": "POST", "path": "/chat/completions", "headers": headers}
    with anyio.fail_after(SECONDS):
        await app(scope, connection.receive, connection.send)


def content(model: str, **more: Any) -> bytes:
    return json.dumps(body(model, stream=more.pop("stream", True), **more)).encode()


ONCE = [("acquire", ""), ("release", "")]


@pytest.mark.anyio
@STREAM
@WINDOWS
async def test_leaving_releases_once(window: str, stream: bool) -> None:
    witness, store = Witness(), SharedStore()
    app = chat_app(witness, limits=LIMITS, limit_store=store)
    connection = Connection(content(window, stream=stream))
    async with witness.slots, anyio.create_task_group() as group:
        group.start_soon(run, app, connection)
        with anyio.fail_after(SECONDS):
            await witness.reached.wait()
            assert store.told == ONCE[:1]
            connection.left.set()
    assert store.told == ONCE
    assert store.tokens == [1 if window == "slow" else 0]


@pytest.mark.anyio
async def test_leaving_while_the_body_is_sent_releases_once() -> None:
    store = SharedStore()
    connection = Connection(b"")
    connection.left.set()
    connection._content = None
    await run(chat_app(Witness(), limits=LIMITS, limit_store=store), connection)
    assert connection.sent == []
    assert store.told == ONCE


@STREAM
@pytest.mark.parametrize("window", ["queued", "quiet", "slow", "holding"])
def test_leaving_a_real_server_releases_once(window: str, stream: bool) -> None:
    witness, store = Witness(threading.Event), Released()
    with serving(chat_app(witness, limits=LIMITS, limit_store=store)) as address:
        with connect(address) as first:
            if window == "queued":
                first.sendall(post("holding", stream=stream))
                assert witness.reached.wait(SECONDS)
                witness.reached.clear()
            with connect(address) as leaving:
                leaving.sendall(post(window, stream=stream))
                assert witness.reached.wait(SECONDS)
            assert store.released.wait(SECONDS)
        if window == "queued":
            assert store.twice.wait(SECONDS)
    wanted = 2 if window == "queued" else 1
    assert (store.acquired, store.count) == (wanted, wanted)


class Released(MemoryLimitStore):
    def __init__(self) -> None:
        super().__init__()
        self.acquired = self.count = 0
        self.released, self.twice = threading.Event(), threading.Event()

    def acquire(self, identity: str, limits: Limits, /) -> Quota | None:
        self.acquired += 1
        return super().acquire(identity, limits)

    def release(self, identity: str, limits: Limits, tokens: int, /) -> None:
        super().release(identity, limits, tokens)
        self.count += 1
        (self.twice if self.count == 2 else self.released).set()


@pytest.mark.anyio
@STREAM
@pytest.mark.parametrize("model", ["ends", "fails", "fails later", "has no end", "calls badly"])
@pytest.mark.parametrize("count", [1, 3])
async def test_the_end_releases_once(model: str, stream: bool, count: int) -> None:
    store = SharedStore()
    app = chat_app(Witness(), limits=LIMITS, limit_store=store, check_answers=True)
    await run(app, Connection(content(model, stream=stream, n=count)))
    assert store.told == ONCE


@pytest.mark.anyio
@pytest.mark.parametrize("fails_at", [0, 1, 2])
async def test_a_send_that_fails_releases_once(fails_at: int) -> None:
    store = SharedStore()
    app = chat_app(Witness(), limits=LIMITS, limit_store=store)
    await run(app, Connection(content("endless"), fails_at=fails_at))
    await run(app, Connection(b"not JSON", fails_at=0))
    assert store.told == ONCE * 2


@pytest.mark.anyio
@STREAM
async def test_it_is_released_before_the_client_has_all(stream: bool) -> None:
    """Or a client that asks once at a time would be refused now and then."""
    store = SharedStore()
    connection = Connection(content("ends", stream=stream))
    told: list[int] = []
    send = connection.send

    async def watching(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            told.append(len(store.told))
        await send(message)

    connection.send = watching  # type: ignore[method-assign]
    await run(chat_app(Witness(), limits=LIMITS, limit_store=store), connection)
    assert told == [2]


@pytest.mark.anyio
async def test_one_at_a_time_serves_one_after_the_other() -> None:
    app = chat_app(EchoBackend(), limits=Limits(concurrent=1))
    for stream in (True, False) * 5:
        assert (await ask(app, json=chat(stream=stream))).status_code == 200


@pytest.mark.anyio
async def test_one_too_many_at_a_time_is_refused_until_another_ends() -> None:
    witness = Witness()
    app = chat_app(witness, limits=Limits(concurrent=1))
    busy = Connection(content("quiet"))
    async with anyio.create_task_group() as group:
        group.start_soon(run, app, busy)
        with anyio.fail_after(SECONDS):
            await witness.reached.wait()
            refused = await ask(app, json=chat("ends"))
            busy.left.set()
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert (await ask(app, json=chat("ends"))).status_code == 200


# Cancelled in the middle of counting


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["acquire", "release"])
async def test_a_scope_that_is_cancelled_while_it_is_counted_still_counts(method: str) -> None:
    store = SharedStore(method)
    connection = Connection(content("ends"))
    app = chat_app(Witness(), limits=LIMITS, limit_store=store)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(run, app, connection)
            with anyio.fail_after(SECONDS, shield=True):
                await store.reached.wait()
                scope.cancel()
                await anyio.lowlevel.cancel_shielded_checkpoint()
                store.go.set()
    assert store.told == ONCE
    assert connection.sent == [] or method == "release"


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("method", ["acquire", "release"])
@pytest.mark.parametrize("times", [1, 3])
async def test_a_task_that_is_cancelled_while_it_is_counted_still_counts(
    method: str, times: int
) -> None:
    """As a server cancels it, which no scope holds up."""
    store = SharedStore(method)
    app = chat_app(Witness(), limits=LIMITS, limit_store=store)
    task = asyncio.create_task(run(app, Connection(content("ends"))))
    with anyio.fail_after(SECONDS):
        await store.reached.wait()
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        store.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert store.told == ONCE


@pytest.mark.anyio
async def test_a_client_that_leaves_while_its_end_is_counted_is_counted_once() -> None:
    store = SharedStore("release")
    connection = Connection(content("ends"))
    app = chat_app(Witness(), limits=LIMITS, limit_store=store)
    async with anyio.create_task_group() as group:
        group.start_soon(run, app, connection)
        with anyio.fail_after(SECONDS):
            await store.reached.wait()
            connection.left.set()
            await anyio.wait_all_tasks_blocked()
            store.go.set()
    assert store.told == ONCE


# A store that fails


class Broken:
    def __init__(self, method: str, error: Exception) -> None:
        self.method, self.error = method, error
        self.released = 0

    def acquire(self, identity: str, limits: Limits) -> None:
        if self.method == "acquire":
            raise self.error

    async def release(self, identity: str, limits: Limits, tokens: int) -> None:
        self.released += 1
        if self.method == "release":
            raise self.error


@pytest.mark.anyio
async def test_a_store_that_cannot_count_lets_nobody_in() -> None:
    for error, status in ((OSError("secret"), 500), (BackendUnavailable(), 503)):
        store = Broken("acquire", error)
        witness = Witness()
        response = await ask(chat_app(witness, limits=LIMITS, limit_store=store), json=chat("ends"))
        assert response.status_code == status
        assert "secret" not in response.text
        assert (witness.given, store.released) == (0, 0)


@pytest.mark.anyio
@STREAM
async def test_a_store_that_cannot_release_spoils_no_answer(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    store = Broken("release", OSError("the store is gone"))
    app = chat_app(EchoBackend(), limits=LIMITS, limit_store=store)
    response = await ask(app, json=chat(stream=stream))
    assert response.status_code == 200
    assert "one" in response.text
    assert store.released == 1
    assert "the end of a request could not be counted" in caplog.text
    assert "the store is gone" in caplog.text


@pytest.mark.anyio
async def test_a_store_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("llmount.limits._PATIENCE", 0.01)
    for method, status in (("acquire", 500), ("release", 200)):
        store = SharedStore(method)
        app = chat_app(EchoBackend(), limits=LIMITS, limit_store=store)
        assert (await ask(app, json=chat())).status_code == status
    assert "the end of a request could not be counted" in caplog.text


# What is told of it


@pytest.mark.anyio
async def test_limits_may_differ_and_some_have_none() -> None:
    plans = {"ada": Limits(requests=2, window=1e9), "bob": Limits(tokens=5), "eve": None}
    keys = {name: f"sk-{name}" for name in plans}
    app = chat_app(EchoBackend(), keys=keys, limits=plans.__getitem__)
    for name, limit in (("ada", "2"), ("bob", None), ("eve", None)):
        response = await ask(app, f"sk-{name}", json=chat())
        assert response.headers.get("x-ratelimit-limit-requests") == limit


@pytest.mark.anyio
async def test_who_has_no_key_is_told_nothing_of_limits() -> None:
    app = chat_app(EchoBackend(), keys={"ada": "sk-ada"}, limits=LIMITS)
    for key, path, status in ((None, "/models", 401), ("sk-x", "/models", 401), (None, "/x", 404)):
        response = await ask(app, key, path=path)
        assert response.status_code == status
        assert not [name for name in response.headers if "ratelimit" in name]


@pytest.mark.anyio
async def test_a_good_key_is_counted_and_told_also_for_what_is_no_operation() -> None:
    limits = Limits(requests=3, window=1e9)
    app = generate_app(EchoBackend(), keys=["sk-ada"], dialect="ajstudioz", limits=limits)
    heads = []
    for path in ("/nowhere", "/generate", "/nowhere", "/nowhere"):
        response = await ask(app, "sk-ada", path=path)
        heads.append((response.status_code, response.headers["x-ratelimit-remaining"]))
    assert heads == [(404, "2"), (405, "1"), (404, "0"), (429, "0")]


@pytest.mark.anyio
async def test_without_limits_nothing_is_told() -> None:
    response = await ask(chat_app(EchoBackend(), keys=["sk-ada"]), "sk-ada", json=chat())
    assert not [name for name in response.headers if "ratelimit" in name]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "1s"), (59.5, "1m0s"), (360, "6m0s"), (86_400, "24h0m0s"), (3661, "1h1m1s"), (-5, "0s")],
)
def test_openai_is_told_the_time_that_is_left(seconds: float, text: str) -> None:
    quota = Quota(5, 4, time.time() + seconds)
    headers = dict(service_headers(time.perf_counter_ns(), quota))
    assert headers["x-ratelimit-limit-requests"] == "5"
    assert headers["x-ratelimit-remaining-requests"] == "4"
    assert headers["x-ratelimit-reset-requests"] == text


@pytest.mark.anyio
async def test_the_head_of_a_stream_tells_how_long_its_first_word_took() -> None:
    @backend("busy")
    async def busy(prompt: Prompt) -> AsyncGenerator[Event | str, None]:
        until = time.perf_counter() + 0.02
        while time.perf_counter() < until:
            await anyio.lowlevel.checkpoint()
        yield "Hello"

    response = await ask(chat_app(busy), json=chat("busy", stream=True))
    assert int(response.headers["openai-processing-ms"]) >= 20
