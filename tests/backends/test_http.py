"""The HTTP backends against small real servers on loopback."""

import json
from contextlib import aclosing
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import httpx
import pytest
from tests.upstream import (
    DONE,
    END,
    KEY,
    OLLAMA,
    OPENAI,
    PROMPT,
    SSE,
    A,
    B,
    Reply,
    Stream,
    answering,
    collect,
    delta,
    event,
    hanging_up,
    head,
    line,
    ollama,
    openai,
    piece,
    sending,
    serving,
    text_of,
)

from llmount.backends.http import OllamaBackend, OpenAIBackend
from llmount.dialects.openai_client_request import HOSTED
from llmount.errors import (
    ApiError,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    BadRequest,
    ModelNotFound,
    Overloaded,
    RateLimited,
)
from llmount.types import Finish, TextDelta

pytestmark = [
    pytest.mark.anyio,
    # httpx leaves inner generators of its own unclosed, and trio says so.
    pytest.mark.filterwarnings("ignore:Async generator 'http(x|core):ResourceWarning"),
]

# Answers


async def test_an_ollama_server_is_asked_and_heard() -> None:
    async with serving(OLLAMA) as upstream, ollama(upstream, headers={"x-team": "a"}) as backend:
        *deltas, finish = await collect(backend)

    (request,) = upstream.requests
    assert deltas == [TextDelta("a"), TextDelta("b")]
    assert isinstance(finish, Finish)
    assert finish.usage.completion == 2
    assert request.line == "POST /api/chat HTTP/1.1"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-team"] == "a"
    assert request.body["model"] == "m"
    assert request.body["options"] == {"num_predict": 5}


async def test_an_openai_server_is_asked_and_heard() -> None:
    async with (
        serving(OPENAI) as upstream,
        openai(upstream, api_key=KEY, model="up", settings=HOSTED) as backend,
    ):
        *deltas, finish = await collect(backend)

    (request,) = upstream.requests
    assert deltas == [TextDelta("a"), TextDelta("b")]
    assert isinstance(finish, Finish)
    assert request.line == "POST /v1/chat/completions HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body["model"] == "up"
    assert request.body["max_completion_tokens"] == 5


async def test_items_are_passed_on_as_they_arrive() -> None:
    seen = anyio.Event()

    async def reply(stream: Stream) -> None:
        await stream.send(head() + A)
        await seen.wait()
        await stream.send(B + DONE + END)

    async with (
        serving(reply) as upstream,
        ollama(upstream) as backend,
        aclosing(backend.generate(PROMPT)) as events,
    ):
        assert await anext(events) == TextDelta("a")
        seen.set()
        assert await anext(events) == TextDelta("b")


async def test_a_body_that_is_not_a_stream_is_an_answer_too() -> None:
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "ab"}}]}
    reply = answering(200, json.dumps(whole, indent=2), media_type="application/json; charset=x")

    async with serving(reply) as upstream, openai(upstream) as backend:
        assert text_of(await collect(backend)) == "ab"


@pytest.mark.parametrize("media_type", ["text/event-stream", "application/json", "text/plain"])
async def test_lines_are_read_whatever_they_are_labelled(media_type: str) -> None:
    reply = sending(head(200, media_type), A, B, DONE, END)

    async with serving(reply) as upstream, ollama(upstream) as backend:
        assert text_of(await collect(backend)) == "ab"


@pytest.mark.parametrize(
    "rest", [(), (piece("data: [DONE]"), END), (piece("data: [DO"),), (event("[DONE]"),)]
)
async def test_what_is_lost_after_the_finish_does_not_spoil_the_answer(
    rest: tuple[bytes, ...],
) -> None:
    reply = hanging_up(SSE, delta("ab"), delta("", "stop"), *rest)

    async with serving(reply) as upstream, openai(upstream) as backend:
        events = await collect(backend)

    assert text_of(events) == "ab"
    assert isinstance(events[-1], Finish)


# Failures


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, '{"error": "invalid model name"}', BadRequest),
        (401, '{"error": "unauthorized"}', BackendError),
        (403, "", BackendError),
        (404, '{"error": "model \'m\' not found"}', ModelNotFound),
        (404, "404 page not found", BackendError),
        (429, '{"error": "slow down"}', RateLimited),
        (500, '{"error": "runner has terminated"}', BackendError),
        (502, "<html></html>", BackendError),
        (503, '{"error": "server busy, please try again."}', Overloaded),
        (504, "", BackendTimeout),
    ],
)
async def test_the_status_of_the_upstream_is_told_apart(
    status: int, body: str, expected: type[ApiError]
) -> None:
    # A chunk of no bytes would end the body.
    async with serving(answering(status, body or " ")) as upstream, ollama(upstream) as backend:
        with pytest.raises(ApiError) as caught:
            await collect(backend)

    assert type(caught.value) is expected


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("Retry-After: 7", 7, 7),
        ("Retry-After: Fri, 31 Dec 9999 23:59:59 GMT", 10**9, 10**12),
        ("Retry-After: Fri, 31 Dec 9999 23:59:59 -0000", 10**9, 10**12),
        ("Retry-After: Sat, 01 Jan 2000 00:00:00 GMT", 0, 0),
    ],
)
async def test_the_time_to_wait_is_carried_on(
    status: int, header: str, low: float, high: float
) -> None:
    async with serving(answering(status, "{}", header)) as upstream, ollama(upstream) as backend:
        with pytest.raises(ApiError) as caught:
            await collect(backend)

    assert isinstance(caught.value, RateLimited | Overloaded)
    assert caught.value.retry_after is not None
    assert low <= caught.value.retry_after <= high


