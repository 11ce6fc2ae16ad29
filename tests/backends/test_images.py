"""The scripted images are read back with a reader of our own, pixel by pixel."""

from __future__ import annotations

import struct
import threading
import zlib
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from llmount.backends.images import ScriptedImageBackend
from llmount.backends.images_sheet import Sheet
from llmount.errors import (
    BackendUnavailable,
    BadRequest,
    ModelNotFound,
    Overloaded,
    Unsupported,
)
from llmount.media import Image, ImageBackend, ImagePrompt
from llmount.types import Usage

pytestmark = pytest.mark.anyio


class Picture(NamedTuple):
    width: int
    height: int
    rows: list[bytes]


def read(image: Image) -> Picture:
    """Decode an 8 bit RGB PNG whose lines use filter 0 or 2, checking every checksum."""
    data = image.data
    assert data is not None
    assert image.media_type == "image/png"
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, rest = [], data[8:]
    while rest:
        (length,) = struct.unpack(">I", rest[:4])
        kind, body, rest = rest[4:8], rest[8 : 8 + length], rest[8 + length :]
        (checksum,) = struct.unpack(">I", rest[:4])
        assert checksum == zlib.crc32(kind + body)
        chunks.append((kind, body))
        rest = rest[4:]
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *form = struct.unpack(">IIBBBBB", chunks[0][1])
    assert form == [8, 2, 0, 0, 0]
    lines = zlib.decompress(chunks[1][1])
    stride = 3 * width + 1
    assert len(lines) == height * stride
    rows: list[bytes] = []
    above = bytes(3 * width)
    for start in range(0, len(lines), stride):
        kind_of_filter, row = lines[start], lines[start + 1 : start + stride]
        assert kind_of_filter in (0, 2)
        if kind_of_filter == 2:
            row = bytes((one + other) % 256 for one, other in zip(row, above, strict=True))
        rows.append(row)
        above = row
    return Picture(width, height, rows)


async def draw(
    text: str = "a lighthouse",
    *,
    model: str = "free",
    width: int | None = None,
    height: int | None = None,
    seed: int | None = None,
) -> Picture:
    backend: ImageBackend = ScriptedImageBackend(("free", "dall-e-2", "dall-e-3", "gpt-image-1"))
    prompt = ImagePrompt(model=model, text=text, width=width, height=height, seed=seed)
    with anyio.fail_after(20):
        (image,) = await backend.draw(prompt)
    return read(image)


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (7, 3), (160, 160), (161, 160), (333, 1000), (1, 4096)]
)
async def test_an_image_has_exactly_the_size_that_was_asked_for(width: int, height: int) -> None:
    picture = await draw(width=width, height=height)
    assert (picture.width, picture.height) == (width, height)


@pytest.mark.parametrize(
    ("model", "width", "height", "expected"),
    [
        ("free", None, None, (256, 256)),
        ("free", 30, None, (30, 30)),
        ("free", None, 20, (20, 20)),
        ("dall-e-2", None, None, (256, 256)),
        ("dall-e-2", 512, None, (512, 512)),
        ("dall-e-3", None, None, (1024, 1024)),
        ("dall-e-3", 1792, None, (1792, 1024)),
        ("dall-e-3", None, 1792, (1024, 1792)),
        ("gpt-image-1", None, None, (1024, 1024)),
    ],
)
async def test_a_side_that_is_not_given_is_chosen_by_the_model(
    model: str, width: int | None, height: int | None, expected: tuple[int, int]
) -> None:
    picture = await draw(model=model, width=width, height=height)
    assert (picture.width, picture.height) == expected


async def test_an_image_has_many_colours_that_change_smoothly() -> None:
    picture = await draw(width=320, height=320)
    pixels = [row[at : at + 3] for row in picture.rows for at in range(0, len(row), 3)]
    assert len(set(pixels)) > 1000
    steps = [
        max(abs(one - other) for one, other in zip(row[at : at + 3], row[at + 3 :], strict=False))
        for row in picture.rows
        for at in range(0, len(row) - 3, 3)
    ]
    assert sum(step <= 4 for step in steps) > 0.8 * len(steps)


async def test_the_same_prompt_and_seed_give_the_same_image() -> None:
    assert await draw("a red fox", seed=4) == await draw("a red fox", seed=4)
    assert await draw("a red fox") == await draw("a red fox")


