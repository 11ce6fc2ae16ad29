"""The events of chat completions as chunks, or as one whole answer."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence

from ..jsontext import dumps
from ..types import (
    JSON,
    Event,
    Finish,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from .completion import Choice, Completion, gather
from .logprobs import logprob_of
from .openai_calls import CallDeltas, call_fields, finish_reason
from .openai_tools import Offer

__all__ = ["DONE", "FINGERPRINT", "Choices", "Chunks", "together", "token_logprobs", "usage_of"]

DONE = {"data": "[DONE]"}
_MARK = dumps("\0")
FINGERPRINT = "fp_" + hashlib.sha256(b"llmount").hexdigest()[:10]


class Chunks:
    """The codec of one answer.

    offer: what it may call. index: which one it is, if there are several, which share a head.
    """

    def __init__(
        self,
        model: str,
        *,
        usage: bool,
        offer: Offer | None = None,
        index: int = 0,
        head: Mapping[str, JSON] | None = None,
    ) -> None:
        self.finished = False
        self.usage = usage
        self.offer = offer or Offer()
        self.index = index
        self.head = head or {
            "id": "chatcmpl-" + secrets.token_urlsafe(21),
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": FINGERPRINT,
        }
        self._begun = False
        self._calls = CallDeltas(self.offer)

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
            if (call := self._calls.write(event)) is not None:
                items.append(self._chunk(call))
        elif isinstance(event, Finish):
            items.extend(map(self._chunk, self._calls.rest()))
            items.append(self._chunk({}, finish_reason=finish_reason(event.reason, self.offer)))
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
            yield {"data": dumps({**self._head(), "choices": [], "usage": usage_of(usage)})}
        yield DONE

    def whole(self, events: Sequence[Event]) -> JSON:
        completion = gather(events)
        return self.answer([completion], completion.finish.usage)

    def answer(self, completions: Sequence[Completion], usage: Usage) -> JSON:
        return {
            "id": self.head["id"],
            "object": "chat.completion",
            "created": self.head["created"],
            "model": self.head["model"],
            "choices": [
                _choice(number, each, self.offer) for number, each in enumerate(completions)
            ],
            "usage": usage_of(usage),
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
    """The codec of several answers to one prompt (`n`)."""

    def __init__(self, codec: Chunks, count: int) -> None:
        self.finished = False
        self._codec = codec
        self._each = [
            Chunks(
                codec.head["model"],
                usage=codec.usage,
                offer=codec.offer,
                index=number,
                head=codec.head,
            )
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
                items.extend(self._codec.end(together(self._usages, len(self._each))))
        return items

    def whole(self, choices: Sequence[Choice]) -> JSON:
        completions = [
            gather(event for index, event in choices if index == number)
            for number in range(len(self._each))
        ]
        usages = [completion.finish.usage for completion in completions]
        return self._codec.answer(completions, together(usages, len(self._each)))


def together(usages: Sequence[Usage], answers: int) -> Usage:
    """Of so many answers to each prompt: a prompt is counted once, as the service does."""
    return Usage(
        prompt=sum(usage.prompt for usage in usages[::answers]),
        cached=sum(usage.cached for usage in usages[::answers]),
        completion=sum(usage.completion for usage in usages),
        reasoning=sum(usage.reasoning for usage in usages),
    )


def _choice(number: int, completion: Completion, offer: Offer) -> JSON:
    message: dict[str, JSON] = {
        "role": "assistant",
        "content": completion.text if completion.text or not completion.tool_calls else None,
        "refusal": None,
        "annotations": [],
    }
    if completion.reasoning:
        message["reasoning_content"] = completion.reasoning
    message |= call_fields(completion.tool_calls, offer)
    return {
        "index": number,
        "message": message,
        "logprobs": _logprobs(completion.logprobs),
        "finish_reason": finish_reason(completion.finish.reason, offer),
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
    return {"token": token.token, "logprob": logprob_of(token), "bytes": list(as_bytes)}


def usage_of(usage: Usage) -> JSON:
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
