"""Behind Django's URLconf: log-in, CSRF, the upload limit, middleware and threads."""

from __future__ import annotations

import gc
import json
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

import anyio
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import RequestFactory, override_settings
from django.urls import include, path
from django.utils.decorators import async_only_middleware
from hosts import ASGIApp, client_of, django_project
from members import log_in

import llmount.django
from llmount import EchoBackend, chat_app, generate_app
from llmount.backends.function import FunctionBackend
from llmount.types import Event, Model, Prompt, TextDelta

pytestmark = pytest.mark.anyio

SECONDS = 10


@pytest.fixture
def anyio_backend() -> str:
    """Django's own handler runs on nothing else."""
    return "asyncio"


class Counting(EchoBackend):
    """Counts what reaches it."""

    asked = 0

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        self.asked += 1
        async for event in super().generate(prompt):
            yield event


CHAT = {"model": "echo", "messages": [{"role": "user", "content": "Hello there"}]}


# In front of the URLconf


async def test_who_is_not_logged_in_is_sent_to_the_log_in_page() -> None:
    backend = Counting()
    members = llmount.django.urls(chat_app(backend), login_required=True)
    async with client_of(django_project(path("v1/", include(members)))) as client:
        answer = await client.post("/v1/chat/completions", json=CHAT)
    assert answer.status_code == 302
    assert answer.headers["location"] == "/login/?next=/v1/chat/completions"
    assert backend.asked == 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_logged_in_session_passes(stream: bool) -> None:
    backend = Counting()
    members = llmount.django.urls(chat_app(backend), login_required=True)
    project = django_project(path("login/", log_in), path("v1/", include(members)))
    async with client_of(project) as client:
        assert (await client.get("/login/")).text == "welcome"
        answer = await client.post("/v1/chat/completions", json={**CHAT, "stream": stream})
    assert answer.status_code == 200
    assert "there" in answer.text
    assert backend.asked == 1


async def test_cross_site_protection_is_there_for_who_asks() -> None:
    backend = Counting()
    guarded = llmount.django.urls(chat_app(backend), csrf_exempt=False)
    project = django_project(path("login/", log_in), path("v1/", include(guarded)))
    async with client_of(project) as client:
        refused = await client.post("/v1/chat/completions", json=CHAT)
        assert (refused.status_code, backend.asked) == (403, 0)
        # Logging in makes a token, and sets its cookie.
        await client.get("/login/")
        token = client.cookies["csrftoken"]
        allowed = await client.post(
            "/v1/chat/completions", json=CHAT, headers={"x-csrftoken": token}
        )
    assert allowed.status_code == 200


async def test_any_decorator_can_stand_before_the_view() -> None:
    def closed(view: Callable[..., Any]) -> Callable[..., Any]:
        async def respond(request: HttpRequest, route: str) -> HttpResponseBase:
            if "x-open" in request.headers:
                return await view(request, route)
            return HttpResponse("closed", status=403)

        respond.csrf_exempt = True  # type: ignore[attr-defined]
        return respond

    view = closed(llmount.django.view(chat_app(EchoBackend())))
    async with client_of(django_project(path("v1/<path:route>", view))) as client:
        refused = await client.post("/v1/chat/completions", json=CHAT)
        allowed = await client.post("/v1/chat/completions", json=CHAT, headers={"x-open": "1"})
    assert (refused.status_code, refused.text) == (403, "closed")
    assert allowed.status_code == 200


async def test_what_is_beside_the_app_is_still_djangos() -> None:
    app = chat_app(EchoBackend())
    behind = django_project(path("login/", log_in), path("v1/", include(llmount.django.urls(app))))
    beside = llmount.django.mount(django_project(path("login/", log_in)), {"/v1": app})
    for project in (behind, beside):
        async with client_of(project) as client:
            assert (await client.get("/login/")).text == "welcome"
            assert (await client.get("/v1/models")).json()["object"] == "list"
            assert "<h1>Not Found</h1>" in (await client.get("/v1x/models")).text


# Bodies


@pytest.mark.parametrize("way", ["urls", "mount"])
async def test_a_body_over_djangos_upload_limit_passes(way: str) -> None:
    app = chat_app(EchoBackend())
    if way == "urls":
        project = django_project(path("v1/", include(llmount.django.urls(app))))
    else:
        project = llmount.django.mount(django_project(), {"/v1": app})
    size = 3_000_000
    assert size > settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    body = {"model": "echo", "messages": [{"role": "user", "content": "x" * size}]}
    async with client_of(project) as client:
        answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    assert len(answer.json()["choices"][0]["message"]["content"]) == size


async def test_a_body_that_middleware_has_read_is_still_there() -> None:
    app = llmount.django.urls(chat_app(EchoBackend()))
    project = django_project(path("v1/", include(app)), middleware=[f"{__name__}.reads_the_body"])
    async with client_of(project) as client:
        answer = await client.post("/v1/chat/completions", json=CHAT)
    assert answer.status_code == 200


@async_only_middleware
def reads_the_body(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], Awaitable[HttpResponseBase]]:
    async def middleware(request: HttpRequest) -> HttpResponseBase:
        assert json.loads(request.body)
        return await get_response(request)

    return middleware


