"""What the HTTP backends say of an upstream's models."""

import pytest
from tests.upstream import (
    OLLAMA_TAGS,
    Reply,
    answering,
    ollama,
    openai,
    serving,
    stalling,
)

from llmount.backends.http import Timeouts
from llmount.backends.routing import Route, RoutingBackend
from llmount.errors import ApiError, BackendError, BackendTimeout, ModelNotFound
from llmount.types import Resident

pytestmark = [
    pytest.mark.anyio,
    # httpx leaves inner generators of its own unclosed, and trio says so.
    pytest.mark.filterwarnings("ignore:Async generator 'http(x|core):ResourceWarning"),
]


async def test_the_list_of_models_is_asked_for_once_in_a_while() -> None:
    async with serving(OLLAMA_TAGS) as upstream, ollama(upstream) as backend:
        first = await backend.models()
        assert await backend.models() == first

    assert [model.name for model in first] == ["m", "n"]
    assert [request.line for request in upstream.requests] == ["GET /api/tags HTTP/1.1"]


async def test_a_failure_to_list_models_is_not_kept() -> None:
    failing = answering(500, "{}")

    async with serving(failing, OLLAMA_TAGS) as upstream, ollama(upstream) as backend:
        with pytest.raises(BackendError):
            await backend.models()
        assert len(await backend.models()) == 2


@pytest.mark.parametrize(
    ("fixed", "listed", "size"),
    [("n", ["n"], 5), ("n:latest", ["n"], 5), ("other", ["other"], 0)],
)
async def test_a_backend_of_one_model_lists_that_one(
    fixed: str, listed: list[str], size: int
) -> None:
    tags = answering(200, '{"models": [{"name": "m:latest"}, {"name": "n:latest", "size": 5}]}')

    async with serving(tags) as upstream, ollama(upstream, model=fixed) as backend:
        models = await backend.models()

    assert [model.name for model in models] == listed
    assert [model.size for model in models] == [size]


@pytest.mark.parametrize("body", ["<html>", "[1", '{"models": 5}', " " * 9 * 2**20])
async def test_a_list_of_models_that_is_none_is_an_error(body: str) -> None:
    async with serving(answering(200, body)) as upstream, openai(upstream) as backend:
        with pytest.raises(BackendError):
            await backend.models()


# What is in memory

LOADED = answering(200, '{"model": "m", "response": "", "done": true, "done_reason": "load"}')
PS = answering(
    200,
    '{"models": [{"name": "m:latest", "size": 7, "expires_at": "2026-08-21T01:02:03Z"},'
    ' {"name": "n:1b", "size": 8}]}',
)


async def test_an_ollama_server_loads_and_unloads() -> None:
    async with serving(LOADED) as upstream, ollama(upstream) as backend:
        await backend.load("m", 30)
        await backend.load("m", None)
        await backend.unload("m")

    assert {request.line for request in upstream.requests} == {"POST /api/generate HTTP/1.1"}
    assert [request.body for request in upstream.requests] == [
        {"model": "m", "stream": False, "keep_alive": 30},
        {"model": "m", "stream": False},
        {"model": "m", "stream": False, "keep_alive": 0},
    ]


async def test_an_ollama_server_says_what_is_in_memory() -> None:
    async with serving(PS) as upstream, ollama(upstream) as backend:
        assert isinstance(backend, Resident)
        found = await backend.resident()

    assert [(each.model.name, each.size, each.expires) for each in found] == [
        ("m", 7, 1787274123),
        ("n:1b", 8, None),
    ]
    assert [request.line for request in upstream.requests] == ["GET /api/ps HTTP/1.1"]


async def test_a_backend_of_one_model_loads_and_sees_that_one_only() -> None:
    async with serving(LOADED, PS) as upstream, ollama(upstream, model="n:1b") as backend:
        await backend.load("m", None)
        found = await backend.resident()

    assert upstream.requests[0].body["model"] == "n:1b"
    assert [each.model.name for each in found] == ["n:1b"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answering(404, '{"error": "model \'m\' not found"}'), ModelNotFound),
        (answering(200, '{"error": "out of memory"}'), BackendError),
        (answering(200, '{"response": "", "done": false}'), BackendError),
        (answering(200, "[]"), BackendError),
        (answering(200, "<html>"), BackendError),
    ],
)
async def test_a_model_that_was_not_loaded_is_an_error(
    reply: Reply, expected: type[ApiError]
) -> None:
    async with serving(reply) as upstream, ollama(upstream) as backend:
        with pytest.raises(ApiError) as caught:
            await backend.load("m", None)

    assert type(caught.value) is expected


async def test_loading_may_take_as_long_as_a_first_item() -> None:
    timeout = Timeouts(first=0.05)

    async with serving(stalling()) as upstream, ollama(upstream, timeout=timeout) as backend:
        with pytest.raises(BackendTimeout):
            await backend.load("m", None)


@pytest.mark.parametrize("model", ["m", "M:latest"])
async def test_a_route_leads_to_what_is_listed_with_or_without_a_tag(model: str) -> None:
    tags = answering(200, '{"models": [{"name": "M:latest", "size": 5}]}')
    ps = answering(200, '{"models": [{"name": "M:latest", "size": 7}]}')

    async with serving(tags, ps) as upstream, ollama(upstream) as backend:
        routing = RoutingBackend({"a": Route(backend, model)})
        (listed,) = await routing.models()
        (loaded,) = await routing.resident()

    assert (listed.name, listed.size) == ("a", 5)
    assert (loaded.model.name, loaded.size) == ("a", 7)
