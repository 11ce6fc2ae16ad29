"""Ollama's errors: `{"error": text}`, and plain text for what its router refuses.

The texts are the real server's where it has one for a fault of the client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ..contract import Operation
from ..errors import (
    ApiError,
    ContextTooLong,
    InvalidRequest,
    MethodNotAllowed,
    ModelNotFound,
    Overloaded,
    RouteNotFound,
    Unauthenticated,
    Unsupported,
    Violation,
)
from ..jsontext import dumps
from ..types import JSON
from ..validation import show
from .go_syntax import quote
from .ollama_models import full_name
from .protocol import Drawing

__all__ = ["draw"]

_EMBEDDING: Final = ("embed", "embeddings")

_TOO_LONG: Final = (
    "the prompt is longer than the context length currently available to the model; shorten "
    "the prompt, adjust the context length in settings, or use a model with a longer context "
    "length"
)

_OF_THE_MODEL: Final = ("insert", "tools", "vision", "audio")
"""The capabilities whose lack is told with the model's full name."""


def draw(error: ApiError, operation: Operation | None) -> Drawing:
    match error:
        case RouteNotFound():
            return Drawing(404, "404 page not found")
        case MethodNotAllowed():
            # HEAD comes first there.
            allowed = ", ".join(sorted(error.allowed, reverse=True))
            return Drawing(405, "405 method not allowed", [("allow", allowed)])
        case Unsupported(capability="embedding"):
            return Drawing(501, {"error": _text(error, operation)})
    return Drawing.of(error, {"error": _text(error, operation)})


def _text(error: ApiError, operation: Operation | None) -> str:
    embedding = operation is not None and operation.id in _EMBEDDING
    match error:
        case InvalidRequest():
            return _violation(error.violation)
        case ModelNotFound(model=model) if embedding and model.strip():
            return f"model {quote(model)} not found, try pulling it first"
        case ContextTooLong():
            return "the input length exceeds the context length" if embedding else _TOO_LONG
        case Unauthenticated():
            return "unauthorized"
        case Overloaded():
            return "server busy, please try again.  maximum pending requests exceeded"
        case Unsupported(capability="embedding"):
            return "This server does not support embeddings. Start it with `--embeddings`"
        case Unsupported(model=model, capability=capability) if model:
            name = full_name(model) if capability in _OF_THE_MODEL else quote(model)
            return f"{name} does not support {capability}"
    return error.message


# What the document has against a body that Go reads

_RAW: Final = "raw mode does not support template, system, or context"

_TEXTS: Final[Mapping[str, str]] = {
    "template": _RAW,
    "system": _RAW,
    "context": _RAW,
    "images": "this server does not support images beside raw, suffix or template",
    "top_logprobs": "top_logprobs must be between 0 and 20",
    "width": "width and height must be <= 4096",
    "height": "width and height must be <= 4096",
    "keep_alive": "keep_alive is out of range",
}

_OPTION_TYPES: Final[Mapping[str, str]] = {"number": "float32"}


def _violation(violation: Violation) -> str:
    field = str(violation.path[0]) if violation.path else ""
    if field == "options" and len(violation.path) > 1:
        return _option(violation)
    if field == "format":
        raw = quote(dumps(violation.value)[:200])
        return f'invalid format: {raw}; expected "json" or a valid JSON Schema object'
    if field == "context" and len(violation.path) > 1:
        return violation.message
    return _TEXTS.get(field, violation.message)


def _option(violation: Violation) -> str:
    name = quote(show(violation.path[1:2])[:64])
    if len(violation.path) > 2:
        return f"option {name} must be of an array of strings"
    if violation.keyword != "type":
        return violation.message
    kinds = _listed(violation.expected)
    wanted = "integer" if "integer" in kinds else next(k for k in kinds if k != "null")
    return f"option {name} must be of type {_OPTION_TYPES.get(wanted, wanted)}"


def _listed(expected: JSON) -> Sequence[str]:
    return expected if isinstance(expected, (list, tuple)) else [expected]