async def test_another_prompt_or_seed_gives_another_image() -> None:
    pictures = [
        await draw("a red fox"),
        await draw("a red fo"),
        await draw(""),
        await draw("a red fox", seed=0),
        await draw("a red fox", seed=1),
        await draw("a red fox", seed=-1),
        await draw("a red fox 1"),
    ]
    assert len({b"".join(picture.rows) for picture in pictures}) == len(pictures)


async def test_the_size_changes_the_resolution_and_not_the_motif() -> None:
    small, large = await draw(width=160, height=160), await draw(width=320, height=320)
    assert [row[0:480:6] for row in small.rows] == [row[0:960:12] for row in large.rows[::2]]


async def test_text_that_utf_8_cannot_encode_is_drawn_too() -> None:
    picture = await draw("\ud800\N{CAT FACE}\0")
    assert (picture.width, picture.height) == (256, 256)


async def test_several_images_of_one_request_differ() -> None:
    backend = ScriptedImageBackend(("free",))
    with anyio.fail_after(20):
        images = await backend.draw(ImagePrompt(model="free", text="a fox", count=3))
    assert len({image.data for image in images}) == 3


@pytest.mark.parametrize("count", [-1, 0, 11])
async def test_too_few_or_too_many_images_are_refused(count: int) -> None:
    backend = ScriptedImageBackend(("free",))
    with pytest.raises(BadRequest, match="between 1 and 10") as refusal:
        await backend.draw(ImagePrompt(model="free", text="a fox", count=count))
    assert refusal.value.param == "count"


@pytest.mark.parametrize(
    ("model", "width", "height", "message"),
    [
        (
            "dall-e-2",
            10,
            10,
            "Size 10x10 is not supported by model dall-e-2. "
            "Supported sizes are: ['256x256', '512x512', '1024x1024'].",
        ),
        (
            "dall-e-3",
            256,
            256,
            "Size 256x256 is not supported by model dall-e-3. "
            "Supported sizes are: ['1024x1024', '1792x1024', '1024x1792'].",
        ),
        (
            "gpt-image-1",
            512,
            None,
            "Size 512xany is not supported by model gpt-image-1. "
            "Supported sizes are: ['1024x1024', '1536x1024', '1024x1536', 'auto'].",
        ),
        (
            "free",
            4097,
            1,
            "Size 4097x1 is not supported by model free. Both sides are between 1 and 4096 pixels.",
        ),
        (
            "free",
            5,
            0,
            "Size 5x0 is not supported by model free. Both sides are between 1 and 4096 pixels.",
        ),
    ],
)
async def test_a_size_that_the_model_does_not_draw_is_refused(
    model: str, width: int | None, height: int | None, message: str
) -> None:
    with pytest.raises(BadRequest) as refusal:
        await draw(model=model, width=width, height=height)
    assert refusal.value.message == message
    assert refusal.value.param == "size"


async def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(ModelNotFound) as refusal:
        await ScriptedImageBackend(("mine",)).draw(ImagePrompt(model="dall-e-2", text="a fox"))
    assert refusal.value.model == "dall-e-2"


async def test_the_models_are_listed_in_their_order_and_can_only_draw() -> None:
    models = await ScriptedImageBackend(("zebra", "ant")).models()
    assert [model.name for model in models] == ["zebra", "ant"]
    assert {model.capabilities for model in models} == {frozenset({"image"})}
    known = await ScriptedImageBackend().models()
    assert [model.name for model in known] == ["dall-e-2", "dall-e-3", "gpt-image-1"]


async def test_a_scripted_failure_is_raised_each_time_without_growing() -> None:
    failure = BackendUnavailable("the painter is asleep")
    backend = ScriptedImageBackend(("free",), failure=failure)

    async def depth() -> int:
        with pytest.raises(BackendUnavailable) as raised:
            await backend.draw(ImagePrompt(model="free", text="a fox"))
        assert raised.value is failure
        return len(raised.traceback)

    assert await depth() == await depth()


