"""OpenAI's chat completions and models: the server half.

`llmount.dialects.openai_request` reads bodies, `openai_errors` draws errors.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..contract import Operation
from ..errors import ApiError, ModelNotFound
from ..jsontext import dumps
from ..types import (
    JSON,
    Backend,
    Event,
    Finish,
    Model,
    Quota,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from .completion import Choice, Completion, gather, interleave
from .openai_errors import draw, envelope
from .openai_request import prompt
from .protocol import Answer, Codec, Drawing, Handler, Headers, Reply, Request, Run

__all__ = ["FINGERPRINT", "OpenAI", "service_headers", "token_logprobs"]

_DONE = {"data": "[DONE]"}
_MARK = dumps("\0")
FINGERPRINT = "fp_" + hashlib.sha256(b"llmount").hexdigest()[:10]


class OpenAI:
    """Chat completions over a backend. A `Dialect`."""

    contract = "chat/openai"

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    @property
    def backends(self) -> Sequence[object]:
        return (self.backend,)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "createChatCompletion": self.create,
            "listModels": self.list_models,
            "retrieveModel": self.retrieve_model,
        }

    async def create(self, request: Request) -> Reply:
        body = request.body
        asked = prompt(body)
        codec = Chunks(body["model"], usage=_wants_usage(body))
        count = int(body["n"])
        if count == 1:
            return Run(self.backend.generate(asked), codec, body["stream"])
        answers = [self.backend.generate(_seeded(asked, number)) for number in range(count)]
        return Run(interleave(answers), Choices(codec, count), body["stream"])

    async def list_models(self, request: Request) -> Reply:
        models = await self.backend.models()
        return Answer({"object": "list", "data": [_model(model) for model in models]})

    async def retrieve_model(self, request: Request) -> Reply:
        name = request.params["model"]
        for model in await self.backend.models():
            if model.name == name:
                return Answer(_model(model))
        raise ModelNotFound(name)

    def draw(self, error: ApiError, operation: Operation | None) -> Drawing:
        return draw(error)

    def draw_item(self, error: ApiError, codec: Codec) -> Iterable[JSON]:
        # No [DONE] after it: that would claim success.
        return [{"data": dumps({"error": envelope(error)})}]

    def headers(self, started: int, quota: Quota | None) -> Headers:
        return service_headers(started, quota)


def service_headers(started: int, quota: Quota | None) -> Headers:
    """What every answer of the service carries. Arguments as for `Dialect.headers`."""
    milliseconds = (time.perf_counter_ns() - started) // 1_000_000
    headers = (
        ("x-request-id", "req_" + secrets.token_hex(16)),
        ("openai-processing-ms", str(milliseconds)),
        ("openai-version", "2020-10-01"),
    )
    if quota is None:
        return headers
    return (
        *headers,
        ("x-ratelimit-limit-requests", str(quota.limit)),
        ("x-ratelimit-remaining-requests", str(quota.remaining)),
        ("x-ratelimit-reset-requests", _duration(quota.reset - time.time())),
    )


def _duration(seconds: float) -> str:
    """Whole seconds, rounded up, in Go's notation: `1s`, `6m0s`, `24h0m0s`."""
    minutes, rest = divmod(max(0, math.ceil(seconds)), 60)
    if not minutes:
        return f"{rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"


def _wants_usage(body: JSON) -> bool:
    return bool((body.get("stream_options") or {}).get("include_usage"))


def _seeded(asked: Any, number: int) -> Any:
    """The same prompt with a seed of its own, so that choices differ and yet repeat."""
    if asked.sampling.seed is None:
        return asked
    return replace(asked, sampling=replace(asked.sampling, seed=asked.sampling.seed + number))


def _model(model: Model) -> JSON:
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": model.owner,
    }


