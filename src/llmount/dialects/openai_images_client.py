"""OpenAI's images: the client half."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from ..errors import BackendError, Unsupported
from ..media import Image, ImagePrompt, image_type
from ..types import JSON, Model, Usage
from . import openai_client
from .upstream import array, bytes_of, count, object_of

__all__ = ["answer", "models", "request"]

_DRAWS: Final = re.compile(r"(^|/)(dall-e|(chat)?gpt-image)")
_TELLS_ITS_FORMAT: Final = re.compile(r"(^|/)(chat)?gpt-image")


def request(prompt: ImagePrompt) -> tuple[str, JSON]:
    """The path and the body. `steps` have no word there. Raises `Unsupported` for a seed."""
    if prompt.seed is not None:
        raise Unsupported("a seed for images", model=prompt.model, param="seed")
    width, height = prompt.width or prompt.height, prompt.height or prompt.width
    said = {
        "size": f"{width}x{height}" if width else None,
        "quality": prompt.quality,
        "style": prompt.style,
        "background": prompt.background,
        "output_format": prompt.format,
        "output_compression": prompt.compression,
        # These models always answer so, and refuse to be told.
        "response_format": None if _TELLS_ITS_FORMAT.search(prompt.model) else "b64_json",
    }
    body: dict[str, JSON] = {"model": prompt.model, "prompt": prompt.text, "n": prompt.count}
    body |= {key: value for key, value in said.items() if value is not None}
    return "/images/generations", body


def answer(body: JSON, wanted: int) -> list[Image]:
    """The images in an answer. Raises BackendError for anything but `wanted` of them."""
    whole = object_of(body)
    images = [_image(entry) for entry in array(whole.get("data"))]
    if len(images) != wanted:
        raise BackendError(f"the upstream gave {len(images)} images instead of {wanted}")
    if usage := object_of(whole.get("usage")):
        tokens = Usage(
            prompt=count(usage.get("input_tokens")), completion=count(usage.get("output_tokens"))
        )
        images[0] = replace(images[0], usage=tokens)
    return images


def _image(entry: dict[str, JSON]) -> Image:
    url, encoded, revised = entry.get("url"), entry.get("b64_json"), entry.get("revised_prompt")
    revised = revised if isinstance(revised, str) else None
    if not encoded and isinstance(url, str):
        if not url.startswith("data:"):
            return Image(url=url, revised_prompt=revised)
        encoded = url.partition(",")[2]
    data = bytes_of(encoded)
    return Image(data, media_type=image_type(data), revised_prompt=revised)


def models(body: JSON) -> list[Model]:
    """Of the models that GET /models lists, those that draw, by their names: the list does not
    say what a model can do. Raises BackendError for anything but a list of models."""
    return [
        replace(model, capabilities=frozenset({"image"}))
        for model in openai_client.models(body)
        if _DRAWS.search(model.name)
    ]
