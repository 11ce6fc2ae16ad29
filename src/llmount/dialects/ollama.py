"""Ollama's `/api`: the server half.

`ollama_request` reads bodies, `ollama_errors` draws errors. Models are named in Ollama's
way here, where a name without a tag means `:latest`; a backend sees the bare name.
"""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from ..contract import Contract, Operation
from ..errors import ApiError, BackendError, BadRequest, ModelNotFound
from ..jsontext import loads
from ..types import (
    JSON,
    Backend,
    Event,
    Finish,
    Image,
    ImageBackend,
    ImagePrompt,
    Model,
    Quota,
    ReasoningDelta,
    Resident,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
)
from .completion import Completion, ToolCalls, gather
from .ollama_errors import draw
from .ollama_request import bare, chat_prompt, duration, generate_prompt, image_prompt
from .protocol import Answer, Codec, Drawing, Handler, Headers, Reply, Request, Run, quota_headers

__all__ = ["CHAT", "GENERATE", "Ollama", "Written", "timestamp"]


class Ollama:
    """Generate, chat and model information over a backend. A `Dialect`.

    images: what draws for `/generate`, if the model is one of its own.
    """

    contract = "generate/ollama"

    def __init__(self, backend: Backend, images: ImageBackend | None = None) -> None:
        self.backend = backend
        self.images = images

    @property
    def backends(self) -> Sequence[object]:
        return (self.backend, self.images)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "generate": self.generate,
            "chat": self.chat,
            "list": self.list,
            "show": self.show,
            "ps": self.ps,
            "version": self.version,
            "root": self.root,
        }

    async def generate(self, request: Request) -> Reply:
        body = request.body
        if not body["model"]:
            raise ModelNotFound("")
        written = Written(body["model"], GENERATE, request.started, raw=body["raw"])
        if self.images is not None:
            asked = image_prompt(body)
            if asked.model in [model.name for model in await self.images.models()]:
                drawn = Drawn(body["model"], request.started)
                return Run(_drawing(self.images, asked), drawn, body["stream"])
        if not body["prompt"]:
            return await self._load_or_unload(body, written)
        prompt = generate_prompt(body)
        return Run(self.backend.generate(prompt), written, body["stream"])

    async def chat(self, request: Request) -> Reply:
        body = request.body
        if not body["model"]:
            raise BadRequest("model is required")
        written = Written(body["model"], CHAT, request.started)
        if not body.get("messages"):
            return await self._load_or_unload(body, written)
        prompt = chat_prompt(body)
        return Run(self.backend.generate(prompt), written, body["stream"])

    async def _load_or_unload(self, body: JSON, written: Written) -> Answer:
        model = await self._model(body["model"])
        keep_alive = duration(body.get("keep_alive"))
        reason = "unload" if keep_alive == 0 else "load"
        if isinstance(self.backend, Resident):
            if keep_alive == 0:
                await self.backend.unload(model.name)
            else:
                await self.backend.load(model.name, keep_alive)
        return Answer(written.empty(reason))

    async def _model(self, name: str) -> Model:
        wanted = bare(name).casefold()
        for model in await self.backend.models():
            if bare(model.name).casefold() == wanted:
                return model
        raise ModelNotFound(name)

    async def list(self, request: Request) -> Reply:
        models = await self.backend.models()
        return Answer(
            {
                "models": [
                    {
                        "name": _tagged(model.name),
                        "model": _tagged(model.name),
                        "modified_at": timestamp(model.created),
                        "size": model.size,
                        "digest": model.digest,
                        "details": _details(model, lengths=True),
                        **_present(capabilities=sorted(model.capabilities)),
                    }
                    for model in models
                ]
            }
        )

    async def show(self, request: Request) -> Reply:
        name = request.body["model"] or request.body["name"]
        if not name:
            raise BadRequest("model is required")
        try:
            model = await self._model(name)
        except ModelNotFound:
            raise ModelNotFound(_tagged(name)) from None
        return Answer(
            _present(
                license=model.license,
                modelfile=f'# Modelfile generated by "ollama show"\nFROM {_tagged(model.name)}\n',
                template=model.template,
            )
            | {
                "details": _details(model),
                "model_info": dict(model.metadata),
                **_present(capabilities=sorted(model.capabilities)),
                "modified_at": timestamp(model.created),
            }
        )

    async def ps(self, request: Request) -> Reply:
        resident = await self.backend.resident() if isinstance(self.backend, Resident) else ()
        longest_first = sorted(resident, key=lambda each: -(each.expires or _FOR_EVER))
        return Answer(
            {
                "models": [
                    {
                        "name": _tagged(each.model.name),
                        "model": _tagged(each.model.name),
                        "size": each.size,
                        "digest": each.model.digest,
                        "details": _details(each.model),
                        "expires_at": timestamp(each.expires or _FOR_EVER),
                        "size_vram": 0,
                        "context_length": each.context_length,
                    }
                    for each in longest_first
                ]
            }
        )

    async def version(self, request: Request) -> Reply:
        return Answer({"version": Contract.load(self.contract).version})

    async def root(self, request: Request) -> Reply:
        return Answer("Ollama is running")

    def draw(self, error: ApiError, operation: Operation | None) -> Drawing:
        return draw(error, operation)

    def draw_item(self, error: ApiError, codec: Codec) -> Iterable[JSON]:
        return [draw(error, None).content]

    def headers(self, started: int, quota: Quota | None) -> Headers:
        return quota_headers(quota)