class Chunks:
    """The codec of one answer (`index` says which, if there are several)."""

    def __init__(
        self, model: str, *, usage: bool, index: int = 0, head: Mapping[str, JSON] | None = None
    ) -> None:
        self.finished = False
        self.usage = usage
        self.index = index
        self.head = head or {
            "id": "chatcmpl-" + secrets.token_urlsafe(21),
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": FINGERPRINT,
        }
        self._begun = False

    def items(self, event: Event) -> list[JSON]:
        if isinstance(event, Finish):
            self.finished = True
            return [*self.deltas(event), *self.end(event.usage)]
        return self.deltas(event)

    def deltas(self, event: Event) -> list[JSON]:
        """The chunks of this answer alone, without what ends the stream."""
        items: list[JSON] = [] if self._begun else [self._begin()]
        if isinstance(event, TextDelta):
            if event.logprobs:
                items.append(self._chunk({"content": event.text}, event.logprobs))
            elif event.text:
                items.append({"data": self._before + dumps(event.text) + self._after})
        elif isinstance(event, ReasoningDelta):
            items.append(self._chunk({"reasoning_content": event.text}))
        elif isinstance(event, ToolCallDelta):
            items.append(self._chunk({"tool_calls": [_tool_delta(event)]}))
        elif isinstance(event, Finish):
            items.append(self._chunk({}, finish_reason=event.reason))
        return items

    def _begin(self) -> JSON:
        self._begun = True
        # Nearly all chunks differ in their text only: write the rest once.
        # The last mark is ours: a client may well name a model so.
        self._before, _, self._after = self._chunk({"content": "\0"})["data"].rpartition(_MARK)
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def end(self, usage: Usage) -> Iterable[JSON]:
        """What comes once all answers are finished."""
        if self.usage:
            yield {"data": dumps({**self._head(), "choices": [], "usage": _usage(usage)})}
        yield _DONE

    def whole(self, events: Sequence[Event]) -> JSON:
        completion = gather(events)
        return self.answer([completion], completion.finish.usage)

    def answer(self, completions: Sequence[Completion], usage: Usage) -> JSON:
        return {
            "id": self.head["id"],
            "object": "chat.completion",
            "created": self.head["created"],
            "model": self.head["model"],
            "choices": [_choice(number, each) for number, each in enumerate(completions)],
            "usage": _usage(usage),
            "system_fingerprint": self.head["system_fingerprint"],
        }

    def _head(self) -> dict[str, JSON]:
        return {
            "id": self.head["id"],
            "object": "chat.completion.chunk",
            "created": self.head["created"],
            "model": self.head["model"],
            "system_fingerprint": self.head["system_fingerprint"],
        }

    def _chunk(
        self,
        delta: JSON,
        logprobs: Sequence[TokenLogprob] = (),
        finish_reason: str | None = None,
    ) -> dict[str, str]:
        chunk = self._head()
        chunk["choices"] = [
            {
                "index": self.index,
                "delta": delta,
                "logprobs": _logprobs(logprobs),
                "finish_reason": finish_reason,
            }
        ]
        if self.usage:
            chunk["usage"] = None
        return {"data": dumps(chunk)}


class Choices:
    """The codec of several answers to one prompt (`n`): their events come in turn."""

    def __init__(self, codec: Chunks, count: int) -> None:
        self.finished = False
        self._codec = codec
        self._each = [
            Chunks(codec.head["model"], usage=codec.usage, index=number, head=codec.head)
            for number in range(count)
        ]
        self._usages: list[Usage] = []

    def items(self, choice: Choice) -> list[JSON]:
        index, event = choice
        items = self._each[index].deltas(event)
        if isinstance(event, Finish):
            self._usages.append(event.usage)
            if len(self._usages) == len(self._each):
                self.finished = True
                items.extend(self._codec.end(_together(self._usages)))
        return items

    def whole(self, choices: Sequence[Choice]) -> JSON:
        completions = [
            gather(event for index, event in choices if index == number)
            for number in range(len(self._each))
        ]
        usages = [completion.finish.usage for completion in completions]
        return self._codec.answer(completions, _together(usages))


def _together(usages: Sequence[Usage]) -> Usage:
    """The prompt is counted once, as the service does."""
    return Usage(
        prompt=usages[0].prompt,
        cached=usages[0].cached,
        completion=sum(usage.completion for usage in usages),
        reasoning=sum(usage.reasoning for usage in usages),
    )


def _choice(number: int, completion: Completion) -> JSON:
    message: dict[str, JSON] = {
        "role": "assistant",
        "content": completion.text if completion.text or not completion.tool_calls else None,
        "refusal": None,
        "annotations": [],
    }
    if completion.reasoning:
        message["reasoning_content"] = completion.reasoning
    if completion.tool_calls:
        message["tool_calls"] = [_tool_call(call) for call in completion.tool_calls]
    return {
        "index": number,
        "message": message,
        "logprobs": _logprobs(completion.logprobs),
        "finish_reason": completion.finish.reason,
    }


def _tool_call(call: ToolCall) -> JSON:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _tool_delta(delta: ToolCallDelta) -> JSON:
    if delta.name is None:
        return {"index": delta.index, "function": {"arguments": delta.arguments}}
    return {
        "index": delta.index,
        "id": delta.id or f"call_{secrets.token_hex(12)}",
        "type": "function",
        "function": {"name": delta.name, "arguments": delta.arguments},
    }


def _logprobs(logprobs: Sequence[TokenLogprob]) -> JSON:
    if not logprobs:
        return None
    return {"content": token_logprobs(logprobs), "refusal": None}


def token_logprobs(logprobs: Sequence[TokenLogprob]) -> list[JSON]:
    """One object a token, with its alternatives."""
    return [
        {**_logprob(token), "top_logprobs": [_logprob(top) for top in token.top]}
        for token in logprobs
    ]


def _logprob(token: TokenLogprob) -> dict[str, JSON]:
    as_bytes = token.token.encode() if token.bytes is None else token.bytes
    return {"token": token.token, "logprob": token.logprob, "bytes": list(as_bytes)}


def _usage(usage: Usage) -> JSON:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
