"""Ollama's pictures: the client half."""

from __future__ import annotations

from ..errors import Unsupported
from ..media import Image, ImagePrompt, image_type
from ..types import JSON, Model
from . import ollama_client
from .upstream import bytes_of, malformed, text_of

__all__ = ["models", "picture", "request"]


def request(prompt: ImagePrompt) -> tuple[str, JSON]:
    """The path, and the body for the first picture of a prompt.

    Raises `Unsupported` for what the server has no words for, wishes left aside.
    """
    if prompt.format not in (None, "png"):
        raise Unsupported(f"{prompt.format} files", model=prompt.model, param="output_format")
    if prompt.background == "transparent":
        raise Unsupported("a transparent background", model=prompt.model, param="background")
    said = {
        "width": prompt.width or prompt.height,
        "height": prompt.height or prompt.width,
        "steps": prompt.steps,
        "options": None if prompt.seed is None else {"seed": prompt.seed},
    }
    body: dict[str, JSON] = {"model": prompt.model, "prompt": prompt.text, "stream": True}
    return "/api/generate", body | {key: value for key, value in said.items() if value is not None}


def picture(item: JSON, model: str) -> Image | None:
    """The picture, once an item of the stream has it; None while there are steps to go.

    model: the one that was asked for. Raises the `ApiError` that an error in the item stands
    for, and `Unsupported` for a model that answers in words.
    """
    if not isinstance(item, dict):
        raise malformed()
    if item.get("error"):
        raise ollama_client.error(500, item, model)
    if item.get("image"):
        data = bytes_of(item["image"])
        return Image(data, media_type=image_type(data))
    if item.get("done") or text_of(item.get("response")) or text_of(item.get("thinking")):
        raise Unsupported("images", model=model)
    return None


def models(body: JSON) -> list[Model]:
    """Of the models that GET /api/tags lists, those that say that they draw. Raises
    BackendError for anything but a list of models."""
    return [model for model in ollama_client.models(body) if "image" in model.capabilities]
