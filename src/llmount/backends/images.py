"""Images without a model: each is painted by a program, from the words and a hash of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import anyio
import anyio.to_thread

from ..errors import ApiError, ModelNotFound
from ..media import Image, ImagePrompt, image_type
from ..types import Model, Usage
from .images_plain import gradients
from .images_sheet import SIZES, Painter, Sheet, Sizes, sheets
from .slots import Slots

__all__ = ["ScriptedImageBackend"]

_AT_A_TIME = 2
_QUEUE = 64
_TILE = 32


class ScriptedImageBackend:
    """Paints without a model: an `ImageBackend` for tests and demonstrations.

    The same text, seed and size give the same picture; without a seed too. Of a request
    for several images each is different. `steps`, `quality` and `style` change nothing. It
    counts the words of the prompt as tokens, and each 32x32 pixels of a picture.

    sizes: what the models draw that are named in it; any other name in `models` draws up to
    4096x4096 pixels, and 256x256 unless told. A side that is not given follows the other
    one. painter: by default colour gradients and shapes, as PNG, which need no library.
    delay: seconds that every `draw` waits first. failure: what every `draw` that asks for
    something possible then raises instead of drawing.
    """

    def __init__(
        self,
        models: Sequence[str] = tuple(SIZES),
        *,
        sizes: Sizes = SIZES,
        painter: Painter = gradients,
        failure: ApiError | None = None,
        delay: float = 0.0,
    ) -> None:
        self._models = tuple(
            Model(
                name=name,
                description="Pictures computed from the prompt",
                capabilities=frozenset({"image"}),
            )
            for name in models
        )
        self._names = frozenset(models)
        self._sizes = sizes
        self._painter = painter
        self._failure = failure
        self._delay = delay
        # A large picture takes hundreds of megabytes while it is painted.
        self._slots = Slots(_AT_A_TIME, _QUEUE)

    async def draw(self, prompt: ImagePrompt, /) -> Sequence[Image]:
        """As many images as `prompt.count` says.

        Raises `ModelNotFound`; `BadRequest` for a size that the model does not draw and
        for fewer than 1 or more than 10 images; `Unsupported` for a format or background
        that the painter does not have; `Overloaded`; and the scripted failure.
        """
        if prompt.model not in self._names:
            raise ModelNotFound(prompt.model)
        asked = sheets(prompt, self._sizes)
        await anyio.sleep(self._delay)
        if self._failure is not None:
            # One instance serves every request: it must not collect their tracebacks.
            raise self._failure.with_traceback(None)
        async with self._slots:
            return [await self._paint(sheet) for sheet in asked]

    async def _paint(self, sheet: Sheet) -> Image:
        data = await anyio.to_thread.run_sync(partial(self._painter, sheet))
        tiles = -(-sheet.width // _TILE) * -(-sheet.height // _TILE)
        # The prompt is read once.
        words = 0 if sheet.number else len(sheet.text.split())
        usage = Usage(prompt=words, completion=tiles)
        return Image(data=data, media_type=image_type(data), usage=usage)

    async def models(self) -> Sequence[Model]:
        """The models given, in their order; each has the capability "image" only."""
        return self._models
