"""The image backends over HTTP, against an upstream that is told byte by byte what to say."""

from __future__ import annotations

import base64
import json
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.upstream import END, KEY, answering, hanging_up, head, line, sending, serving, stalling

from llmount.backends.http import Timeouts
from llmount.backends.http_images import OllamaImageBackend, OpenAIImageBackend
from llmount.errors import (
    ApiError,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    BadRequest,
    ModelNotFound,
    Overloaded,
    RateLimited,
    Unsupported,
)
from llmount.media import ImagePrompt
from llmount.types import Usage

pytestmark = [
    pytest.mark.anyio,
    # httpx leaves inner generators of its own unclosed, and trio says so.
    pytest.mark.filterwarnings("ignore:Async generator 'http(x|core):ResourceWarning"),
]

PNG, JPEG = b"\x89PNG\r\n\x1a\nxyz", b"\xff\xd8\xffxyz"
CAT = ImagePrompt(model="m", text="A cat")


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def images(*entries: Any, **more: Any) -> Any:
    return answering(200, json.dumps({"created": 1, "data": list(entries), **more}))


ONE = images({"b64_json": encoded(PNG)})
DRAWN = sending(head(), line(model="m", done=True, image=encoded(PNG)), END)


# OpenAI


@pytest.mark.parametrize(
    ("prompt", "body"),
    [
        (CAT, {"model": "m", "prompt": "A cat", "n": 1, "response_format": "b64_json"}),
        (
            ImagePrompt(
                model="openai/gpt-image-1",
                text="x",
                width=1536,
                height=1024,
                steps=9,
                quality="low",
                background="transparent",
                format="webp",
                compression=0,
            ),
            {
                "model": "openai/gpt-image-1",
                "prompt": "x",
                "n": 1,
                "size": "1536x1024",
                "quality": "low",
                "background": "transparent",
                "output_format": "webp",
                "output_compression": 0,
            },
        ),
        (
            ImagePrompt(model="dall-e-3", text="x", height=1024, style="vivid"),
            {
                "model": "dall-e-3",
                "prompt": "x",
                "n": 1,
                "size": "1024x1024",
                "style": "vivid",
                "response_format": "b64_json",
            },
        ),
    ],
)
async def test_openai_is_asked_for_what_it_has_words_for(
    prompt: ImagePrompt, body: dict[str, Any]
) -> None:
    async with serving(ONE) as upstream:
        backend = OpenAIImageBackend(upstream.url + "/v1", api_key=KEY)
        [image] = await backend.draw(prompt)
        await backend.aclose()

    assert (image.data, image.media_type) == (PNG, "image/png")
    [asked] = upstream.requests
    assert asked.line == "POST /v1/images/generations HTTP/1.1"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body == body


async def test_openais_answer_is_read_whole() -> None:
    reply = images(
        {"url": "https://images.example/1.png", "revised_prompt": "A fine cat"},
        {"url": f"data:image/jpeg;base64,{encoded(JPEG)}"},
        usage={"input_tokens": 7, "output_tokens": 9, "total_tokens": 16},
    )
    async with serving(reply) as upstream:
        backend = OpenAIImageBackend(upstream.url, model="other")
        first, second = await backend.draw(ImagePrompt(model="m", text="A cat", count=2))
        await backend.aclose()

    assert upstream.requests[0].body["model"] == "other"
    assert (first.data, first.url) == (None, "https://images.example/1.png")
    assert (first.revised_prompt, first.usage) == ("A fine cat", Usage(prompt=7, completion=9))
    assert (second.data, second.media_type, second.usage) == (JPEG, "image/jpeg", None)


@pytest.mark.parametrize(
    "reply",
    [
        images(),
        images({"b64_json": encoded(PNG)}, {"b64_json": encoded(PNG)}),
        images({}),
        images({"b64_json": "%%%"}),
        images({"b64_json": 5}),
        images({"url": "data:image/png;base64,"}),
        answering(200, '{"data": 7}'),
        answering(200, "[]"),
        answering(200, "<html>"),
        hanging_up(head(200, "application/json"), b"5\r\n{"),
    ],
)
async def test_what_is_not_the_images_that_were_asked_for_is_an_error(reply: Any) -> None:
    async with serving(reply) as upstream:
        backend = OpenAIImageBackend(upstream.url)
        with pytest.raises(BackendError):
            await backend.draw(CAT)
        await backend.aclose()


@pytest.mark.parametrize("kind", [OpenAIImageBackend, OllamaImageBackend])
@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": {"message": "Bad size", "param": "size", "code": None}}, BadRequest),
        (404, {"error": {"message": "no model", "code": "model_not_found"}}, ModelNotFound),
        (401, {"error": {"message": f"bad key {KEY}"}}, BackendError),
        (429, {"error": "slow down"}, RateLimited),
        (503, {"error": "busy"}, Overloaded),
        (500, {"error": "broken"}, BackendError),
    ],
)
async def test_an_upstreams_error_is_told_as_one_of_ours(
    kind: Any, status: int, body: Any, error: type[ApiError]
) -> None:
    reply = answering(status, json.dumps(body), "Retry-After: 7")
    async with serving(reply) as upstream:
        backend = kind(upstream.url, headers={"x-key": KEY})
        with pytest.raises(error) as raised:
            await backend.draw(CAT)
        await backend.aclose()

    assert KEY not in "".join([str(raised.value), *getattr(raised.value, "__notes__", [])])
    assert getattr(raised.value, "retry_after", 7) == 7
    if status == 400:
        assert getattr(raised.value, "param", None) == "size"


async def test_a_seed_is_refused_for_openai() -> None:
    with pytest.raises(Unsupported) as raised:
        await OpenAIImageBackend("http://127.0.0.1:9").draw(
            ImagePrompt(model="m", text="x", seed=1)
        )

    assert raised.value.param == "seed"


