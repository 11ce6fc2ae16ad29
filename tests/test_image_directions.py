"""Pictures: every family in front of every upstream, each a server of ours, and real clients."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import ollama
import openai
import pytest
from PIL import Image as Picture

from llmount import EchoBackend, ScriptedImageBackend, ai_app, chat_app, gateway, generate_app
from llmount.app import App
from llmount.backends.http_images import OllamaImageBackend, OpenAIImageBackend
from llmount.backends.pillow_images import PillowImageBackend
from llmount.errors import (
    ApiError,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    Overloaded,
    RateLimited,
)
from llmount.media import ImageBackend, ImagePrompt
from llmount.testing.transport import ASGITransport
from tests.mounting.servers import serving

pytestmark = [
    # httpx leaves inner generators of its own unclosed, and trio says so.
    pytest.mark.filterwarnings("ignore:Async generator 'http(x|core):ResourceWarning"),
]

MODEL = "painter"
CAT = ImagePrompt(model=MODEL, text="A funky cat", width=96, height=64)

UPSTREAMS: Mapping[str, Callable[[Any], ImageBackend]] = {
    "ollama": lambda wire: OllamaImageBackend("http://far", model=MODEL, transport=wire),
    "openai": lambda wire: OpenAIImageBackend("http://far/v1", model=MODEL, transport=wire),
}
"""By the dialect between the two servers, how the near one calls the far one."""

FRONTS: Mapping[str, tuple[Mapping[str, Any], Callable[[Any], str]]] = {
    "/api/generate": (
        {"model": MODEL, "width": 96, "height": 64, "stream": False},
        lambda answer: answer["image"],
    ),
    "/v1/images/generations": (
        {"model": MODEL, "size": "96x64"},
        lambda answer: answer["data"][0]["b64_json"],
    ),
    "/ai/v1/image/generate": (
        {"model": f"up:{MODEL}", "size": "96x64"},
        lambda answer: answer["output"][0]["base64"],
    ),
}
"""By path: how a picture of 96x64 pixels is asked for, and where it is in the answer."""

every_direction = pytest.mark.parametrize("upstream", [None, *UPSTREAMS])
every_front = pytest.mark.parametrize("path", FRONTS)


def all_families(images: ImageBackend) -> App:
    echo = EchoBackend()
    return gateway(
        {
            "/api": generate_app(echo, images=images),
            "/v1": chat_app(echo, images=images),
            "/ai/v1": ai_app({"up": echo}, images={"up": images}),
        },
        check_answers=True,
    )


@asynccontextmanager
async def behind(
    upstream: str | None, images: ImageBackend
) -> AsyncGenerator[httpx.AsyncClient, None]:
    """A client of a server of all families that draws with `images`: its own (None), or those
    of another server, over HTTP and in process."""
    async with ASGITransport(all_families(images)) as wire:
        front = all_families(UPSTREAMS[upstream](wire) if upstream else images)
        async with httpx.AsyncClient(
            transport=ASGITransport(front), base_url="http://front"
        ) as client:
            try:
                yield client
            finally:
                await front.aclose()


async def ask(client: httpx.AsyncClient, path: str) -> httpx.Response:
    with anyio.fail_after(10):
        return await client.post(path, json={"prompt": CAT.text, **FRONTS[path][0]})


@pytest.mark.anyio
@every_direction
@every_front
async def test_all_fronts_answer_with_the_same_picture(upstream: str | None, path: str) -> None:
    painter = PillowImageBackend([MODEL])
    [wanted] = await painter.draw(CAT)

    async with behind(upstream, painter) as client:
        response = await ask(client, path)

    assert response.status_code == 200, response.text
    assert base64.b64decode(FRONTS[path][1](response.json())) == wanted.data


@pytest.mark.anyio
@every_direction
@every_front
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RateLimited(retry_after=7), 429),
        (Overloaded(retry_after=7), 503),
        (BackendUnavailable(), 503),
        (BackendTimeout(), 504),
        (BackendError("inside"), 502),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_the_status_of_a_failure_survives(
    upstream: str | None, path: str, error: ApiError, status: int
) -> None:
    async with behind(upstream, ScriptedImageBackend([MODEL], failure=error)) as client:
        response = await ask(client, path)

    assert response.status_code == (200 if path.startswith("/ai") else status)
    assert response.json()["error"]
    assert upstream is None or "inside" not in response.text
    if getattr(error, "retry_after", None) and not path.startswith("/ai"):
        assert response.headers["retry-after"] == "7"


@pytest.mark.anyio
@every_direction
@every_front
async def test_a_size_that_the_far_model_does_not_draw_is_refused(
    upstream: str | None, path: str
) -> None:
    painter = ScriptedImageBackend([MODEL], sizes={MODEL: ("64x64",)})

    async with behind(upstream, painter) as client:
        response = await ask(client, path)

    assert response.status_code == (200 if path.startswith("/ai") else 400)
    assert "Size 96x64 is not supported by model painter" in response.text


# Real clients and sockets


@pytest.fixture(scope="module")
def address() -> Any:
    with serving(all_families(PillowImageBackend())) as (host, port):
        yield f"http://{host}:{port}"


@pytest.fixture
def client(address: str) -> Any:
    with openai.OpenAI(
        base_url=f"{address}/v1",
        api_key="none",
        timeout=10,
        max_retries=0,
        _strict_response_validation=True,
    ) as found:
        yield found


def opened(encoded: str | None) -> Picture.Image:
    assert encoded is not None
    return Picture.open(io.BytesIO(base64.b64decode(encoded)))


def test_openais_client_gets_pictures(client: openai.OpenAI) -> None:
    answer = client.images.generate(
        model="dall-e-2", prompt="A funky cat", n=2, size="256x256", response_format="b64_json"
    )

    assert [opened(each.b64_json).size for each in answer.data or ()] == [(256, 256)] * 2
    assert answer.usage is not None
    assert answer.usage.input_tokens == 3


def test_openais_client_gets_addresses(client: openai.OpenAI) -> None:
    answer = client.images.generate(model="dall-e-2", prompt="A funky cat", size="256x256")

    [image] = answer.data or ()
    assert image.url is not None
    assert opened(image.url.removeprefix("data:image/png;base64,")).size == (256, 256)


def test_openais_client_gets_a_format_without_a_background(client: openai.OpenAI) -> None:
    answer = client.images.generate(
        model="gpt-image-1",
        prompt="A funky cat",
        background="transparent",
        output_format="webp",
        output_compression=60,
        quality="low",
    )

    [image] = answer.data or ()
    found = opened(image.b64_json)
    assert (found.format, found.mode, answer.output_format) == ("WEBP", "RGBA", "webp")


def test_openais_client_reads_the_stream(client: openai.OpenAI) -> None:
    [event] = client.images.generate(
        model="gpt-image-1", prompt="A funky cat", stream=True, partial_images=1, size="1024x1536"
    )

    assert event.type == "image_generation.completed"
    assert opened(event.b64_json).size == (1024, 1536)
    assert event.usage.output_tokens == 32 * 48


def test_openais_client_reads_our_refusals(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as wrong:
        client.images.generate(model="dall-e-3", prompt="A funky cat", size="256x256")
    with pytest.raises(openai.NotFoundError) as unknown:
        client.images.generate(model="nope", prompt="A funky cat")

    assert wrong.value.param == "size"
    assert unknown.value.code == "model_not_found"


@pytest.mark.parametrize("failure", [None, BackendError()])
def test_a_stream_that_begins_before_the_picture_is_there_ends_as_it_should(
    failure: ApiError | None,
) -> None:
    slow = ScriptedImageBackend([MODEL], delay=0.3, failure=failure)
    app = chat_app(EchoBackend(), images=slow, keep_alive=0.05, check_answers=True)
    with (
        serving(gateway({"/v1": app}, keep_alive=0.05, check_answers=True)) as (host, port),
        openai.OpenAI(
            base_url=f"http://{host}:{port}/v1", api_key="none", timeout=10, max_retries=0
        ) as client,
    ):
        stream = client.images.generate(model=MODEL, prompt="A funky cat", stream=True)
        if failure is None:
            assert [event.type for event in stream] == ["image_generation.completed"]
        else:
            with pytest.raises(openai.APIError, match="the backend failed"):
                list(stream)


def test_models_that_draw_are_listed_once_and_found(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [
        "echo",
        "dall-e-2",
        "dall-e-3",
        "gpt-image-1",
    ]
    assert client.models.retrieve("dall-e-3").id == "dall-e-3"


def test_ollamas_client_gets_a_picture(address: str) -> None:
    ollama_client = ollama.Client(address, timeout=10)
    answer = ollama_client.generate("dall-e-2", "A funky cat", width=512, height=512)
    ollama_client._client.close()

    assert opened(answer.image).size == (512, 512)


@pytest.mark.anyio
async def test_the_image_backends_draw_over_real_sockets(address: str) -> None:
    prompt = ImagePrompt(model="dall-e-2", text="A funky cat", count=2)
    wanted = [image.data for image in await PillowImageBackend().draw(prompt)]

    over_openai = OpenAIImageBackend(f"{address}/v1")
    over_ollama = OllamaImageBackend(address)
    with anyio.fail_after(20):
        assert [image.data for image in await over_openai.draw(prompt)] == wanted
        first, second = await over_ollama.draw(prompt)
        assert first.data == wanted[0] != second.data
        assert [model.name for model in await over_openai.models()] == [
            "dall-e-2",
            "dall-e-3",
            "gpt-image-1",
        ]
    await over_openai.aclose()
    await over_ollama.aclose()