async def test_a_whole_answer_is_no_stream_to_middleware() -> None:
    app = llmount.django.urls(chat_app(EchoBackend()))
    project = django_project(
        path("v1/", include(app)),
        middleware=[
            "django.middleware.gzip.GZipMiddleware",
            "django.middleware.http.ConditionalGetMiddleware",
        ],
    )
    async with client_of(project) as client:
        first = await client.get("/v1/openapi.json")
        again = await client.get(
            "/v1/openapi.json", headers={"if-none-match": first.headers["etag"]}
        )
    assert first.headers["content-encoding"] == "gzip"
    assert (again.status_code, again.content) == (304, b"")


# Streams


@pytest.mark.parametrize(
    "middleware",
    [
        [],
        ["hosts.synchronous"],
        ["django.middleware.gzip.GZipMiddleware"],
        ["hosts.synchronous", "django.middleware.gzip.GZipMiddleware"],
    ],
    ids=["usual", "synchronous", "gzip", "both"],
)
async def test_the_first_word_arrives_before_the_second_is_said(middleware: list[str]) -> None:
    go_on = anyio.Event()

    async def answer(prompt: Prompt) -> AsyncGenerator[str, None]:
        yield "first"
        await go_on.wait()
        yield " second"

    app = generate_app(FunctionBackend(answer, ["paused"]))
    project = django_project(path("api/", include(llmount.django.urls(app))), middleware=middleware)
    async with (
        client_of(project) as client,
        client.stream(
            "POST", "/api/generate", json={"model": "paused", "prompt": "Go"}
        ) as response,
    ):
        assert response.status_code == 200
        zipped = response.headers.get("content-encoding") == "gzip"
        text = zipped_text = b""
        async for piece in response.aiter_raw():
            zipped_text += piece
            text = unzip(zipped_text) if zipped else zipped_text
            if b"first" in text and not go_on.is_set():
                assert b"second" not in text
                go_on.set()
    assert b"second" in text


def unzip(data: bytes) -> bytes:
    """What there is so far: Django 5 zips each piece by itself, Django 6 the whole."""
    text = b""
    while data:
        decoder = zlib.decompressobj(wbits=31)
        text += decoder.decompress(data)
        data = decoder.unused_data
    return text


@pytest.mark.parametrize("middleware", [[], ["hosts.synchronous"]], ids=["usual", "synchronous"])
async def test_a_backend_may_call_synchronous_code_as_django_does(middleware: list[str]) -> None:
    async def answer(prompt: Prompt) -> AsyncGenerator[str, None]:
        for number in range(3):
            yield await sync_to_async(str)(number)

    app = generate_app(FunctionBackend(answer, ["orm"]))
    project = django_project(path("api/", include(llmount.django.urls(app))), middleware=middleware)
    async with client_of(project) as client:
        answer_text = (
            await client.post("/api/generate", json={"model": "orm", "prompt": "Go"})
        ).text
    items = [json.loads(line) for line in answer_text.splitlines()]
    assert "".join(item.get("response", "") for item in items) == "012"
    assert items[-1]["done"] is True


class Ending:
    """A backend that says one word, and tells when its work has ended."""

    def __init__(self) -> None:
        self.ended = anyio.Event()

    async def models(self) -> Sequence[Model]:
        return [Model(name="ending")]

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        try:
            yield TextDelta("word")
            await anyio.sleep_forever()
        finally:
            self.ended.set()


_reached: anyio.Event


@async_only_middleware
def slow_on_the_way_out(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], Awaitable[HttpResponseBase]]:
    async def middleware(request: HttpRequest) -> HttpResponseBase:
        response = await get_response(request)
        _reached.set()
        await anyio.sleep_forever()
        return response

    return middleware


@async_only_middleware
def answers_something_else(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], Awaitable[HttpResponseBase]]:
    async def middleware(request: HttpRequest) -> HttpResponseBase:
        await get_response(request)
        return HttpResponse("something else")

    return middleware


async def test_leaving_while_middleware_looks_at_the_answer_stops_the_work() -> None:
    global _reached
    _reached = anyio.Event()
    ending = Ending()
    project = django_project(
        path("api/", include(llmount.django.urls(generate_app(ending)))),
        middleware=[f"{__name__}.slow_on_the_way_out"],
    )
    with anyio.fail_after(SECONDS):
        await _leave_when_reached(project)
        # Django 6 leaves the answer in a cycle of references.
        gc.collect()
        await ending.ended.wait()


async def _leave_when_reached(project: ASGIApp) -> None:
    body = json.dumps({"model": "ending", "prompt": "Go"}).encode()
    messages = [{"type": "http.request", "body": body}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await _reached.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError("nobody is there to answer")

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/generate",
        "headers": [(b"content-type", b"application/json")],
    }
    await project(scope, receive, send)


async def test_an_answer_that_middleware_throws_away_stops_the_work() -> None:
    ending = Ending()
    project = django_project(
        path("api/", include(llmount.django.urls(generate_app(ending)))),
        middleware=[f"{__name__}.answers_something_else"],
    )
    async with client_of(project) as client:
        answer = await client.post("/api/generate", json={"model": "ending", "prompt": "Go"})
        assert answer.text == "something else"
        await ending.ended.wait()


# Servers


@override_settings(ROOT_URLCONF=())
async def test_a_wsgi_request_is_refused_with_words() -> None:
    view = llmount.django.view(chat_app(EchoBackend()))
    with pytest.raises(ImproperlyConfigured, match="ASGI server"):
        await view(RequestFactory().get("/v1/models"), "models")
