"""Illustrations are opened again with Pillow, and looked at as far as a program can."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from PIL import Image as Picture

from llmount.backends.images_motifs import motifs_in
from llmount.backends.images_scene import scene_of
from llmount.backends.images_sheet import Sheet
from llmount.backends.pillow_images import PillowImageBackend
from llmount.errors import BadRequest, Unsupported
from llmount.media import Image, ImageBackend, ImagePrompt
from llmount.types import Usage

pytestmark = pytest.mark.anyio


async def drawn(text: str = "A funky cat", *, width: int = 160, **more: Any) -> Sequence[Image]:
    backend: ImageBackend = PillowImageBackend(["painter", "dall-e-3"])
    prompt = ImagePrompt(**{"model": "painter", "text": text, "width": width, **more})
    with anyio.fail_after(20):
        return await backend.draw(prompt)


def opened(image: Image) -> Picture.Image:
    assert image.data is not None
    picture = Picture.open(io.BytesIO(image.data))
    picture.load()
    return picture


def colours(found: Picture.Image) -> int:
    return len(found.getcolors(found.width * found.height))


async def picture(text: str = "A funky cat", **more: Any) -> Picture.Image:
    [image] = await drawn(text, **more)
    return opened(image)


@pytest.mark.parametrize(("form", "mode"), [("png", "RGB"), ("jpeg", "RGB"), ("webp", "RGB")])
async def test_each_format_is_a_file_of_its_kind(form: str, mode: str) -> None:
    [image] = await drawn(format=form)

    found = opened(image)
    assert image.media_type == f"image/{form}"
    assert (found.format, found.mode, found.size) == (form.upper(), mode, (160, 160))


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (2048, 1), (1, 2048), (300, 100), (1024, 640)])
async def test_a_picture_has_the_size_that_is_asked_for(size: tuple[int, int]) -> None:
    assert (await picture(width=size[0], height=size[1])).size == size


async def test_the_largest_picture_is_painted() -> None:
    assert (await picture(width=4096, height=4096)).size == (4096, 4096)


async def test_the_same_words_give_the_same_bytes_and_others_others() -> None:
    texts = ("A funky cat", "A funky cat!", "a boat", "", "Quarterly revenue")
    once = [(await drawn(text))[0].data for text in texts]

    assert once == [(await drawn(text))[0].data for text in texts]
    assert len(set(once)) == len(once)


async def test_a_seed_and_a_number_make_another_picture() -> None:
    seeded = [(await drawn(seed=seed))[0].data for seed in (None, 1, 2)]
    several = [image.data for image in await drawn(count=3)]

    assert len({*seeded, *several}) == 5
    assert seeded[0] == several[0]


async def test_a_poster_has_a_margin_of_paper_and_words_below() -> None:
    found = await picture("Ink", width=300)
    without = await picture("\0", width=300)
    paper = found.getpixel((2, 2))

    assert paper == found.getpixel((297, 297)) == found.getpixel((2, 150))
    below = (0, 270, 300, 300)
    assert colours(found.crop(below)) > 1
    assert colours(without.crop(below)) == 1


async def test_edges_are_smooth() -> None:
    found = await picture(background="transparent")

    assert colours(found.getchannel("A")) > 5


@pytest.mark.parametrize("form", ["png", "webp"])
async def test_without_a_background_one_sees_through_all_but_the_things(form: str) -> None:
    found = await picture(background="transparent", format=form)

    assert found.mode == "RGBA"
    assert found.getpixel((2, 2))[3] == 0  # type: ignore[index]
    assert found.getpixel((80, 100))[3] == 255  # type: ignore[index]


async def test_less_is_lost_the_higher_the_compression_is_said_to_be() -> None:
    sizes = []
    for compression in (0, 50, 100):
        [image] = await drawn(format="jpeg", compression=compression)
        assert image.data is not None
        sizes.append(len(image.data))

    assert sizes == sorted(set(sizes))


async def test_what_jpeg_cannot_do_is_refused() -> None:
    with pytest.raises(Unsupported) as refusal:
        await drawn(background="transparent", format="jpeg")

    assert refusal.value.param == "background"


async def test_sizes_and_numbers_are_those_of_the_model() -> None:
    with pytest.raises(BadRequest, match="1792x1024") as refusal:
        await drawn(model="dall-e-3", width=256)
    with pytest.raises(BadRequest, match="between 1 and 10"):
        await drawn(count=11)

    assert refusal.value.param == "size"


async def test_words_and_tiles_are_counted() -> None:
    images = await drawn("A funky cat", width=96, height=40, count=2)

    assert [image.usage for image in images] == [
        Usage(prompt=3, completion=6),
        Usage(prompt=0, completion=6),
    ]


@pytest.mark.parametrize(
    "text", ["", "\ud800", "\0\r\n\x1b[0m", "猫 🐱 \u202e", "cat " * 8000, "W" * 32000]
)
async def test_any_text_can_be_painted(text: str) -> None:
    assert (await picture(text, width=64)).size == (64, 64)


# Scenes


def sheet(text: str, **more: Any) -> Sheet:
    return Sheet(**{"model": "m", "text": text, "width": 512, "height": 512, **more})


@pytest.mark.parametrize(
    ("text", "names", "cool"),
    [
        ("A funky cat", ["_cat"], True),
        ("Two CATS, a house & a cat", ["_cat", "_house"], False),
        ("concatenate the catalogue", [], False),
        ("ships by the lighthouse", ["_boat", "_lighthouse"], False),
    ],
)
def test_things_are_found_by_their_words(text: str, names: list[str], cool: bool) -> None:
    motifs, is_cool = motifs_in(text)

    assert [motif.__name__ for motif in motifs] == names  # type: ignore[attr-defined]
    assert is_cool == cool


def test_a_scene_is_the_same_in_every_resolution() -> None:
    assert scene_of(sheet("A cat")) == scene_of(sheet("A cat", width=64, height=64))
    assert scene_of(sheet("A cat")) != scene_of(sheet("A cat", seed=1))


def test_it_is_dark_where_the_words_say_so() -> None:
    def light(text: str) -> int:
        return sum(scene_of(sheet(text)).sky[0])

    assert max(light(f"A cat at night {n}") for n in range(20)) < 200
    assert min(light(f"A cat at noon {n}") for n in range(20)) > 400


def test_a_cool_cat_wears_something_that_others_do_not() -> None:
    assert len(scene_of(sheet("A funky cat")).things) != len(scene_of(sheet("A shy cat")).things)