@dataclass(frozen=True, slots=True)
class Form:
    """What differs between the answers of `/generate` and `/chat`.

    place: the fields that carry text and reasoning, and in a conversation the calls.
    calls_at_end: calls are a field of the last object, not an item of their own.
    """

    place: Callable[[str, str, Sequence[ToolCall]], dict[str, JSON]]
    calls_at_end: bool
    has_context: bool


class Written:
    """The codec of one answer: Ollama's objects.

    started: `time.perf_counter_ns()` at the arrival. raw: leave out `context`.
    """

    def __init__(self, model: str, form: Form, started: int, *, raw: bool = False) -> None:
        self.finished = False
        self._model = model
        self._form = form
        self._started = started
        self._has_context = form.has_context and not raw
        self._calls = ToolCalls()

    def items(self, event: Event) -> Sequence[JSON]:
        if isinstance(event, TextDelta):
            if event.text or event.logprobs:
                return (self._item(event.text, logprobs=event.logprobs),)
        elif isinstance(event, ReasoningDelta):
            return (self._item("", reasoning=event.text),)
        elif isinstance(event, ToolCallDelta):
            # Ollama sends a call whole: its arguments are an object.
            self._calls.add(event)
        elif isinstance(event, Finish):
            self.finished = True
            calls = tuple(self._calls)
            if calls and not self._form.calls_at_end:
                called = self._item("", calls=calls)
                return (called, self.end(Completion(finish=event)))
            return (self.end(Completion(tool_calls=calls, finish=event)),)
        return ()

    def whole(self, events: Sequence[Event]) -> JSON:
        return self.end(gather(events))

    def empty(self, reason: str) -> JSON:
        """The answer that says that a model was loaded or unloaded."""
        return {
            "model": self._model,
            "created_at": timestamp(),
            **self._form.place("", "", ()),
            "done": True,
            "done_reason": reason,
        }

    def _item(
        self,
        text: str,
        *,
        reasoning: str = "",
        calls: Sequence[ToolCall] = (),
        logprobs: Sequence[TokenLogprob] = (),
    ) -> JSON:
        item = {
            "model": self._model,
            "created_at": timestamp(),
            **self._form.place(text, reasoning, calls),
            "done": False,
        }
        if logprobs:
            item["logprobs"] = _logprobs(logprobs)
        return item

    def end(self, answer: Completion) -> JSON:
        """The object that ends the answer, with all of it that was not sent before."""
        finish, at_end = answer.finish, self._form.calls_at_end
        end = {
            "model": self._model,
            "created_at": timestamp(),
            **self._form.place(answer.text, answer.reasoning, () if at_end else answer.tool_calls),
            "done": True,
            "done_reason": "length" if finish.reason == "length" else "stop",
        }
        # The two routes have the rest in another order.
        if answer.logprobs and not at_end:
            end["logprobs"] = _logprobs(answer.logprobs)
        end |= _present(
            context=finish.context if self._has_context else (),
            total_duration=time.perf_counter_ns() - self._started,
            load_duration=finish.timings.load,
            prompt_eval_count=finish.usage.prompt,
            prompt_eval_duration=finish.timings.prompt,
            eval_count=finish.usage.completion,
            eval_duration=finish.timings.completion,
        )
        if answer.tool_calls and at_end:
            end["tool_calls"] = _tool_calls(answer.tool_calls, ids=False)
        if answer.logprobs and at_end:
            end["logprobs"] = _logprobs(answer.logprobs)
        return end


