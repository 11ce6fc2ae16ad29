"""The wire APIs: pure codecs and handlers, one module each, without HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .ajstudioz import AJStudioz
from .azure import Azure
from .codeinferflow import CodeInferflow, CodeInferflowChat
from .geenii import Geenii
from .ktransformers import KTransformers, KTransformersChat
from .ollama import Ollama
from .openai import OpenAI
from .protocol import Dialect
from .responses import Responses

__all__ = ["DIALECTS"]

DIALECTS: Mapping[str, Mapping[str, Callable[..., Dialect]]] = {
    "generate": {
        "ollama": Ollama,
        "codeinferflow": CodeInferflow,
        "ktransformers": KTransformers,
        "ajstudioz": AJStudioz,
    },
    "chat": {
        "openai": OpenAI,
        "azure": Azure,
        "responses": Responses,
        "codeinferflow": CodeInferflowChat,
        "ktransformers": KTransformersChat,
    },
    "ai": {"geenii": Geenii},
}
"""By family and name. To add one: its document, its module, and a row here."""