@pytest.mark.parametrize("header", ["Retry-After: soon", "X-Other: 1"])
async def test_a_time_to_wait_that_is_not_told_is_unknown(header: str) -> None:
    async with serving(answering(429, "{}", header)) as upstream, ollama(upstream) as backend:
        with pytest.raises(RateLimited) as caught:
            await collect(backend)

    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(sending(head(), A, line(error="boom"), END), id="error in the stream"),
        pytest.param(hanging_up(head(), A), id="cut within a chunked body"),
        pytest.param(sending(head(), A, END), id="ended without its end"),
        pytest.param(hanging_up(head(), A, piece('{"message":')), id="cut within an item"),
        pytest.param(
            hanging_up(b"HTTP/1.0 200 OK\r\n\r\n" + b'{"message": {"content": "a"}}\n'),
            id="cut where only the end of the connection ends the body",
        ),
        pytest.param(sending(head(), A, piece("<html>\n"), END), id="garbled"),
    ],
)
async def test_an_answer_that_breaks_off_is_an_error_after_what_came_before(reply: Reply) -> None:
    async with (
        serving(reply) as upstream,
        ollama(upstream) as backend,
        aclosing(backend.generate(PROMPT)) as events,
    ):
        assert await anext(events) == TextDelta("a")
        with pytest.raises(BackendError):
            await anext(events)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(hanging_up(), id="no response"),
        pytest.param(answering(200, "<html>Welcome</html>", media_type="text/html"), id="html"),
        pytest.param(answering(200, "not JSON"), id="not json"),
        pytest.param(sending(b"SSH-2.0-OpenSSH\r\n\r\n"), id="not http"),
    ],
)
async def test_what_is_no_answer_is_an_error(reply: Reply) -> None:
    async with serving(reply) as upstream, openai(upstream) as backend:
        with pytest.raises(BackendError) as caught:
            await collect(backend)

    assert caught.value.status == 502


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with serving(OLLAMA) as upstream:
        pass
    async with ollama(upstream) as backend:
        with pytest.raises(BackendUnavailable):
            await collect(backend)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (httpx.ConnectTimeout, BackendUnavailable),
        (httpx.PoolTimeout, Overloaded),
        (httpx.ReadTimeout, BackendTimeout),
        (httpx.ReadError, BackendError),
        (httpx.LocalProtocolError, BackendError),
        (httpx.ProxyError, BackendUnavailable),
    ],
)
async def test_failures_of_the_transport_are_told_apart(
    failure: type[httpx.RequestError], expected: type[ApiError]
) -> None:
    class Failing(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise failure("inside", request=request)

    backend = OllamaBackend("http://upstream", transport=Failing())
    with pytest.raises(ApiError) as caught:
        await collect(backend)
    await backend.aclose()

    assert type(caught.value) is expected
    assert "inside" not in caught.value.message


async def test_redirects_are_not_followed() -> None:
    reply = answering(307, "{}", "Location: /elsewhere")

    async with serving(reply, OLLAMA) as upstream, ollama(upstream) as backend:
        with pytest.raises(BackendError):
            await collect(backend)

    assert len(upstream.requests) == 1


async def test_an_answer_without_end_is_given_up() -> None:
    async def reply(stream: Stream) -> None:
        await stream.send(head())
        while True:
            await stream.send(A)

    async with serving(reply) as upstream, ollama(upstream, max_bytes=10_000) as backend:
        with pytest.raises(BackendError, match="too large"):
            await collect(backend)


# Secrets

ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in KEY)


async def test_no_secret_is_in_what_a_failure_says() -> None:
    reply = answering(401, json.dumps({"error": {"message": f"Incorrect key: {KEY}"}}))

    async with serving(reply) as upstream, openai(upstream, api_key=KEY) as backend:
        with pytest.raises(BackendError) as caught:
            await collect(backend)
        described = repr(backend)

    said = [caught.value.message, repr(caught.value), *caught.value.__notes__, described]
    assert not [text for text in said if KEY in text]
    assert upstream.url in described


@pytest.mark.parametrize(
    "reply",
    [
        answering(400, json.dumps({"error": {"message": f"no such key: {KEY}"}})),
        answering(400, json.dumps({"error": {"message": "no such key"}}).replace("key", ESCAPED)),
        sending(SSE, event({"error": {"message": f"key {KEY} expired", "code": 400}}), END),
        sending(SSE, delta("a"), event({"error": {"message": f"key {KEY} expired"}}), END),
        answering(200, json.dumps({"error": {"message": f"key {KEY} expired"}})),
    ],
    ids=["body", "escaped", "in the place of a stream", "in a stream", "whole"],
)
@pytest.mark.parametrize(
    "arguments",
    [{"api_key": KEY}, {"headers": {"authorization": f"Bearer {KEY}"}}],
    ids=["key", "header"],
)
async def test_no_secret_is_in_what_the_upstream_says(
    reply: Reply, arguments: dict[str, Any]
) -> None:
    async with serving(reply) as upstream, openai(upstream, **arguments) as backend:
        with pytest.raises(ApiError) as caught:
            await collect(backend)

    error = caught.value
    said = " ".join([error.message, repr(error), *getattr(error, "__notes__", [])])
    assert KEY not in said
    assert "***" in said


@pytest.mark.parametrize(
    "arguments",
    [
        {"base_url": "ftp://a"},
        {"base_url": "a:80"},
        {"base_url": "http://"},
        {"base_url": "http://a:port"},
        {"base_url": f"http://user:{KEY}@a"},
        {"base_url": f"http://a?key={KEY}"},
        {"base_url": "http://a", "api_key": f"{KEY}\n"},
        {"base_url": "http://a", "api_key": f"{KEY}é"},
        {"base_url": "http://a", "headers": {"x-key": f"{KEY}\r\nx: y"}},
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        OpenAIBackend(**arguments)

    assert KEY not in str(caught.value)
