"""CodeInferflow's two surfaces: `/api/generate` for code, and chat beside Tabby's routes.

It has one model at work, so requests need not name one. `infill` reads the code out of a
prompt and puts it into the model's template.
"""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence

from ..contract import Contract, Operation
from ..errors import (
    ApiError,
    BackendTimeout,
    BackendUnavailable,
    BadRequest,
    BodyTooLarge,
    ContextTooLong,
    Forbidden,
    MalformedBody,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    RateLimited,
    Unauthenticated,
)
from ..jsontext import dumps
from ..types import JSON, Backend, Event, Finish, Model, Prompt, Quota, Sampling
from . import openai_errors
from .completion import Completion, gather
from .infill import TEMPLATES, Code, parse, render
from .ollama import timestamp
from .plain import Pieces, Whole, conversation, plain_reason
from .protocol import Answer, Codec, Drawing, Handler, Headers, Reply, Request, Run, quota_headers
from .sampling import sampling

__all__ = ["CodeInferflow", "CodeInferflowChat"]

_SAMPLING = Sampling(max_tokens=100, temperature=0.01, seed=1234)


class _Coder:
    """The models behind a surface, and how each is asked for code."""

    def __init__(
        self,
        backend: Backend,
        *,
        model: str | None = None,
        templates: Mapping[str, str] = TEMPLATES,
        sampling: Sampling = _SAMPLING,
    ) -> None:
        """model: which one is at work; the backend's first, unless told.

        templates: as `infill.render` has them, by the model's name. A model without one
        is asked with the prefix, and with the suffix as well if it can fill a gap by
        itself (capability "insert"). sampling: of all answers to code.

        Raises `ValueError` for a bad template.
        """
        for template in templates.values():
            render(template, Code())
        self.backend = backend
        self._model = model
        self._templates = templates
        self._sampling = sampling

    @property
    def backends(self) -> Sequence[object]:
        return (self.backend,)

    def headers(self, started: int, quota: Quota | None) -> Headers:
        return quota_headers(quota)

    async def _pick(self, name: str | None = None) -> Model:
        """The model of this name or, where there is none, the one at work."""
        models = await self.backend.models()
        by_name = {model.name: model for model in models}
        if name in by_name:
            return by_name[name]
        if self._model is not None:
            return by_name.get(self._model) or Model(name=self._model)
        if not models:
            raise BackendUnavailable("there is no model at work")
        return models[0]

    def _complete(self, model: Model, code: Code, codec: Whole) -> Reply:
        """Nothing is asked where there is nothing to continue."""
        template = self._templates.get(model.name)
        inserts = template is None and "insert" in model.capabilities
        text = code.prefix if template is None else render(template, code)
        suffix = code.suffix or None if inserts else None
        if not (code.prefix or code.suffix) or not (text or suffix):
            return Answer(codec.whole([Finish()]))
        prompt = Prompt(model=model.name, text=text, suffix=suffix, sampling=self._sampling)
        return Run(self.backend.generate(prompt), codec, stream=False)


class CodeInferflow(_Coder):
    """Completions of code, told inside of the prompt (`infill.parse`). A `Dialect`."""

    contract = "generate/codeinferflow"

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {"generate": self.generate, "tags": self.tags}

    async def generate(self, request: Request) -> Reply:
        asked = request.body.get("model")
        model = await self._pick(asked)
        shown = asked if asked == model.name else "default"
        codec = Whole(lambda answer: _generated(shown, answer, request.started))
        return self._complete(model, parse(request.body["prompt"]), codec)

    async def tags(self, request: Request) -> Reply:
        return Answer({"models": [_tag(model) for model in await self.backend.models()]})

    def draw(self, error: ApiError, operation: Operation | None) -> Drawing:
        code = next((code for kinds, code in _CODES if isinstance(error, kinds)), _CODE)
        # The original says no more than this of a body that it cannot read.
        text = code if isinstance(error, MalformedBody) else f"{code}: {error.message}"
        return Drawing.of(error, {"text": "", "error_text": text, "time_cost": 0})

    def draw_item(self, error: ApiError, codec: Codec) -> Iterable[JSON]:
        return [self.draw(error, None).content]


