"""An app by itself: which operation a request means, its pages, its start and its end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import anyio
import httpx
import pytest
from openapi_spec_validator import OpenAPIV32SpecValidator

from llmount import (
    App,
    ContractMismatch,
    EchoBackend,
    RoutingBackend,
    ScriptedImageBackend,
    ai_app,
    chat_app,
    gateway,
    generate_app,
)
from llmount.app import MAX_BODY
from llmount.dialects.geenii import Geenii
from llmount.dialects.ollama import Ollama
from llmount.dialects.openai import OpenAI
from llmount.dialects.protocol import Handler
from llmount.streaming import Message
from llmount.testing.transport import ASGITransport

SECONDS = 10
HI = {"model": "echo", "messages": [{"role": "user", "content": "Hi"}]}


class Closable(EchoBackend):
    """Counts how often it is closed."""

    closed = 0

    async def aclose(self) -> None:
        self.closed += 1


def three(backend: EchoBackend | None = None, **options: Any) -> App:
    """All three families at one root."""
    backend = backend or EchoBackend()
    apps = {
        "/api": generate_app(backend),
        "/v1": chat_app(backend),
        "/ai/v1": ai_app({"echo": backend}),
    }
    return gateway(apps, check_answers=True, **options)


async def ask(
    app: App, method: str, path: str, *, root_path: str = "", **more: Any
) -> httpx.Response:
    transport = ASGITransport(app, root_path=root_path)
    with anyio.fail_after(SECONDS):
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.request(method, path, **more)


# A document and its handlers


class Deaf(OpenAI):
    """Lacks a handler, and has one for what is no operation."""

    @property
    def handlers(self) -> Mapping[str, Handler]:
        handlers = dict(super().handlers)
        return {"moderate": handlers.pop("listModels"), **handlers}


def test_an_app_whose_handlers_do_not_match_refuses_to_start() -> None:
    with pytest.raises(ContractMismatch) as caught:
        App([("", Deaf(EchoBackend()))])
    assert str(caught.value) == (
        "document 'chat/openai' and its dialect differ: "
        "operations without a handler: listModels; handlers without an operation: moderate"
    )


def test_an_unknown_dialect_is_told_with_those_that_there_are() -> None:
    with pytest.raises(LookupError, match="no dialect 'openay' in chat; there are openai"):
        chat_app(EchoBackend(), dialect="openay")
    with pytest.raises(LookupError, match="no dialect 'openai' in ai; there are geenii"):
        ai_app({}, dialect="openai")


@pytest.mark.anyio
async def test_a_dialect_of_ones_own_is_mounted_as_it_is() -> None:
    class Own(Ollama):
        pass

    app = generate_app(EchoBackend(), dialect=Own(EchoBackend(models=["other"])))
    response = await ask(app, "GET", "/tags")
    assert [model["name"] for model in response.json()["models"]] == ["other:latest"]


# Which operation


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/api/tags", "models"),
        ("/api/version", "version"),
        ("/v1/models", "data"),
        ("/v1/models/echo", "id"),
        ("/ai/v1/models", 0),
    ],
)
@pytest.mark.parametrize("slash", ["", "/", "//"])
async def test_a_gateway_has_every_operation_at_its_prefix(
    path: str, key: str | int, slash: str
) -> None:
    response = await ask(three(), "GET", path + slash)
    assert response.status_code == 200
    assert response.json()[key]


@pytest.mark.anyio
async def test_what_stands_at_the_root_of_the_server_is_there_also_in_a_gateway() -> None:
    for app in (three(), generate_app(EchoBackend())):
        response = await ask(app, "GET", "/")
        assert response.text == "Ollama is running"
    assert (await ask(three(), "GET", "/api")).status_code == 404


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v1/nope", {"error"}),
        ("/v1", {"error"}),
        ("/ai/v1/nope", {"detail"}),
        ("/api/nope", "404 page not found"),
        # No mount has these; the last one of the shortest prefix answers.
        ("/v10/models", None),
        ("/nope", None),
        ("//v1/models", None),
    ],
)
async def test_the_nearest_mount_says_that_a_path_is_not_there(path: str, answer: Any) -> None:
    response = await ask(three(), "GET", path)
    assert response.status_code == 404
    if isinstance(answer, str):
        assert response.text == answer
    elif answer is not None:
        assert response.json().keys() == answer


@pytest.mark.anyio
async def test_one_app_may_stand_at_two_prefixes() -> None:
    backend = Closable()
    chat = chat_app(backend)
    app = gateway({"/v1": chat, "/openai/v1/": chat})
    for prefix in ("/v1", "/openai/v1"):
        assert (await ask(app, "POST", f"{prefix}/chat/completions", json=HI)).status_code == 200
        document = (await ask(app, "GET", f"{prefix}/openapi.json")).json()
        assert document["servers"] == [{"url": prefix}]
    await app.aclose()
    assert backend.closed == 1


@pytest.mark.anyio
async def test_one_app_may_hold_several_dialects() -> None:
    backend = EchoBackend()
    app = App([("/a", Ollama(backend)), ("/b/", OpenAI(backend)), ("", Geenii({"e": backend}))])
    for path in ("/a/tags", "/b/models", "/models", "/a/openapi.json", "/b/docs", "/docs"):
        assert (await ask(app, "GET", path)).status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path",
    ["/api/tags", "/v1/models", "/v1/models/nope", "/v1/openapi.json", "/v1/docs", "/api/nope"],
)
async def test_head_has_the_head_of_get_and_no_body(path: str) -> None:
    app = three()
    get, head = await ask(app, "GET", path), await ask(app, "HEAD", path)
    assert head.status_code == get.status_code
    assert head.content == b""
    for name in ("content-type", "content-length"):
        assert head.headers[name] == get.headers[name]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/chat/completions", "POST"),
        ("/v1/models", "GET, HEAD"),
        ("/v1/models/a/b", "GET, HEAD"),
        ("/v1/openapi.json", "GET, HEAD"),
        ("/ai/v1/docs", "GET, HEAD"),
    ],
)
async def test_another_method_is_told_which_there_are(path: str, allowed: str) -> None:
    response = await ask(three(), "DELETE", path)
    assert response.status_code == 405
    assert response.headers["allow"] == allowed


# The pages


@pytest.mark.anyio
@pytest.mark.parametrize("root_path", ["", "/proxy", "/proxy/"])
@pytest.mark.parametrize("prefix", ["/api", "/v1", "/ai/v1"])
async def test_the_document_says_where_the_client_finds_it(root_path: str, prefix: str) -> None:
    base = root_path.rstrip("/")
    response = await ask(three(), "GET", f"{base}{prefix}/openapi.json", root_path=root_path)
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert document["servers"] == [{"url": base + prefix}]
    if prefix == "/api":
        assert document["paths"]["/"]["servers"] == [{"url": base or "/"}]
    assert list(OpenAPIV32SpecValidator(document).iter_errors()) == []


@pytest.mark.anyio
async def test_the_document_of_an_app_at_the_root_names_the_root() -> None:
    response = await ask(chat_app(EchoBackend()), "GET", "/openapi.json")
    assert response.json()["servers"] == [{"url": "/"}]


@pytest.mark.anyio
async def test_the_page_has_a_policy_whose_nonce_is_new_and_its_own() -> None:
    app = three()
    seen = set()
    for path in ("/v1/docs", "/v1/docs/", "/api/docs"):
        response = await ask(app, "GET", path)
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        policy = dict(
            directive.split(" ", 1)
            for directive in response.headers["content-security-policy"].split("; ")
        )
        assert policy["default-src"] == "'none'"
        (nonce,) = re.findall("'nonce-([^']+)'", policy["script-src"])
        assert policy["style-src"] == f"'nonce-{nonce}'"
        assert "unsafe" not in response.headers["content-security-policy"]
        tags = re.findall(r"<(?:script|style)\b[^>]*>", response.text)
        assert len(tags) == 2
        for tag in tags:
            assert f'nonce="{nonce}"' in tag
        assert "__NONCE__" not in response.text
        seen.add(nonce)
    assert len(seen) == 3


# Its start and its end


async def lifespan(app: App) -> list[str]:
    asked = iter(["lifespan.startup", "lifespan.shutdown"])
    said: list[str] = []

    async def receive() -> Message:
        return {"type": next(asked)}

    async def send(message: Message) -> None:
        said.append(message["type"])

    with anyio.fail_after(SECONDS):
        await app({"type": "lifespan"}, receive, send)
    return said


@pytest.mark.anyio
async def test_a_server_that_starts_and_stops_the_app_closes_its_backends() -> None:
    backend = Closable()
    app = three(backend)
    assert await lifespan(app) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert backend.closed == 1


@pytest.mark.anyio
async def test_each_backend_is_closed_once_wherever_it_stands() -> None:
    class Drawing(ScriptedImageBackend):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    one, two, three, images = Closable(), Closable(), Closable(), Drawing()
    app = gateway(
        {
            "/api": generate_app(one, images=images),
            "/v1": chat_app(one),
            "/ai": ai_app({"a": one, "b": two}, images={"a": images}),
            "/routed": chat_app(RoutingBackend({"x": three, "y": three})),
            "/open": chat_app(EchoBackend()),
        }
    )
    await app.aclose()
    assert [each.closed for each in (one, two, three, images)] == [1, 1, 1, 1]


@pytest.mark.anyio
async def test_a_websocket_is_closed() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    await three()({"type": "websocket", "path": "/v1/models"}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


# Options


@pytest.fixture(params=["jsonschema-rs", "jsonschema"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.anyio
async def test_either_engine_may_validate(engine: str) -> None:
    app = three(engine=engine)
    good = await ask(app, "POST", "/v1/chat/completions", json=HI)
    bad = await ask(app, "POST", "/v1/chat/completions", json={**HI, "n": "x"})
    assert (good.status_code, bad.status_code) == (200, 400)
    assert bad.json()["error"]["param"] == "n"


@pytest.mark.anyio
async def test_a_body_is_limited_by_the_gateway_and_not_by_its_apps() -> None:
    assert chat_app(EchoBackend()).max_body == MAX_BODY
    app = gateway({"/v1": chat_app(EchoBackend(), max_body=10)}, max_body=1000)
    assert (await ask(app, "POST", "/v1/chat/completions", json=HI)).status_code == 200
    small = chat_app(EchoBackend(), max_body=10)
    assert (await ask(small, "POST", "/chat/completions", json=HI)).status_code == 413


@pytest.fixture
def wrong() -> dict[bool, App]:
    """An app that breaks its document, by whether it is held to that."""

    class Wrong(OpenAI):
        @property
        def handlers(self) -> Mapping[str, Handler]:
            handlers = dict(super().handlers)
            return {**handlers, "listModels": handlers["retrieveModel"]}

        async def retrieve_model(self, request: Any) -> Any:
            request.params = {"model": "echo"}
            return await super().retrieve_model(request)

    backend = EchoBackend()
    return {
        checked: App([("", Wrong(backend))], check_answers=checked) for checked in (True, False)
    }


@pytest.mark.breaks_documents
@pytest.mark.anyio
async def test_an_answer_is_held_to_the_document_where_that_is_wanted(
    wrong: dict[bool, App],
) -> None:
    assert (await ask(wrong[False], "GET", "/models")).json()["object"] == "model"
    checked = await ask(wrong[True], "GET", "/models")
    assert checked.status_code == 500
    assert checked.json()["error"]["message"] == "internal server error"


def test_an_option_that_there_is_not_is_an_error() -> None:
    with pytest.raises(TypeError, match="max_bodies"):
        chat_app(EchoBackend(), max_bodies=1)
