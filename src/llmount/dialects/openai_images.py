"""OpenAI's images: a body as an `ImagePrompt`, and the answers."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from typing import Final

from ..errors import BackendError, Unsupported
from ..jsontext import dumps
from ..media import Image, ImageBackend, ImagePrompt, data_url
from ..types import JSON, Usage
from .drawing import drawing
from .protocol import Run

__all__ = ["Pictures", "image_prompt", "images_run"]

_COMPLETED: Final = "image_generation.completed"

_BY_ADDRESS: Final = ("dall-e-2", "dall-e-3")
"""What answers by address unless told; other models cannot, or never did."""


def images_run(images: ImageBackend | None, body: JSON) -> Run:
    """The drawing that a body asks for. Raises `Unsupported`."""
    if images is None:
        raise Unsupported("images")
    if body["stream"] and body["n"] > 1:
        raise Unsupported("several images in a stream", param="n")
    return Run(drawing(images, image_prompt(body)), Pictures(body), body["stream"])


def image_prompt(body: JSON) -> ImagePrompt:
    width, _, height = body["size"].partition("x")
    compression = body.get("output_compression")
    return ImagePrompt(
        model=body["model"],
        text=body["prompt"],
        width=int(width) if height else None,
        height=int(height) if height else None,
        count=int(body["n"]),
        quality=_decided(body["quality"]),
        style=body.get("style"),
        background=_decided(body["background"]),
        format=body.get("output_format"),
        compression=None if compression is None else int(compression),
    )


def _decided(choice: JSON) -> JSON:
    return None if choice == "auto" else choice


class Pictures:
    """The codec of the pictures that a body asks for."""

    def __init__(self, body: JSON) -> None:
        self.finished = False
        self._body = body
        wanted = body.get("response_format")
        self._by_address = wanted == "url" or (wanted is None and body["model"] in _BY_ADDRESS)
        self._must_hold = wanted == "b64_json"

    def items(self, image: Image) -> list[JSON]:
        self.finished = True
        event = {
            "type": _COMPLETED,
            "b64_json": _held(image),
            "created_at": int(time.time()),
            "size": self._body["size"],
            "quality": self._body["quality"],
            "background": self._body["background"],
            "output_format": _format(image),
            "usage": _usage(image.usage or Usage()),
        }
        return [{"event": _COMPLETED, "data": dumps(event)}]

    def whole(self, images: Sequence[Image]) -> JSON:
        if not images:
            raise BackendError("the image backend gave no image")
        answer: dict[str, JSON] = {
            "created": int(time.time()),
            "data": [self._entry(image) for image in images],
        }
        if images[0].data is not None:
            answer["output_format"] = _format(images[0])
        counted = [image.usage for image in images if image.usage is not None]
        if counted:
            answer["usage"] = _usage(
                Usage(
                    prompt=sum(usage.prompt for usage in counted),
                    completion=sum(usage.completion for usage in counted),
                )
            )
        return answer

    def _entry(self, image: Image) -> JSON:
        entry: dict[str, JSON]
        if image.data is not None and self._by_address:
            entry = {"url": image.url or data_url(image.media_type, image.data)}
        elif image.url is not None and not self._must_hold and image.data is None:
            entry = {"url": image.url}
        else:
            entry = {"b64_json": _held(image)}
        if image.revised_prompt is not None:
            entry["revised_prompt"] = image.revised_prompt
        return entry


def _held(image: Image) -> str:
    if not image.data:
        raise BackendError("the image backend gave no image itself")
    return base64.b64encode(image.data).decode()


def _format(image: Image) -> str:
    return image.media_type.removeprefix("image/")


def _usage(usage: Usage) -> JSON:
    return {
        "input_tokens": usage.prompt,
        "output_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "input_tokens_details": {"text_tokens": usage.prompt, "image_tokens": 0},
    }
