"""One picture to be painted: what of, and how large; and which sizes a model has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from ..errors import BadRequest
from ..media import ImageFormat, ImagePrompt

__all__ = [
    "MOST_IMAGES",
    "SIZES",
    "Painter",
    "Sheet",
    "Sizes",
    "check_count",
    "sheets",
]

Sizes: TypeAlias = Mapping[str, Sequence[str]]
"""By the name of a model, the sizes that it draws, such as "256x256", its usual one first."""

SIZES: Final[Sizes] = {
    "dall-e-2": ("256x256", "512x512", "1024x1024"),
    "dall-e-3": ("1024x1024", "1792x1024", "1024x1792"),
    "gpt-image-1": ("1024x1024", "1536x1024", "1024x1536", "auto"),
}
"""Those of OpenAI's models. For "auto" the model chooses."""

_LARGEST_SIDE: Final = 4096
"""Pixels."""
MOST_IMAGES: Final = 10
"""In one answer."""
_USUAL_SIDE: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One picture to be painted: a part of an `ImagePrompt`, its size decided.

    number: which of the request's pictures this is, from 0.
    """

    model: str
    text: str
    width: int
    height: int
    seed: int | None = None
    number: int = 0
    background: Literal["transparent", "opaque"] | None = None
    format: ImageFormat | None = None
    compression: int | None = None

    @property
    def key(self) -> bytes:
        """What makes this picture differ from others, whatever its size and format."""
        return ascii((self.text, self.seed, self.number)).encode()


Painter: TypeAlias = Callable[[Sheet], bytes]
"""Paints a sheet: the bytes of an image file.

It runs in a worker thread, and calls `anyio.from_thread.check_cancelled` now and then, so
that nobody's picture is not painted. Raises `Unsupported` for what it cannot do."""


def sheets(prompt: ImagePrompt, sizes: Sizes) -> Sequence[Sheet]:
    """The pictures that a prompt asks for.

    A model that is not in `sizes` draws up to 4096x4096 pixels, and 256x256 unless told.
    Raises `BadRequest` for a size that the model does not draw, and for fewer than 1 or more
    than 10 images.
    """
    width, height = _size(prompt, sizes)
    check_count(prompt)
    return [
        Sheet(
            model=prompt.model,
            text=prompt.text,
            width=width,
            height=height,
            seed=prompt.seed,
            number=number,
            background=prompt.background,
            format=prompt.format,
            compression=prompt.compression,
        )
        for number in range(prompt.count)
    ]


def check_count(prompt: ImagePrompt) -> None:
    """Raises `BadRequest` for fewer than 1 or more than 10 images."""
    if not 1 <= prompt.count <= MOST_IMAGES:
        raise BadRequest(f"between 1 and {MOST_IMAGES} images can be drawn at once", param="count")


def _size(prompt: ImagePrompt, sizes: Sizes) -> tuple[int, int]:
    if prompt.model in sizes:
        return _listed_size(prompt, sizes[prompt.model])
    width, height = prompt.width, prompt.height
    if width is None:
        width = _USUAL_SIDE if height is None else height
    if height is None:
        height = width
    if 1 <= width <= _LARGEST_SIDE and 1 <= height <= _LARGEST_SIDE:
        return width, height
    raise _refusal(prompt, f"Both sides are between 1 and {_LARGEST_SIDE} pixels.")


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
