"""Everything that can go wrong with a request, once, for every dialect.

A backend or a handler raises one of these; the dialect alone decides what the client
sees of it (its envelope, its wording, sometimes another status). Texts are for the
client: they name what the client sent and never what happened inside.

* ApiError
  x BadRequest                 400
    + MalformedBody                   not JSON, not UTF-8, NaN, too deep
    + InvalidRequest                  JSON, but not what the document demands
    + UnknownFields                   more than the document knows
    + ContextTooLong                  more tokens than the model takes
    + Unsupported                     the model or the engine cannot do this
  x Unauthenticated            401
  x Forbidden                  403
  x NotFound                   404
    + RouteNotFound
    + ModelNotFound
  x MethodNotAllowed           405
  x BodyTooLarge               413
  x UnsupportedMediaType       415
  x RateLimited                429
  x InternalError              500   a bug; its cause is for the log only
  x BackendError               502   the engine or the upstream failed
    + BackendUnavailable       503   cannot be reached, or stopped
    + Overloaded               503   the queue is full
    + BackendTimeout           504   no answer in time
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .types import Quota

__all__ = [
    "ApiError",
    "BackendError",
    "BackendTimeout",
    "BackendUnavailable",
    "BadRequest",
    "BodyTooLarge",
    "ContextTooLong",
    "Forbidden",
    "InternalError",
    "InvalidRequest",
    "MalformedBody",
    "MethodNotAllowed",
    "ModelNotFound",
    "NotFound",
    "Overloaded",
    "RateLimited",
    "RouteNotFound",
    "Unauthenticated",
    "UnknownFields",
    "Unsupported",
    "UnsupportedMediaType",
    "Violation",
]


_MOST_SHOWN = 200
"""Characters of a client's own text in a message."""

_MOST_NAMES = 8


class ApiError(Exception):
    """Base of all. `status` is the usual HTTP status; `message` is for the client."""

    status = 500

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message


class BadRequest(ApiError):
    """The client's fault. `param` is the path of the field at fault, where there is one."""

    status = 400

    def __init__(self, message: str = "", *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class MalformedBody(BadRequest):
    """The body cannot be decoded. `position` is the byte or character where it broke, and
    `found` the character there, if any.

    reason: "empty", "syntax", "truncated", "encoding", "number" (NaN, Infinity or out
    of range) or "depth".
    """

    def __init__(
        self, message: str, *, reason: str = "syntax", position: int = 0, found: str = ""
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.position = position
        self.found = found


@dataclass(frozen=True, slots=True)
class Violation:
    """Where a value breaks its schema, and how.

    path: keys and indexes from the root of the body. keyword: the JSON Schema keyword
    that failed. expected: that keyword's value; of `required` the missing name, which also
    ends the path. value: what stood there; of `required` the object that lacks the name.
    extra: the names that are not allowed; nothing where the library does not tell them.
    """

    path: tuple[str | int, ...]
    keyword: str
    message: str
    expected: Any = None
    value: Any = None
    extra: tuple[str, ...] = field(default=(), compare=False)


class InvalidRequest(BadRequest):
    """The body is JSON, but breaks the document's schema: `violations`, the first one first.

    `violation` is the first of them, the one to draw where there is room for one.
    """

    def __init__(self, violation: Violation, *others: Violation) -> None:
        super().__init__(violation.message)
        self.violation = violation
        self.violations = (violation, *others)


class UnknownFields(BadRequest):
    """The body has fields of these names, which the document does not have."""

    def __init__(self, names: Sequence[str]) -> None:
        shown = ", ".join(name[:_MOST_SHOWN] for name in names[:_MOST_NAMES])
        super().__init__(f"unknown {'field' if len(names) == 1 else 'fields'}: {shown}")
        self.names = tuple(names)
        self.shown = shown


class ContextTooLong(BadRequest):
    """The prompt has `tokens` tokens, the model takes `limit`."""

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(f"the prompt has {tokens} tokens, the model's context is {limit}")
        self.tokens = tokens
        self.limit = limit


class Unsupported(BadRequest):
    """`model` lacks `capability` (a `Capability`, or the name of a field or option)."""

    def __init__(self, capability: str, *, model: str = "", param: str | None = None) -> None:
        owner = f'"{model}"' if model else "this server"
        super().__init__(f"{owner} does not support {capability}", param=param)
        self.capability = capability
        self.model = model


class Unauthenticated(ApiError):
    """No key, or not a good one; `missing` says which."""

    status = 401

    def __init__(self, message: str = "not authenticated", *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


class Forbidden(ApiError):
    status = 403

    def __init__(self, message: str = "forbidden") -> None:
        super().__init__(message)


class NotFound(ApiError):
    status = 404

    def __init__(self, message: str = "not found") -> None:
        super().__init__(message)


class RouteNotFound(NotFound):
    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"no such route: {method} {path}")
        self.method = method
        self.path = path


class ModelNotFound(NotFound):
    """No such model. `model` is the name that was asked for."""

    def __init__(self, model: str) -> None:
        shown = model if len(model) <= _MOST_SHOWN else model[:_MOST_SHOWN] + "…"
        super().__init__(f"model '{shown}' not found")
        self.model = model


class MethodNotAllowed(ApiError):
    """`allowed` are the methods that the path has, sorted."""

    status = 405

    def __init__(self, method: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"method {method} is not allowed here")
        self.method = method
        self.allowed = allowed


class BodyTooLarge(ApiError):
    """The body has more than `limit` bytes."""

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body is larger than {limit} bytes")
        self.limit = limit


class UnsupportedMediaType(ApiError):
    status = 415

    def __init__(self, media_type: str, accepted: tuple[str, ...]) -> None:
        super().__init__(f"unsupported media type, send {' or '.join(accepted)}")
        self.media_type = media_type
        self.accepted = accepted


class RateLimited(ApiError):
    """Too many requests. `retry_after` in seconds and `quota`, where they are known."""

    status = 429

    def __init__(
        self,
        message: str = "rate limit exceeded",
        *,
        retry_after: float | None = None,
        quota: Quota | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.quota = quota


class InternalError(ApiError):
    status = 500

    def __init__(self, message: str = "internal server error") -> None:
        super().__init__(message)


class BackendError(ApiError):
    """The engine or the upstream failed. `upstream_status` is its HTTP status, if any."""

    status = 502

    def __init__(
        self, message: str = "the backend failed", *, upstream_status: int | None = None
    ) -> None:
        super().__init__(message)
        self.upstream_status = upstream_status


class BackendUnavailable(BackendError):
    status = 503

    def __init__(self, message: str = "the backend is not available") -> None:
        super().__init__(message)


class Overloaded(BackendError):
    """The queue is full. `retry_after` in seconds, where it is known."""

    status = 503

    def __init__(
        self, message: str = "the server is busy", *, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BackendTimeout(BackendError):
    status = 504

    def __init__(self, message: str = "the backend did not answer in time") -> None:
        super().__init__(message)
