"""The geenii gateway's `/ai/v1`: `provider:model` picks who answers.

What concerns the model or its provider is told with status 200 and `{"error": text}`, as
the original does; what concerns the request, with a 4xx and `{"detail": …}`.
"""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from ..contract import Operation
from ..errors import (
    ApiError,
    BodyTooLarge,
    InternalError,
    InvalidRequest,
    MalformedBody,
    MethodNotAllowed,
    ModelNotFound,
    NotFound,
    RouteNotFound,
    UnsupportedMediaType,
    Violation,
)
from ..jsontext import dumps
from ..media import Image, ImageBackend, ImagePrompt
from ..types import (
    JSON,
    Backend,
    Event,
    Message,
    Prompt,
    Quota,
    Sampling,
    TextPart,
)
from .completion import Completion, gather
from .ollama import GENERATE, Written
from .protocol import Answer, Codec, Drawing, Handler, Headers, Reply, Request, Run, quota_headers

__all__ = ["Geenii"]

B = TypeVar("B")


class Geenii:
    """Completions and images over named providers. A `Dialect`."""

    contract = "ai/geenii"

    def __init__(
        self, providers: Mapping[str, Backend], images: Mapping[str, ImageBackend] | None = None
    ) -> None:
        self.providers = providers
        self.images = images or {}

    @property
    def backends(self) -> Sequence[object]:
        return (*self.providers.values(), *self.images.values())

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "completion": self.completion,
            "imageGenerate": self.image_generate,
            "models": self.models,
        }

    async def completion(self, request: Request) -> Reply:
        body = request.body
        provider, model = _split(body["model"])
        backend = _pick(provider, self.providers, self.images, "AICompletionProvider")
        messages = [Message("user", (TextPart(body["prompt"]),))]
        if body.get("system"):
            messages.insert(0, Message("system", (TextPart(body["system"]),)))
        output_format = body.get("output_format")
        if output_format not in (None, "json", "json_object"):
            raise _Failure(
                f"Unsupported format: {output_format[:64]}. Supported formats are: 'json'."
            )
        limit = body.get("max_tokens")
        prompt = Prompt(
            model=model,
            messages=tuple(messages),
            sampling=Sampling(
                max_tokens=None if limit is None else int(limit),
                temperature=body.get("temperature"),
                top_p=body.get("top_p"),
            ),
            format="json" if output_format else None,
        )
        whole = _Whole(provider, model, body["prompt"], request.started)
        return Run(backend.generate(prompt), whole, stream=False)

    async def image_generate(self, request: Request) -> Reply:
        body = request.body
        provider, model = _split(body["model"])
        backend = _pick(provider, self.images, self.providers, "AIImageGeneratorProvider")
        width, _, height = (body.get("size") or "auto").partition("x")
        try:
            images = await backend.draw(
                ImagePrompt(
                    model=model,
                    text=body["prompt"],
                    width=int(width) if height else None,
                    height=int(height) if height else None,
                )
            )
        except ModelNotFound:
            text = f"Model {model} is not supported by AIProvider(name={provider})."
            raise _Failure(text) from None
        by_url = body.get("response_format") == "url"
        return Answer(
            _envelope(
                provider,
                model,
                body["prompt"],
                model_result=None,
                output=[_image(image, by_url=by_url) for image in images],
            )
        )

    async def models(self, request: Request) -> Reply:
        return Answer(
            [
                {
                    "name": model.name,
                    "provider": provider,
                    "type": kind,
                    "description": model.description,
                }
                for kind, backends in (
                    ("text-completion", self.providers),
                    ("image-generation", self.images),
                )
                for provider, backend in backends.items()
                for model in await backend.models()
            ]
        )

    def draw(self, error: ApiError, operation: Operation | None) -> Drawing:
        if isinstance(error, MethodNotAllowed):
            allow = ", ".join(error.allowed)
            return Drawing(405, {"detail": "Method Not Allowed"}, [("allow", allow)])
        if isinstance(error, (InvalidRequest, MalformedBody)):
            return Drawing(422, {"detail": [_detail(error)]})
        if isinstance(error, InternalError):
            return Drawing(500, {"detail": "Internal Server Error"})
        if isinstance(error, (BodyTooLarge, UnsupportedMediaType)):
            return Drawing(error.status, {"detail": error.message})
        if isinstance(error, RouteNotFound):
            return Drawing(404, {"detail": "Not Found"})
        if operation is None:
            # Refused before it reached a provider.
            return Drawing.of(error, {"detail": error.message})
        suffix = f" (status code: {error.status})" if isinstance(error, NotFound) else ""
        return Drawing(200, {"error": _shown(error.message) + suffix})

    def draw_item(self, error: ApiError, codec: Codec) -> Iterable[JSON]:
        return [{"error": error.message}]

    def headers(self, started: int, quota: Quota | None) -> Headers:
        return quota_headers(quota)


