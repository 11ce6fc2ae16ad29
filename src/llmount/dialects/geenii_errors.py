"""How the geenii gateway tells of errors.

What concerns the model or its provider has status 200 and `{"error": text}`, as in the
original; what concerns the request, a 4xx and `{"detail": …}`.
"""

from __future__ import annotations

from ..contract import Operation
from ..errors import (
    ApiError,
    BodyTooLarge,
    InternalError,
    InvalidRequest,
    MalformedBody,
    MethodNotAllowed,
    NotFound,
    RouteNotFound,
    UnsupportedMediaType,
    Violation,
)
from ..jsontext import dumps
from ..types import JSON
from .protocol import Drawing

__all__ = ["Failure", "draw", "failure"]


class Failure(ApiError):
    """What is answered with status 200 and these words."""

    status = 200


def draw(error: ApiError, operation: Operation | None) -> Drawing:
    """The error as a response; see `Dialect.draw`."""
    if isinstance(error, MethodNotAllowed):
        allow = ", ".join(error.allowed)
        return Drawing(405, {"detail": "Method Not Allowed"}, [("allow", allow)])
    if isinstance(error, (InvalidRequest, MalformedBody)):
        return Drawing(422, {"detail": [_detail(error)]})
    if isinstance(error, InternalError):
        return Drawing(500, {"detail": failure(error)})
    if isinstance(error, (BodyTooLarge, UnsupportedMediaType)):
        return Drawing(error.status, {"detail": error.message})
    if isinstance(error, RouteNotFound):
        return Drawing(404, {"detail": "Not Found"})
    if operation is None:
        # Refused before it reached a provider.
        return Drawing.of(error, {"detail": error.message})
    return Drawing(200, {"error": failure(error)})


def failure(error: ApiError) -> str:
    """The error in the words of `error`, in an answer of its own or at the end of a stream."""
    if isinstance(error, InternalError):
        return "Internal Server Error"
    suffix = f" (status code: {error.status})" if isinstance(error, NotFound) else ""
    return _cut(error.message) + suffix


# Validation errors, in pydantic's words

_MOST_SHOWN = 1024

_TYPES = {
    "string": ("string_type", "Input should be a valid string"),
    "boolean": ("bool_type", "Input should be a valid boolean"),
    "number": ("float_type", "Input should be a valid number"),
    "integer": ("int_type", "Input should be a valid integer"),
    "object": (
        "model_attributes_type",
        "Input should be a valid dictionary or object to extract fields from",
    ),
}


def _detail(error: InvalidRequest | MalformedBody) -> JSON:
    if isinstance(error, InvalidRequest):
        kind, message, context = _violation(error.violation)
        location, value = error.violation.path, error.violation.value
    elif error.reason == "empty":
        kind, message, context, location, value = "missing", "Field required", None, (), None
    else:
        kind, message, context = "json_invalid", "JSON decode error", {"error": error.message}
        location, value = (error.position,), {}
    detail = {"type": kind, "loc": ["body", *location], "msg": message, "input": _shown(value)}
    return {**detail, "ctx": context} if context else detail


def _shown(value: JSON) -> JSON:
    """The value, unless it is long: a request must not be answered with itself."""
    if isinstance(value, str):
        return _cut(value)
    return value if len(dumps(value)) <= _MOST_SHOWN else None


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…"


def _violation(violation: Violation) -> tuple[str, str, JSON]:
    """Type, message and context."""
    expected, value = violation.expected, violation.value
    match violation.keyword:
        case "required":
            return "missing", "Field required", None
        case "type":
            listed = expected if isinstance(expected, (list, tuple)) else [expected]
            wanted = next((kind for kind in listed if kind != "null"), "object")
            if wanted == "integer" and isinstance(value, float):
                message = "Input should be a valid integer, got a number with a fractional part"
                return "int_from_float", message, None
            return (*_TYPES[wanted], None)
        case "minimum":
            message = f"Input should be greater than or equal to {expected}"
            return "greater_than_equal", message, {"ge": expected}
        case "maximum":
            message = f"Input should be less than or equal to {expected}"
            return "less_than_equal", message, {"le": expected}
        case "pattern":
            message = f"String should match pattern '{expected}'"
            return "string_pattern_mismatch", message, {"pattern": expected}
    options = " or ".join(f"'{option}'" for option in expected if option is not None)
    return "literal_error", f"Input should be {options}", {"expected": options}
