"""What a server speaks is found out, and where."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from llmount import EchoBackend, chat_app, gateway, generate_app
from llmount.check.detect import capabilities, detect, locate, models
from llmount.check.inspection import CannotRun, Options, inspect
from llmount.check.target import Target
from llmount.jsontext import dumps_bytes

from .breaking import Answer, altered, refusal
from .own import KEY, OWN, App, staged

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def reached(app: App) -> AsyncIterator[Target]:
    with staged(app) as url, anyio.fail_after(20):
        async with Target(url, headers={"authorization": f"Bearer {KEY}"}) as target:
            yield target


def at(mount: str, app: App) -> App:
    return Starlette(routes=[Mount(mount, app)])


@pytest.mark.parametrize("contract", OWN)
async def test_each_of_our_apps_is_found_at_the_root(contract: str) -> None:
    async with reached(OWN[contract]()) as target:
        found = await detect(target)
        assert [(each.contract, each.mount) for each in found] == [(contract, "")]
        assert await locate(target, contract) == ""


@pytest.mark.parametrize("contract", OWN)
async def test_each_of_our_apps_is_found_at_its_own_mount(contract: str) -> None:
    mount = {"generate": "/api", "chat": "/v1", "ai": "/ai/v1"}[contract.partition("/")[0]]
    mount = "/openai" if contract == "chat/azure" else mount
    async with reached(at(mount, OWN[contract]())) as target:
        found = await detect(target)
        assert [(each.contract, each.mount) for each in found] == [(contract, mount)]
        assert await locate(target, contract) == mount


async def test_what_is_not_there_is_not_found() -> None:
    async with reached(OWN["chat/responses"]()) as target:
        for contract in OWN:
            if contract != "chat/responses":
                assert await locate(target, contract) is None, contract


@pytest.mark.parametrize("told", ["model '{}' not found", "Model not found"])
async def test_a_model_that_is_not_found_is_no_missing_path(told: str) -> None:
    def missing(answer: Answer) -> None:
        if answer.asked and answer.path.endswith("/generate"):
            answer.status = 404
            answer.content = dumps_bytes({"error": told.format(answer.asked["model"])})

    async with reached(altered(OWN["generate/ollama"](), refusal(missing))) as target:
        assert await locate(target, "generate/ollama") == ""
        assert [each.contract for each in await detect(target)] == ["generate/ollama"]


async def test_a_server_that_repeats_the_path_has_not_got_it() -> None:
    async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    async with reached(app) as target:
        assert await detect(target) == []
        for contract in OWN:
            assert await locate(target, contract) is None


async def test_refusals_of_another_form_hide_no_ollama() -> None:
    def detail(answer: Answer) -> None:
        if answer.asked:
            answer.status, answer.content = 422, b'{"detail":"wrong"}'

    async with reached(altered(OWN["generate/ollama"](), refusal(detail))) as target:
        assert [each.contract for each in await detect(target)] == ["generate/ollama"]


async def test_refusals_of_another_form_hide_no_openai() -> None:
    def flat(answer: Answer) -> None:
        answer.content = b'{"object":"error","message":"wrong","code":400}'

    async with reached(altered(OWN["chat/openai"](), refusal(flat))) as target:
        assert [each.contract for each in await detect(target)] == ["chat/openai"]


async def test_several_contracts_are_found_the_likeliest_first() -> None:
    backend = EchoBackend()
    chats = [chat_app(backend, dialect="responses"), chat_app(backend)]
    async with reached(gateway({"/v1": chats, "/api": generate_app(backend)})) as target:
        found = [each.contract for each in await detect(target)]
        assert found == ["generate/ollama", "chat/openai", "chat/responses"]


async def test_a_server_that_asks_for_a_key_shows_nothing_without_one() -> None:
    with staged(chat_app(EchoBackend(), keys=["sk-other"])) as url, anyio.fail_after(20):
        async with Target(url) as target:
            assert await detect(target) == []
            assert await locate(target, "chat/openai") == ""


@pytest.mark.parametrize("contracts", [(), ("chat/openai",)])
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer sk-wrong"}])
async def test_a_server_that_asks_for_a_key_cannot_be_checked_without_a_good_one(
    contracts: tuple[str, ...], headers: dict[str, str]
) -> None:
    with staged(chat_app(EchoBackend(), keys=[KEY])) as url, anyio.fail_after(20):
        with pytest.raises(CannotRun, match="say --key"):
            await inspect(url, Options(contracts=contracts, headers=headers))
        good = {"authorization": f"Bearer {KEY}"}
        [report] = await inspect(
            url, Options(contracts=contracts, headers=good, only=["answers.plain"])
        )
        assert report.conforms


async def test_models_and_what_they_can_do_are_read() -> None:
    async with reached(OWN["generate/ollama"]()) as target:
        assert await models(target, "generate/ollama", "") == ["echo:latest"]
        able = await capabilities(target, "generate/ollama", "", "echo")
        assert able is not None
        assert "completion" in able
        assert await capabilities(target, "chat/openai", "", "echo") is None
        assert await models(target, "generate/ktransformers", "") == []
    async with reached(OWN["ai/geenii"]()) as target:
        assert await models(target, "ai/geenii", "") == ["echo:echo"]


async def test_lists_that_are_no_lists_have_no_models() -> None:
    def odd(answer: Answer) -> None:
        answer.content = b'{"models": null}' if "tags" in answer.path else b"<html>"

    async with reached(altered(OWN["generate/ollama"](), odd)) as target:
        assert await models(target, "generate/ollama", "") == []
        assert await models(target, "chat/openai", "") == []
        assert await capabilities(target, "generate/ollama", "", "echo") is None
