"""The wire APIs: pure codecs and handlers, one module each, without HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .geenii import Geenii
from .ollama import Ollama
from .openai import OpenAI
from .protocol import Dialect

__all__ = ["DIALECTS"]

DIALECTS: Mapping[str, Mapping[str, Callable[..., Dialect]]] = {
    "generate": {"ollama": Ollama},
    "chat": {"openai": OpenAI},
    "ai": {"geenii": Geenii},
}
"""By family and name. To add one: its document, its module, and a row here."""
