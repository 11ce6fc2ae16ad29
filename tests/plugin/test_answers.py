"""What the reference server answers, and what it writes down."""

from __future__ import annotations

import anyio
import httpx
import pytest

from llmount.backends.echo import Fail
from llmount.errors import ModelNotFound
from llmount.testing.reference.server import ReferenceServer
from llmount.types import TextDelta
from tests.plugin.asking import asking, body_of

pytestmark = pytest.mark.anyio

PATH = "/v1/chat/completions"


async def said(server: ReferenceServer, text: str = "echoed", *, model: str = "m") -> str:
    with anyio.fail_after(20):
        async with asking(server) as client:
            body = body_of(PATH, text, stream=False) | {"model": model}
            answer = await client.post(PATH, json=body)
    return str(answer.json()["choices"][0]["message"]["content"])


async def test_the_queue_comes_first_then_the_rules_then_an_echo() -> None:
    server = ReferenceServer()
    server.reply("rule", when="WEATHER")
    server.reply("later rule", when="weather")
    server.say("queued")

    assert [await said(server, "the weather") for _ in range(2)] == ["queued", "rule"]
    assert await said(server) == "echoed"


async def test_a_rule_looks_at_the_model_the_prompt_and_its_number() -> None:
    server = ReferenceServer()
    server.reply("second", nth=2)
    server.reply("small", model="tiny*")
    server.reply("short", when=lambda prompt: len(prompt.messages[-1].text) < 3)

    assert await said(server, "hello", model="tiny:1b") == "small"
    assert await said(server, "hello", model="tiny:1b") == "second"
    assert await said(server, "hi") == "short"
    assert await said(server, "hello") == "hello"


async def test_events_are_played_as_they_are() -> None:
    server = ReferenceServer()
    server.say(events=[TextDelta("so"), TextDelta(" be it")])
    server.say(events=[Fail(ModelNotFound("gone"))])

    assert await said(server) == "so be it"
    async with asking(server) as client:
        assert (await client.post(PATH, json=body_of(PATH))).status_code == 404


async def test_a_quota_tells_the_truth_about_when_to_come_again() -> None:
    server = ReferenceServer()
    server.limit(2, window=60)

    async with asking(server) as client:
        answers = [await client.post(PATH, json=body_of(PATH)) for _ in range(3)]

    assert [each.status_code for each in answers] == [200, 200, 429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    server.limit(None)
    assert await said(server) == "echoed"


@pytest.mark.parametrize("path", ["/api/tags", "/v1/models", "/ai/v1/models"])
async def test_every_api_is_there(path: str) -> None:
    async with asking(ReferenceServer()) as client:
        assert (await client.get(path)).status_code == 200


async def test_the_journal_has_what_was_asked_without_secrets() -> None:
    server = ReferenceServer()
    headers = {"authorization": "Bearer sk-secret", "x-stainless-retry-count": "1"}

    async with asking(server) as client:
        await client.post(PATH, json=body_of(PATH, "Hello"), headers=headers)

    (asked,) = server.requests
    assert (asked.method, asked.path, asked.status) == ("POST", PATH, 200)
    assert asked.json == body_of(PATH, "Hello")
    assert asked.model == "m"
    assert "secret" not in repr(asked)
    assert "authorization" in asked.headers
    assert asked.headers["x-stainless-retry-count"] == "1"


def test_a_server_in_process_has_no_address() -> None:
    server = ReferenceServer()

    with pytest.raises(RuntimeError, match="in process"):
        server.url  # noqa: B018
    with pytest.raises(RuntimeError, match="in process"):
        server.down()


def test_a_server_that_is_down_refuses_and_comes_back(server: ReferenceServer) -> None:
    url = f"{server.ollama_url}/api/tags"
    with httpx.Client(trust_env=False, timeout=20) as client:
        with server.down(), pytest.raises(httpx.ConnectError):
            client.get(url)
        assert client.get(url).status_code == 200


def test_connections_are_cut_and_reset_on_a_port(server: ReferenceServer) -> None:
    server.fault.reset().truncate(cut=True)

    with httpx.Client(base_url=server.url, trust_env=False, timeout=20) as client:
        with pytest.raises(httpx.ReadError):
            client.post(PATH, json=body_of(PATH))
        with pytest.raises(httpx.RemoteProtocolError):
            client.post(PATH, json=body_of(PATH))

    assert [asked.end for asked in server.requests] == ["cut", "cut"]
