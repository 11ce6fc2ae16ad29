"""Asking KTransformers, which only streams."""

from __future__ import annotations

from ..testing.reading import part
from ..types import JSON
from . import openai_api
from .said import Ask, Said

__all__ = ["chat", "error", "generate", "whole"]


def generate(model: str, ask: Ask) -> JSON:
    return {"model": model, "prompt": ask.text, "stream": True}


def chat(model: str, ask: Ask) -> JSON:
    return {"model": model, "messages": openai_api.messages(ask), "stream": True}


def whole(answer: JSON) -> Said:
    """There are no whole answers: nothing is said."""
    return Said()


def error(body: JSON) -> str | None:
    """`{"object": "error", "message": text, …}`."""
    message = part(body).get("message")
    return message if isinstance(message, str) else None
