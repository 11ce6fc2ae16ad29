"""AJ STUDIOZ Cloud's `/api`: Ollama's generate and chat behind keys and limits.

Requests are read and answers begun as Ollama's; what differs is how they are shown.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from ..contract import Operation
from ..errors import (
    ApiError,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    BadRequest,
    BodyTooLarge,
    ContextTooLong,
    Forbidden,
    InvalidRequest,
    MalformedBody,
    MethodNotAllowed,
    ModelNotFound,
    NotFound,
    Overloaded,
    RateLimited,
    Unauthenticated,
    Unsupported,
    UnsupportedMediaType,
    Violation,
)
from ..types import JSON, Backend, Event, Quota, ReasoningDelta
from .ollama import CHAT, GENERATE, Written, timestamp
from .ollama_request import chat_prompt, generate_prompt
from .protocol import (
    Codec,
    Drawing,
    Handler,
    Headers,
    Reply,
    Request,
    Run,
    quota_headers,
    whole_seconds,
)

__all__ = ["AJStudioz"]


class AJStudioz:
    """Generate and chat over a backend. A `Dialect`; its document demands keys."""

    contract = "generate/ajstudioz"

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    @property
    def backends(self) -> Sequence[object]:
        return (self.backend,)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {"generate": self.generate, "chat": self.chat}

    async def generate(self, request: Request) -> Reply:
        body = request.body
        prompt = generate_prompt(_asked(body, "prompt", "system", "context", "raw"))
        written = Written(body["model"], GENERATE, request.started, raw=body["raw"])
        shown = _Shown(written, _GENERATED)
        return Run(self.backend.generate(prompt), shown, body["stream"])

    async def chat(self, request: Request) -> Reply:
        body = request.body
        prompt = chat_prompt(_asked(body, "messages", "tools", "format"))
        shown = _Shown(Written(body["model"], CHAT, request.started), _CHATTED)
        return Run(self.backend.generate(prompt), shown, body["stream"])

    def draw(self, error: ApiError, operation: Operation | None) -> Drawing:
        return Drawing.of(error, {"error": _envelope(error)})

    def draw_item(self, error: ApiError, codec: Codec) -> Iterable[JSON]:
        assert isinstance(codec, _Shown)
        return [codec.failed(error)]

    def headers(self, started: int, quota: Quota | None) -> Headers:
        return quota_headers(quota)


# Requests

_OPTIONS = ("temperature", "top_p", "top_k", "num_predict", "stop")
_UNSAID = {"system": "", "suffix": "", "template": "", "logprobs": False, "top_logprobs": 0}


def _asked(body: JSON, *names: str) -> JSON:
    """The body as Ollama's, with only the fields that are documented here."""
    options = body.get("options") or {}
    return {
        **_UNSAID,
        **{name: body[name] for name in ("model", *names) if body.get(name) is not None},
        "options": {name: options[name] for name in _OPTIONS if name in options},
    }


# Answers

_GENERATED = (
    "model",
    "created_at",
    "response",
    "done",
    "done_reason",
    "error",
    "context",
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
)
_CHATTED = (
    "model",
    "created_at",
    "message",
    "done_reason",
    "done",
    "error",
    "total_duration",
    "prompt_eval_count",
    "eval_count",
    "eval_duration",
)
"""The keys in their order, which is another one on each route."""

_COUNTED = {
    "context": [],
    "load_duration": 0,
    "prompt_eval_count": 0,
    "prompt_eval_duration": 0,
    "eval_count": 0,
    "eval_duration": 0,
}
"""What Ollama leaves out where it is nothing, and this API does not."""


class _Shown:
    """The codec: Ollama's objects with these keys, and no thinking."""

    def __init__(self, written: Written, keys: Sequence[str]) -> None:
        self.finished = False
        self._written = written
        self._keys = keys

    def items(self, event: Event) -> Iterable[JSON]:
        if isinstance(event, ReasoningDelta):
            return ()
        items = self._written.items(event)
        self.finished = self._written.finished
        return map(self._show, items)

    def whole(self, events: Sequence[Event]) -> JSON:
        told = [event for event in events if not isinstance(event, ReasoningDelta)]
        return self._show(self._written.whole(told))

    def failed(self, error: ApiError) -> JSON:
        """The end of an answer that has begun and cannot go on."""
        return self._pick({**self._written.empty("error"), "error": _envelope(error)})

    def _show(self, item: JSON) -> JSON:
        return self._pick({**_COUNTED, **item} if item["done"] else item)

    def _pick(self, item: JSON) -> JSON:
        item["created_at"] = timestamp(int(time.time()))
        return {key: item[key] for key in self._keys if key in item}


# Errors

Kinds: TypeAlias = type[ApiError] | tuple[type[ApiError], ...]

_CODES: Sequence[tuple[Kinds, str]] = (
    (MalformedBody, "invalid_json"),
    (InvalidRequest, "invalid_parameter"),
    (ContextTooLong, "context_length_exceeded"),
    (Unsupported, "unsupported_parameter"),
    (BadRequest, "invalid_request"),
    (Unauthenticated, "invalid_api_key"),
    (Forbidden, "forbidden"),
    (ModelNotFound, "model_not_found"),
    (NotFound, "not_found"),
    (MethodNotAllowed, "method_not_allowed"),
    (BodyTooLarge, "request_too_large"),
    (UnsupportedMediaType, "unsupported_media_type"),
    (RateLimited, "rate_limit_exceeded"),
    (BackendTimeout, "timeout"),
    ((BackendUnavailable, Overloaded), "unavailable"),
    (BackendError, "upstream_error"),
)
"""What an error is called, the first that fits; anything else is an `internal_error`."""


def _code(error: ApiError) -> str:
    match error:
        case InvalidRequest(violation=Violation(keyword="required")):
            return "missing_required_parameter"
        case Unauthenticated(missing=True):
            return "missing_api_key"
    return next((code for kinds, code in _CODES if isinstance(error, kinds)), "internal_error")


def _envelope(error: ApiError) -> JSON:
    drawn: dict[str, JSON] = {"code": _code(error), "message": error.message}
    if isinstance(error, RateLimited) and error.retry_after is not None:
        drawn["retry_after"] = whole_seconds(error.retry_after)
    return drawn
