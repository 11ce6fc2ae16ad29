"""Illustrations by Pillow: the only file that imports it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import anyio.from_thread
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont, ImageOps

from ..errors import ApiError, Unsupported
from ..media import ImageFormat
from .images import ScriptedImageBackend
from .images_scene import Scene, scene_of
from .images_sheet import SIZES, Sheet, Sizes

__all__ = ["PillowImageBackend", "illustration"]

_MOST_PIXELS: Final = 4096 * 4096
"""On which edges are smoothed; a larger picture is painted as it is."""
_SMOOTHING: Final = 3
_COMPRESSION: Final = 90
_LONGEST_CAPTION: Final = 90
_CLEAR: Final = (0, 0, 0, 0)

_SETTINGS: Final[Mapping[ImageFormat, Mapping[str, Any]]] = {
    "png": {"optimize": False},
    "jpeg": {"optimize": True},
    "webp": {"method": 4},
}


class PillowImageBackend(ScriptedImageBackend):
    """Paints illustrations: a `ScriptedImageBackend` whose painter is `illustration`."""

    def __init__(
        self,
        models: Sequence[str] = tuple(SIZES),
        *,
        sizes: Sizes = SIZES,
        failure: ApiError | None = None,
        delay: float = 0.0,
    ) -> None:
        super().__init__(models, sizes=sizes, painter=illustration, failure=failure, delay=delay)


def illustration(sheet: Sheet) -> bytes:
    """A poster of what the words name, or of a rosette, with the words below. A `Painter`.

    As PNG, JPEG or WebP; the same pixels with the same release of Pillow. Without a background
    only the things are painted. Raises `Unsupported` for a JPEG file without a background.
    """
    form = sheet.format or "png"
    clear = sheet.background == "transparent"
    if clear and form == "jpeg":
        raise Unsupported("transparent jpeg files", model=sheet.model, param="background")
    scene = scene_of(sheet)
    fine = max(1, min(_SMOOTHING, int((_MOST_PIXELS / (sheet.width * sheet.height)) ** 0.5)))
    size = (sheet.width * fine, sheet.height * fine)
    picture = _things(scene, size) if clear else _poster(scene, size)
    if fine > 1:
        picture = picture.reduce(fine)
    if not clear:
        _write(picture, scene)
    file = io.BytesIO()
    settings = dict(_SETTINGS[form])
    if form != "png":
        settings["quality"] = _COMPRESSION if sheet.compression is None else sheet.compression
    anyio.from_thread.check_cancelled()
    picture.save(file, form, **settings)
    return file.getvalue()


def _things(scene: Scene, size: tuple[int, int]) -> Picture.Image:
    picture = Picture.new("RGBA", size, _CLEAR)
    _fill(picture, scene, scene.things)
    return picture


def _poster(scene: Scene, size: tuple[int, int]) -> Picture.Image:
    # From black above to white below.
    slope = Picture.linear_gradient("L").resize(size)
    top, bottom = scene.sky
    picture = ImageOps.colorize(slope, top, bottom)
    _fill(picture, scene, [*scene.background, *scene.things])
    unit = size[0] / scene.size[0]
    left, high, right, low = (round(edge * unit) for edge in scene.window)
    draw = ImageDraw.Draw(picture)
    for margin in (
        (0, 0, size[0], high),
        (0, low, size[0], size[1]),
        (0, 0, left, size[1]),
        (right, 0, size[0], size[1]),
    ):
        draw.rectangle(margin, scene.paper)
    return picture


def _fill(picture: Picture.Image, scene: Scene, patches: Sequence[Any]) -> None:
    draw = ImageDraw.Draw(picture)
    unit = picture.width / scene.size[0]
    for patch in patches:
        anyio.from_thread.check_cancelled()
        draw.polygon([(x * unit, y * unit) for x, y in patch.points], patch.colour)


def _write(picture: Picture.Image, scene: Scene) -> None:
    """The caption, as large as there is room for it."""
    unit = picture.width / scene.size[0]
    caption = scene.caption
    if len(caption) > _LONGEST_CAPTION:
        caption = caption[: _LONGEST_CAPTION - 1].rstrip() + "…"
    draw = ImageDraw.Draw(picture)
    room = (scene.window[2] - scene.window[0]) * unit
    size = 0.048 * unit
    font = ImageFont.load_default(max(1, size))
    taken = draw.textlength(caption, font)
    if taken > room:
        font = ImageFont.load_default(max(1, size * room / taken))
    middle = (scene.size[0] / 2 * unit, (scene.window[3] + scene.size[1]) / 2 * unit)
    draw.text(middle, caption, scene.ink, font, anchor="mm")