# Ollama


async def test_ollama_is_asked_for_one_picture_after_the_other() -> None:
    steps = (line(model="m", response="", done=False, completed=n, total=3) for n in range(3))
    first = sending(head(), *steps, line(model="m", done=True, image=encoded(PNG)), END)
    prompt = ImagePrompt(model="m", text="A cat", width=64, steps=3, seed=8, count=2, style="vivid")
    async with serving(first, DRAWN) as upstream:
        backend = OllamaImageBackend(upstream.url)
        pictures = await backend.draw(prompt)
        await backend.aclose()

    assert [each.data for each in pictures] == [PNG, PNG]
    body = {
        "model": "m",
        "prompt": "A cat",
        "stream": True,
        "width": 64,
        "height": 64,
        "steps": 3,
        "options": {"seed": 8},
    }
    assert [each.body for each in upstream.requests] == [body, {**body, "options": {"seed": 9}}]
    assert upstream.connections == 1


@pytest.mark.parametrize(
    "reply",
    [
        sending(head(), line(model="m", response="Once", done=False), END),
        sending(head(), line(model="m", response="", done=True, done_reason="stop"), END),
    ],
)
async def test_a_model_of_ollama_that_writes_does_not_draw(reply: Any) -> None:
    async with serving(reply) as upstream:
        backend = OllamaImageBackend(upstream.url)
        with pytest.raises(Unsupported, match="images"):
            await backend.draw(CAT)
        await backend.aclose()


@pytest.mark.parametrize(
    "reply",
    [
        sending(head(), END),
        sending(head(), line(response="", done=False), END),
        hanging_up(head(), line(response="", done=False)),
        sending(head(), line(image="%%", done=True), END),
        sending(head(), line(image=5, done=True), END),
        sending(head(), line(error="out of memory"), END),
        sending(head(), b"2\r\n[]\r\n", END),
        sending(head(), b"2\r\n{{\r\n", END),
    ],
)
async def test_an_answer_without_a_whole_picture_is_an_error(reply: Any) -> None:
    async with serving(reply) as upstream:
        backend = OllamaImageBackend(upstream.url)
        with pytest.raises(BackendError):
            await backend.draw(CAT)
        await backend.aclose()


@pytest.mark.parametrize(
    ("more", "param"),
    [({"format": "webp"}, "output_format"), ({"background": "transparent"}, "background")],
)
async def test_what_ollama_has_no_words_for_is_refused(more: Any, param: str) -> None:
    with pytest.raises(Unsupported) as raised:
        await OllamaImageBackend().draw(ImagePrompt(model="m", text="x", **more))

    assert raised.value.param == param


# Both

BOTH = pytest.mark.parametrize("kind", [OpenAIImageBackend, OllamaImageBackend])


@BOTH
@pytest.mark.parametrize("count", [0, 11])
async def test_too_few_or_too_many_images_are_refused(kind: Any, count: int) -> None:
    with pytest.raises(BadRequest, match="between 1 and 10"):
        await kind("http://127.0.0.1:9").draw(ImagePrompt(model="m", text="x", count=count))


@BOTH
async def test_an_answer_that_is_too_large_is_given_up(kind: Any) -> None:
    async with serving(ONE if kind is OpenAIImageBackend else DRAWN) as upstream:
        backend = kind(upstream.url, max_bytes=20)
        with pytest.raises(BackendError):
            await backend.draw(CAT)
        await backend.aclose()


@BOTH
async def test_a_slow_upstream_is_given_up_and_let_go(kind: Any) -> None:
    async with serving(stalling(head())) as upstream:
        backend = kind(upstream.url, timeout=Timeouts(first=0.1))
        with pytest.raises(BackendTimeout):
            await backend.draw(CAT)
        await upstream.gone.wait()
        await backend.aclose()


@BOTH
async def test_cancelling_lets_the_upstream_go(kind: Any) -> None:
    async with serving(stalling(head())) as upstream:
        backend = kind(upstream.url)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(backend.draw, CAT)
            while not upstream.requests:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        await upstream.gone.wait()
        await backend.aclose()


@BOTH
async def test_an_upstream_that_is_not_there_is_not_available(kind: Any) -> None:
    async with serving(ONE) as upstream:
        url = upstream.url
    backend = kind(url)
    with anyio.fail_after(10), pytest.raises(BackendUnavailable):
        await backend.draw(CAT)
    await backend.aclose()


@BOTH
def test_a_backend_shows_its_address_and_nothing_else(kind: Any) -> None:
    backend = kind("http://127.0.0.1:9", headers={"x-key": KEY})

    assert repr(backend) == f"{kind.__name__}('http://127.0.0.1:9')"


async def test_models_that_draw_are_told_from_those_that_do_not() -> None:
    listed = answering(200, '{"data": [{"id": "gpt-4o"}, {"id": "dall-e-3"}, {"id": "painter"}]}')
    tags = answering(
        200,
        json.dumps(
            {
                "models": [
                    {"name": "flux:latest", "capabilities": ["image"]},
                    {"name": "llama3.2", "capabilities": ["completion"]},
                    {"name": "old"},
                ]
            }
        ),
    )
    found = []
    for kind, reply in ((OpenAIImageBackend, listed), (OllamaImageBackend, tags)):
        for fixed in (None, "painter"):
            async with serving(reply) as upstream:
                backend = kind(upstream.url, model=fixed)
                models = await backend.models()
                assert {model.capabilities for model in models} == {frozenset({"image"})}
                found.append([model.name for model in models])
                await backend.aclose()

    assert found == [["dall-e-3"], ["painter"], ["flux"], ["painter"]]