def _response(text: str, reasoning: str, calls: Sequence[ToolCall]) -> dict[str, JSON]:
    return {"response": text, "thinking": reasoning} if reasoning else {"response": text}


def _message(text: str, reasoning: str, calls: Sequence[ToolCall]) -> dict[str, JSON]:
    message: dict[str, JSON] = {"role": "assistant", "content": text}
    if reasoning:
        message["thinking"] = reasoning
    if calls:
        message["tool_calls"] = _tool_calls(calls)
    return {"message": message}


GENERATE = Form(_response, calls_at_end=True, has_context=True)
CHAT = Form(_message, calls_at_end=False, has_context=False)


class Drawn:
    """The codec of a picture."""

    def __init__(self, model: str, started: int) -> None:
        self.finished = False
        self._model = model
        self._started = started

    def items(self, image: Image) -> Iterable[JSON]:
        self.finished = True
        return [self.whole([image])]

    def whole(self, images: Sequence[Image]) -> JSON:
        data = images[0].data if images else None
        if not data:
            raise BackendError("the image backend gave no image")
        return {
            "model": self._model,
            "created_at": timestamp(),
            "response": "",
            "done": True,
            "done_reason": "stop",
            "total_duration": time.perf_counter_ns() - self._started,
            "image": base64.b64encode(data).decode(),
        }


async def _drawing(images: ImageBackend, prompt: ImagePrompt) -> AsyncGenerator[Image, None]:
    for image in await images.draw(prompt):
        yield image


def _tool_calls(calls: Sequence[ToolCall], *, ids: bool = True) -> JSON:
    return [
        {
            **(_present(id=call.id) if ids else {}),
            "function": {"index": index, "name": call.name, "arguments": _arguments(call)},
        }
        for index, call in enumerate(calls)
    ]


def _arguments(call: ToolCall) -> JSON:
    try:
        arguments = loads(call.arguments or "{}")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise BackendError(f"the model called {call.name} with arguments that are not an object")
    return arguments


def _logprobs(logprobs: Sequence[TokenLogprob]) -> JSON:
    return [
        {
            **_logprob(token),
            **_present(top_logprobs=[_logprob(top) for top in token.top]),
        }
        for token in logprobs
    ]


def _logprob(token: TokenLogprob) -> dict[str, JSON]:
    as_bytes = token.token.encode() if token.bytes is None else token.bytes
    return {"token": token.token, "logprob": token.logprob, **_present(bytes=list(as_bytes))}


def _present(**fields: JSON) -> dict[str, JSON]:
    """Those that say something: Go's `omitempty`."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in fields.items()
        if value
    }


def _details(model: Model, *, lengths: bool = False) -> JSON:
    details: dict[str, JSON] = {
        "parent_model": "",
        "format": model.format,
        "family": model.family,
        "families": [model.family] if model.family else [],
        "parameter_size": model.parameter_size,
        "quantization_level": model.quantization,
    }
    if lengths:
        details |= _present(
            context_length=model.context_length, embedding_length=model.embedding_length
        )
    return details


# Names and times


def _tagged(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


_FOR_EVER = 253_402_300_799
"""The last second of the year 9999, in Unix seconds."""


def timestamp(seconds: float | None = None) -> str:
    """Unix seconds, or now, in UTC as Go writes it: no trailing zeros in the fraction.

    What is beyond the year 9999, where the calendar ends, is its last second.
    """
    if seconds is None:
        whole, fraction = divmod(time.time_ns(), 1_000_000_000)
    else:
        # Not in nanoseconds at once, which a float does not hold.
        whole = int(min(seconds, _FOR_EVER))
        fraction = int(seconds % 1 * 1_000_000_000) if whole < _FOR_EVER else 0
    if not fraction:
        return f"{_second(whole)}Z"
    return f"{_second(whole)}.{fraction:09d}".rstrip("0") + "Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
