"""OpenAI's error envelope: `{"error": {message, type, param, code}}`, all four always.

Wording and codes as the service gives them where they are known.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import (
    ApiError,
    BadRequest,
    ContextTooLong,
    InvalidRequest,
    MalformedBody,
    MethodNotAllowed,
    ModelNotFound,
    RateLimited,
    RouteNotFound,
    Unauthenticated,
    UnknownFields,
    Unsupported,
    UnsupportedMediaType,
    Violation,
)
from ..types import JSON
from ..validation import show
from .protocol import Drawing

__all__ = ["draw", "envelope"]

_JSON_HINT = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't "
    "using your HTTP library correctly. The API expects a JSON payload, but what was sent "
    "was not valid JSON: {message}.)"
)

_KEY_HINT = (
    "You didn't provide an API key. You need to provide your API key in an Authorization "
    "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
)


def draw(error: ApiError, asked: str = "messages") -> Drawing:
    """asked: the field that is too long where a `ContextTooLong` is."""
    return Drawing.of(error, {"error": envelope(error, asked)})


def envelope(error: ApiError, asked: str = "messages") -> JSON:
    """As for `draw`."""
    message, type_, param, code = _describe(error, asked)
    return {"message": message, "type": type_, "param": param, "code": code}


def _describe(error: ApiError, asked: str) -> tuple[str, str, str | None, str | None]:
    """Message, type, param and code."""
    invalid = "invalid_request_error"
    match error:
        case InvalidRequest(violation=Violation(keyword="required", path=("model",))):
            return "you must provide a model parameter", invalid, None, None
        case InvalidRequest():
            message, code = _violation(error.violation)
            return message, invalid, show(error.violation.path) or None, code
        case MalformedBody():
            return _JSON_HINT.format(message=error.message), invalid, None, None
        case ContextTooLong():
            message = (
                f"This model's maximum context length is {error.limit} tokens. However, your "
                f"{asked} resulted in {error.tokens} tokens. Please reduce the length of the "
                f"{asked}."
            )
            return message, invalid, asked, "context_length_exceeded"
        case UnknownFields(names=names):
            what = "argument" if len(names) == 1 else "arguments"
            return f"Unrecognized request {what} supplied: {error.shown}", invalid, None, None
        case Unsupported():
            return error.message, invalid, error.param, "unsupported_parameter"
        case BadRequest():
            return error.message, invalid, error.param, "invalid_value" if error.param else None
        case Unauthenticated(missing=True):
            return _KEY_HINT, invalid, None, None
        case Unauthenticated():
            return error.message, invalid, None, "invalid_api_key"
        case ModelNotFound():
            model = error.model[:_MOST_SHOWN]
            message = f"The model `{model}` does not exist or you do not have access to it."
            return message, invalid, "model", "model_not_found"
        case RouteNotFound():
            return f"Invalid URL ({error.method} {error.path})", invalid, None, None
        case MethodNotAllowed():
            only = " and ".join(method for method in error.allowed if method != "HEAD")
            message = f"Only {only} requests are accepted."
            return message, invalid, None, "method_not_supported"
        case UnsupportedMediaType():
            return error.message, invalid, None, "unsupported_content_type"
        case RateLimited():
            return error.message, "requests", None, "rate_limit_exceeded"
    if error.status < 500:
        return error.message, invalid, None, None
    return error.message, "server_error", None, None


_MOST_SHOWN = 200
"""Characters of a name that the client chose: no request is answered with all of itself."""

_KINDS = {
    "string": "a string",
    "integer": "an integer",
    "number": "a decimal",
    "boolean": "a boolean",
    "array": "an array",
    "object": "an object",
    "null": "null",
}


_EXCLUDED = {
    "stream_options": "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
    "top_logprobs": "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
    "tool_choice": "'tool_choice' is only allowed when 'tools' are specified.",
    "functions": "'functions' are only allowed when 'tools' are not specified.",
    "function_call": "'function_call' is only allowed when 'functions' are specified.",
}
"""What the document allows only beside another field."""


def _violation(violation: Violation) -> tuple[str, str | None]:
    """Message and code."""
    where, expected, value = show(violation.path), violation.expected, violation.value
    match violation.keyword:
        case "not" if where in _EXCLUDED:
            return _EXCLUDED[where], None
        case "required":
            return f"Missing required parameter: '{where}'.", "missing_required_parameter"
        case "type":
            wanted = _one_of([_KINDS[kind] for kind in _listed(expected) if kind != "null"])
            got = _kind(value)
            if not where:
                return f"Invalid body: expected {wanted}, but got {got} instead.", "invalid_type"
            message = f"Invalid type for '{where}': expected {wanted}, but got {got} instead."
            return message, "invalid_type"
        case "enum" | "const":
            options = [f"'{option}'" for option in _listed(expected) if option is not None]
            shown = f"'{value}'" if isinstance(value, str) and len(value) <= 100 else _kind(value)
            return (
                f"Invalid value: {shown}. Supported values are: {_and(options)}.",
                "invalid_value",
            )
        case "minItems" if expected == 1:
            message = (
                f"Invalid '{where}': empty array. Expected an array with minimum length 1, "
                "but got an empty array instead."
            )
            return message, "empty_array"
        case "maxItems":
            message = (
                f"Invalid '{where}': array too long. Expected an array with maximum length "
                f"{expected}, but got an array with length {len(value)} instead."
            )
            return message, "array_above_max_length"
        case "minLength" | "maxLength":
            side, short = (
                ("minimum", "short") if violation.keyword[:3] == "min" else ("maximum", "long")
            )
            message = (
                f"Invalid '{where}': string too {short}. Expected a string with {side} length "
                f"{expected}, but got a string with length {len(value)} instead."
            )
            return message, f"string_{'below_min' if side == 'minimum' else 'above_max'}_length"
        case "minimum" | "maximum":
            kind = "integer" if isinstance(value, int) else "decimal"
            below = violation.keyword == "minimum"
            message = (
                f"Invalid '{where}': {kind} {'below minimum' if below else 'above maximum'} value. "
                f"Expected a value {'>=' if below else '<='} {expected}, but got {_short(value)} "
                "instead."
            )
            return message, f"{kind}_{'below_min' if below else 'above_max'}_value"
    return f"Invalid value for '{where}': {violation.message}.", "invalid_value"


def _listed(expected: JSON) -> Sequence[JSON]:
    return expected if isinstance(expected, (list, tuple)) else [expected]


def _one_of(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"one of {_and(words, 'or')}"


def _and(words: Sequence[str], last: str = "and") -> str:
    if len(words) <= 2:
        return f" {last} ".join(words)
    return f"{', '.join(words[:-1])}, {last} {words[-1]}"


def _short(value: JSON) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:40] + "…"


def _kind(value: JSON) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int():
            return "an integer"
        case float():
            return "a decimal"
        case list():
            return "an array"
    return "an object"