class _Failure(ApiError):
    """What is answered with status 200 and these words."""

    status = 200


def _split(model: str) -> tuple[str, str]:
    provider, colon, name = model.partition(":")
    if not colon:
        shown = model[:128]
        raise _Failure(f"Invalid model ID format: {shown}. Expected 'provider:model_name'.")
    return provider.strip(), name.strip()


def _pick(
    provider: str, wanted: Mapping[str, B], others: Mapping[str, object], interface: str
) -> B:
    if provider in wanted:
        return wanted[provider]
    if provider in others:
        raise _Failure(f"Invalid AI: {provider} provider does not support {interface} interface.")
    raise _Failure(f"Unsupported provider: {provider[:128]}")


def _envelope(provider: str, model: str, prompt: str, **rest: JSON) -> JSON:
    return {
        "id": uuid.uuid4().hex,
        "timestamp": int(time.time()),
        "model": model,
        "provider": provider,
        "error": None,
        "model_result": rest.pop("model_result"),
        "prompt": prompt,
        **rest,
    }


def _image(image: Image, *, by_url: bool) -> JSON:
    if image.data is None:
        return {"url": image.url}
    encoded = base64.b64encode(image.data).decode()
    return {"url": f"data:{image.media_type};base64,{encoded}"} if by_url else {"base64": encoded}


class _Whole:
    """The codec: one object, never a stream."""

    finished = False

    def __init__(self, provider: str, model: str, prompt: str, started: int) -> None:
        self._provider = provider
        self._model = model
        self._prompt = prompt
        self._started = started

    def items(self, event: Event) -> Iterable[JSON]:
        raise NotImplementedError("this API has no streams")

    def whole(self, events: Sequence[Event]) -> JSON:
        answer = gather(events)
        raw = answer.finish.raw
        if raw is None or self._provider == "ollama":
            raw = self._ollama_result(raw, answer)
        of_openai = self._provider == "openai"
        return _envelope(
            self._provider,
            self._model,
            self._prompt,
            model_result=raw,
            output=[_openai_message(answer) if of_openai else _message(answer)],
            output_text=None if self._provider == "ollama" else answer.text,
        )

    def _ollama_result(self, raw: Mapping[str, JSON] | None, answer: Completion) -> JSON:
        """Ollama's answer with every key, as its Python client gives it."""
        if raw is None:
            raw = Written(self._model, GENERATE, self._started).end(answer)
        elif "message" in raw:
            message = raw["message"]
            raw = {**raw, "response": message["content"], "thinking": message.get("thinking")}
        return {key: raw.get(key) for key in _OLLAMA_KEYS}


_OLLAMA_KEYS = (
    "model",
    "created_at",
    "done",
    "done_reason",
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
    "response",
    "thinking",
    "context",
    "logprobs",
)


def _message(answer: Completion) -> JSON:
    return {
        "id": "xmsg_" + uuid.uuid4().hex,
        "type": "message",
        "content": [{"type": "output_text", "text": answer.text}],
    }


def _openai_message(answer: Completion) -> JSON:
    return {
        "id": "msg_" + uuid.uuid4().hex,
        "content": [
            {"annotations": [], "text": answer.text, "type": "output_text", "logprobs": []}
        ],
        "role": "assistant",
        "status": "incomplete" if answer.finish.reason == "length" else "completed",
        "type": "message",
    }


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
        return value if len(value) <= _MOST_SHOWN else value[:_MOST_SHOWN] + "…"
    return value if len(dumps(value)) <= _MOST_SHOWN else None


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