class CodeInferflowChat(_Coder):
    """Chat completions, and Tabby's completions and health. A `Dialect`."""

    contract = "chat/codeinferflow"

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "createChatCompletion": self.chat,
            "createCompletion": self.completion,
            "health": self.health,
        }

    async def chat(self, request: Request) -> Reply:
        body = request.body
        model = await self._pick(body.get("model"))
        prompt = Prompt(
            model=model.name,
            messages=conversation(body["messages"]),
            sampling=sampling(body, "max_tokens", "temperature", "seed"),
        )
        return Run(self.backend.generate(prompt), _Chat(), body["stream"])

    async def completion(self, request: Request) -> Reply:
        body = request.body
        segments = body.get("segments") or {}
        code = Code(
            segments.get("prefix") or "",
            segments.get("suffix") or "",
            body.get("language") or "",
            segments.get("filepath") or "",
        )
        return self._complete(await self._pick(), code, Whole(_completed))

    async def health(self, request: Request) -> Reply:
        model = await self._pick()
        return Answer(
            {
                "model": model.name,
                "chat_model": model.name,
                "chat_device": "cpu",
                "device": "cpu",
                "arch": platform.machine(),
                "cpu_info": platform.processor(),
                "cpu_count": os.cpu_count() or 1,
                "cuda_devices": [],
                "version": Contract.load(self.contract).version,
                "webserver": False,
            }
        )

    def draw(self, error: ApiError, operation: Operation | None) -> Drawing:
        return openai_errors.draw(error)

    def draw_item(self, error: ApiError, codec: Codec) -> Iterable[JSON]:
        return [{"data": dumps({"error": openai_errors.envelope(error)})}]


_CODE = "error.processing"
_CODES: Sequence[tuple[tuple[type[ApiError], ...], str]] = (
    ((BodyTooLarge, ContextTooLong), "error.too_long_request"),
    ((BadRequest,), "error.invalid_request_format"),
    ((Unauthenticated, Forbidden), "error.not_allowed"),
    ((NotFound,), "error.not_found"),
    ((MethodNotAllowed,), "error.invalid_method"),
    ((RateLimited, Overloaded), "error.busy"),
    ((BackendTimeout,), "error.timeout"),
)
"""What an error is called, the first that fits; anything else is `_CODE`."""


def _generated(model: str, answer: Completion, started: int) -> JSON:
    usage = answer.finish.usage
    return {
        "model": model,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "response": answer.text,
        "input_tokens": usage.prompt,
        "output_tokens": usage.completion,
        "total_duration": round((time.perf_counter_ns() - started) / 1e9, 3),
        "done": True,
    }


def _tag(model: Model) -> JSON:
    return {
        "details": {
            "families": [model.family] if model.family else None,
            "family": model.family,
            "format": model.format,
            "parameter_size": model.parameter_size,
            "quantization_level": model.quantization,
        },
        "digest": model.digest,
        "modified_at": timestamp(model.created),
        "name": model.name,
        "size": model.size,
    }


def _completed(answer: Completion) -> JSON:
    return {"id": f"cmpl-{uuid.uuid4()}", "choices": [{"index": 0, "text": answer.text}]}


class _Chat(Pieces):
    """The codec of a chat's answer, in both of its forms."""

    last = ({"data": "[DONE]"},)

    def item(self, text: str, finish: Finish | None) -> JSON:
        return {"data": dumps(_chat("chat.completion.chunk", finish, "delta", text))}

    def whole(self, events: Sequence[Event]) -> JSON:
        answer = gather(events)
        return _chat("chat.completion", answer.finish, "message", answer.text)


def _chat(kind: str, finish: Finish | None, place: str, text: str) -> JSON:
    reason = finish and plain_reason(finish.reason)
    choice = {"index": 0, "logprobs": None, "finish_reason": reason, place: {"content": text}}
    return {"object": kind, "choices": [choice]}
