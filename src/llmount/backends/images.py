"""Images without a model: each is computed from a hash of what was asked."""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import anyio
import anyio.from_thread
import anyio.to_thread

from ..errors import ApiError, BadRequest, ModelNotFound
from ..media import Image, ImagePrompt
from ..types import Model

__all__ = ["ScriptedImageBackend"]

_SIZES: Mapping[str, tuple[str, ...]] = {
    "dall-e-2": ("256x256", "512x512", "1024x1024"),
    "dall-e-3": ("1024x1024", "1792x1024", "1024x1792"),
    "gpt-image-1": ("1024x1024", "auto"),
}
"""What the models that are known by name draw; their smallest comes first."""

_SIDE = 256
_LARGEST = 4096
_MOST = 10

_CELLS = 160
"""The longer side of what is computed; the rest of the resolution repeats it."""

_SHAPES: tuple[Callable[[float, float, float], float], ...] = (
    lambda x, y, size: math.sqrt(x * x + y * y) - size,
    lambda x, y, size: abs(math.sqrt(x * x + y * y) - size) - size / 4,
    lambda x, y, size: max(abs(x), abs(y)) - size,
    lambda x, y, size: abs(x) + abs(y) - size,
    lambda x, y, size: abs(x - y) - size / 4,
)
"""Disc, ring, square, diamond, stripe: how far a point is outside, negative within."""

_SHAPES_DRAWN = 4
_CORNERS_BYTES = 12
_SHAPE_BYTES = 7


class ScriptedImageBackend:
    """Draws colour gradients and shapes: an `ImageBackend` for tests and demonstrations.

    The same text, seed and size give the same pixels on every machine; without a seed
    too. Of a request for several images each is different. `steps` changes nothing.

    `dall-e-2`, `dall-e-3` and `gpt-image-1` draw the sizes of the originals and refuse
    others; any other name in `models` draws up to 4096x4096 pixels, and 256x256 unless
    told. A side that is not given follows the other one.

    delay: seconds that every `draw` waits first. failure: what every `draw` that asks
    for something possible then raises instead of drawing.
    """

    def __init__(
        self,
        models: Sequence[str] = tuple(_SIZES),
        *,
        failure: ApiError | None = None,
        delay: float = 0.0,
    ) -> None:
        self._models = tuple(
            Model(
                name=name,
                description="Colours and shapes computed from the prompt",
                capabilities=frozenset({"image"}),
            )
            for name in models
        )
        self._names = frozenset(models)
        self._failure = failure
        self._delay = delay

    async def draw(self, prompt: ImagePrompt, /) -> Sequence[Image]:
        """As many PNG images as `prompt.count` says.

        Raises `ModelNotFound`; `BadRequest` for a size that the model does not draw and
        for fewer than 1 or more than 10 images; and the scripted failure.
        """
        if prompt.model not in self._names:
            raise ModelNotFound(prompt.model)
        width, height = _size(prompt)
        if not 1 <= prompt.count <= _MOST:
            raise BadRequest(f"between 1 and {_MOST} images can be drawn at once", param="count")
        await anyio.sleep(self._delay)
        if self._failure is not None:
            # One instance serves every request: it must not collect their tracebacks.
            raise self._failure.with_traceback(None)
        images = []
        for number in range(prompt.count):
            key = ascii((prompt.text, prompt.seed, number)).encode()
            draw = partial(_draw, key, width, height)
            images.append(Image(data=await anyio.to_thread.run_sync(draw)))
        return images

    async def models(self) -> Sequence[Model]:
        """The models given, in their order; each has the capability "image" only."""
        return self._models


def _size(prompt: ImagePrompt) -> tuple[int, int]:
    if prompt.model in _SIZES:
        return _listed_size(prompt, _SIZES[prompt.model])
    width, height = prompt.width, prompt.height
    if width is None:
        width = _SIDE if height is None else height
    if height is None:
        height = width
    if 1 <= width <= _LARGEST and 1 <= height <= _LARGEST:
        return width, height
    raise _refusal(prompt, f"Both sides are between 1 and {_LARGEST} pixels.")


def _listed_size(prompt: ImagePrompt, names: Sequence[str]) -> tuple[int, int]:
    for name in names:
        if name == "auto":
            continue
        width, height = map(int, name.split("x"))
        if prompt.width in (None, width) and prompt.height in (None, height):
            return width, height
    raise _refusal(prompt, f"Supported sizes are: {list(names)}.")


def _refusal(prompt: ImagePrompt, supported: str) -> BadRequest:
    asked = "x".join("any" if side is None else str(side) for side in (prompt.width, prompt.height))
    return BadRequest(
        f"Size {asked} is not supported by model {prompt.model}. {supported}", param="size"
    )


def _draw(key: bytes, width: int, height: int) -> bytes:
    """A PNG file. Runs in a worker thread and ends early when its caller is cancelled."""
    deflate = zlib.compressobj()
    body = bytearray()
    for lines in _scanlines(key, width, height):
        anyio.from_thread.check_cancelled()
        body += deflate.compress(lines)
    body += deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", bytes(body)), (b"IEND", b""))
    )


def _scanlines(key: bytes, width: int, height: int) -> Iterator[bytes]:
    """PNG scanlines, each behind its filter: 0 for new pixels, 2 for those of the line above."""
    colour = _painter(key)
    longer = max(width, height)
    cell = -(-longer // _CELLS)
    unchanged = b"\x02" + bytes(3 * width)
    for top in range(0, height, cell):
        y = top / longer
        pixels = b"".join(colour(left / longer, y) * cell for left in range(0, width, cell))
        yield b"\x00" + pixels[: 3 * width] + unchanged * (min(cell, height - top) - 1)


def _painter(key: bytes) -> Callable[[float, float], bytes]:
    """A function from a point (the longer side is 0 to 1) to the three bytes of its colour."""
    entropy = hashlib.shake_256(key).digest(_CORNERS_BYTES + _SHAPES_DRAWN * _SHAPE_BYTES)
    corners = [entropy[start : start + 3] for start in range(0, _CORNERS_BYTES, 3)]
    shapes = [
        entropy[start : start + _SHAPE_BYTES]
        for start in range(_CORNERS_BYTES, len(entropy), _SHAPE_BYTES)
    ]
    placed = [
        (_SHAPES[kind % len(_SHAPES)], x / 255, y / 255, 0.08 + size / 1275, (red, green, blue))
        for kind, x, y, size, red, green, blue in shapes
    ]

    def colour(x: float, y: float) -> bytes:
        top = _mix(corners[0], corners[1], x)
        mixed = _mix(top, _mix(corners[2], corners[3], x), y)
        for outside, centre_x, centre_y, size, paint in placed:
            # A sixtieth of the side from full paint to none: edges without steps.
            cover = min(1.0, max(0.0, 0.5 - 60 * outside(x - centre_x, y - centre_y, size)))
            if cover:
                mixed = _mix(mixed, paint, 0.85 * cover)
        return bytes(map(int, mixed))

    return colour


def _mix(first: Sequence[float], second: Sequence[float], share: float) -> list[float]:
    return [one + (other - one) * share for one, other in zip(first, second, strict=True)]
