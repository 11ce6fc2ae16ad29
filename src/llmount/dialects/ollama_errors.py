"""Ollama's errors: `{"error": text}`, and plain text for what its router refuses.

The texts are the real server's where a client's fault has one; several of them are what
Go's JSON decoder says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..contract import Operation
from ..errors import (
    ApiError,
    ContextTooLong,
    InvalidRequest,
    MalformedBody,
    MethodNotAllowed,
    ModelNotFound,
    Overloaded,
    RouteNotFound,
    Unauthenticated,
    Unsupported,
    Violation,
)
from ..types import JSON
from ..validation import show
from .protocol import Drawing

__all__ = ["draw"]

_NAME = re.compile(
    r"\s*(https?://)?([\w.:-]{1,350}/)?([\w-]{1,80}/)?\w[\w.-]{0,79}(:\w[\w.-]{0,79})?\s*", re.ASCII
)
"""Host, namespace, model and tag."""

_STRUCTS = {"generate": "GenerateRequest", "chat": "ChatRequest", "show": "ShowRequest"}

_GO_TYPES = {
    "string": "string",
    "boolean": "bool",
    "integer": "int",
    "number": "float64",
    "array": "[]interface {}",
    "object": "map[string]interface {}",
}

_OPTION_TYPES = {
    "boolean": "boolean",
    "array": "array",
    "string": "string",
    "number": "float32",
    "integer": "integer",
}

_FIXED = {
    "top_logprobs": "top_logprobs must be between 0 and 20",
    "width": "width and height must be <= 4096",
    "height": "width and height must be <= 4096",
    "think": 'think must be a boolean or string ("high", "medium", "low", "max", true, or false)',
    "format": 'invalid format; expected "json" or a valid JSON Schema object',
}


def draw(error: ApiError, operation: Operation | None) -> Drawing:
    if isinstance(error, RouteNotFound):
        return Drawing(404, "404 page not found")
    if isinstance(error, ModelNotFound) and error.model and not _NAME.fullmatch(error.model):
        return Drawing(400, {"error": "invalid model name"})
    if isinstance(error, MethodNotAllowed):
        return Drawing.of(error, "405 method not allowed")
    return Drawing.of(error, {"error": _text(error, operation)})


def _text(error: ApiError, operation: Operation | None) -> str:
    match error:
        case MalformedBody():
            return _malformed(error)
        case InvalidRequest():
            struct = _STRUCTS.get(operation.id if operation else "", "Request")
            return _violation(error.violation, struct)
        case ContextTooLong():
            return (
                "the prompt is longer than the context length currently available to the model; "
                "shorten the prompt, adjust the context length in settings, or use a model with "
                "a longer context length"
            )
        case Unauthenticated():
            return "unauthorized"
        case Overloaded():
            return "server busy, please try again.  maximum pending requests exceeded"
        case Unsupported(model=model, capability="insert") if model:
            return f"registry.ollama.ai/library/{model}:latest does not support insert"
    return error.message


def _malformed(error: MalformedBody) -> str:
    match error.reason:
        case "empty":
            return "missing request body"
        case "truncated":
            return "unexpected EOF"
        case "depth":
            return "exceeded max depth"
    for python, go in _SYNTAX.items():
        if error.message.startswith(python):
            return f"invalid character {_quoted(error.found)} {go}"
    return f"invalid request body: {error.message}"


_SYNTAX = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name": "looking for beginning of object key string",
    "Illegal trailing comma": "looking for beginning of object key string",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
    "Invalid control character": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Invalid \\uXXXX escape": "in \\u hexadecimal character escape",
    "Extra data": "after top-level value",
}
"""What Python's decoder says, and what Go's does."""


def _quoted(character: str) -> str:
    return repr(character) if character != "'" else "'\\''"


def _violation(violation: Violation, struct: str) -> str:
    path, value = violation.path, violation.value
    if not path:
        return f"json: cannot unmarshal {_kind(value)} into Go value of type api.{struct}"
    if path[0] == "options" and len(path) > 1:
        return _option(violation)
    if path[0] == "think" and isinstance(value, str):
        return (
            f'invalid think value: "{value[:64]}" '
            '(must be "high", "medium", "low", "max", true, or false)'
        )
    if path[0] == "keep_alive":
        return _keep_alive(value)
    wrong_type = violation.keyword == "type"
    if path[0] in _FIXED and not (wrong_type and path[0] in ("top_logprobs", "width", "height")):
        return _FIXED[str(path[0])]
    if wrong_type:
        field = ".".join(str(key) for key in path if isinstance(key, str))
        wanted = next((kind for kind in _listed(violation.expected) if kind != "null"), "object")
        return (
            f"json: cannot unmarshal {_kind(value)} into Go struct field {struct}.{field[:200]} "
            f"of type {_GO_TYPES[wanted]}"
        )
    return violation.message


def _option(violation: Violation) -> str:
    name = show(violation.path[1:2])[:64]
    if len(violation.path) > 2:
        return f'option "{name}" must be of an array of strings'
    if violation.keyword != "type":
        return violation.message
    kinds = _listed(violation.expected)
    wanted = "integer" if "integer" in kinds else next(k for k in kinds if k != "null")
    return f'option "{name}" must be of type {_OPTION_TYPES.get(wanted, wanted)}'


def _keep_alive(value: JSON) -> str:
    if isinstance(value, str):
        shown, rest = value[:64], value.lstrip("+-")
        if re.fullmatch(r"[0-9.]*[0-9][0-9.]*", rest):
            return f'time: missing unit in duration "{shown}"'
        if unknown := re.match(r"[0-9.]*[0-9][0-9.]*([^0-9.]+)", rest):
            return f'time: unknown unit "{unknown[1]}" in duration "{shown}"'
        return f'time: invalid duration "{shown}"'
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "keep_alive is out of range"
    kinds: Mapping[type, str] = {bool: "bool", dict: "map[string]interface {}"}
    return f"Unsupported type: '{kinds.get(type(value), '[]interface {}')}'"


def _listed(expected: JSON) -> Sequence[str]:
    return expected if isinstance(expected, (list, tuple)) else [expected]


def _kind(value: JSON) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int():
            return "number"
        case float():
            return f"number {value}"
        case list():
            return "array"
        case dict():
            return "object"
    return "null"
