"""Pictures as the events of a `Run`."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from ..media import Image, ImageBackend, ImagePrompt

__all__ = ["drawing"]


async def drawing(images: ImageBackend, prompt: ImagePrompt) -> AsyncGenerator[Image, None]:
    """Each picture as an event; the drawing begins with the first one that is asked for."""
    for image in await images.draw(prompt):
        yield image