async def test_what_is_impossible_is_refused_before_the_scripted_failure() -> None:
    backend = ScriptedImageBackend(("dall-e-2",), failure=BackendUnavailable())
    with pytest.raises(BadRequest):
        await backend.draw(ImagePrompt(model="dall-e-2", text="a fox", width=10, height=10))
    with pytest.raises(ModelNotFound):
        await backend.draw(ImagePrompt(model="other", text="a fox"))


async def test_a_scripted_delay_comes_before_the_image_and_can_be_cancelled() -> None:
    backend = ScriptedImageBackend(("free",), delay=0.05)
    prompt = ImagePrompt(model="free", text="a fox", width=8, height=8)
    with anyio.fail_after(20):
        before = anyio.current_time()
        await backend.draw(prompt)
        assert anyio.current_time() - before > 0.049
    patient = ScriptedImageBackend(("free",), delay=3600)
    with anyio.fail_after(20), anyio.move_on_after(0.01) as scope:
        await patient.draw(prompt)
    assert scope.cancelled_caught


async def test_cancelling_stops_the_thread_that_draws() -> None:
    backend = ScriptedImageBackend(("free",))
    prompt = ImagePrompt(model="free", text="a fox", width=4096, height=4096)
    threads = anyio.to_thread.current_default_thread_limiter()
    finished = False

    async def draw_a_large_one() -> None:
        nonlocal finished
        await backend.draw(prompt)
        finished = True

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(draw_a_large_one)
            while not threads.borrowed_tokens:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    assert not finished
    assert not threads.borrowed_tokens


async def test_another_painter_paints_what_is_asked_for() -> None:
    seen: list[Sheet] = []

    def paint(sheet: Sheet) -> bytes:
        seen.append(sheet)
        return b"\xff\xd8\xff" + sheet.text.encode()

    backend = ScriptedImageBackend(("free",), painter=paint)
    prompt = ImagePrompt(
        model="free", text="A red fox", width=64, height=33, count=2, format="jpeg", compression=7
    )
    images = await backend.draw(prompt)

    assert [(sheet.number, sheet.width, sheet.height) for sheet in seen] == [
        (0, 64, 33),
        (1, 64, 33),
    ]
    assert {(sheet.format, sheet.compression, sheet.model) for sheet in seen} == {
        ("jpeg", 7, "free")
    }
    assert {image.media_type for image in images} == {"image/jpeg"}
    assert [image.usage for image in images] == [
        Usage(prompt=3, completion=4),
        Usage(prompt=0, completion=4),
    ]


async def test_the_sizes_of_a_model_can_be_told() -> None:
    backend = ScriptedImageBackend(("free",), sizes={"free": ("20x10", "10x20")})
    [image] = await backend.draw(ImagePrompt(model="free", text="a fox"))
    assert read(image)[:2] == (20, 10)
    [image] = await backend.draw(ImagePrompt(model="free", text="a fox", height=20))
    assert read(image)[:2] == (10, 20)
    with pytest.raises(BadRequest, match=r"Supported sizes are: \['20x10', '10x20'\]"):
        await backend.draw(ImagePrompt(model="free", text="a fox", width=30))


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"format": "jpeg"}, "output_format"),
        ({"format": "webp"}, "output_format"),
        ({"background": "transparent"}, "background"),
    ],
)
async def test_what_needs_a_library_is_refused(more: dict[str, Any], param: str) -> None:
    with pytest.raises(Unsupported) as refusal:
        await ScriptedImageBackend(("free",)).draw(ImagePrompt(model="free", text="x", **more))
    assert refusal.value.param == param


async def test_two_are_drawn_at_a_time_and_few_may_wait() -> None:
    gate, painting = threading.Event(), threading.Semaphore(0)

    def paint(sheet: Sheet) -> bytes:
        painting.release()
        assert gate.wait(20)
        return b"a picture"

    backend = ScriptedImageBackend(("free",), painter=paint)
    refused = 0

    async def draw_one() -> None:
        nonlocal refused
        try:
            await backend.draw(ImagePrompt(model="free", text="a fox"))
        except Overloaded:
            refused += 1

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(70):
                tasks.start_soon(draw_one)
            while refused < 4:
                await anyio.lowlevel.checkpoint()
            for _ in range(2):
                assert await anyio.to_thread.run_sync(painting.acquire, True, 10)
            assert not painting.acquire(blocking=False)
            gate.set()
    assert refused == 4
