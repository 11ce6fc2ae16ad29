"""OpenAI's API: the client half. `openai_client_request` writes bodies.

Strict in what it asks, and tolerant in what it takes from the many servers that speak
this dialect with an accent; but an answer that was cut off never passes for a whole one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ..errors import ApiError, BackendError
from ..framing import framing_of
from ..types import (
    JSON,
    Event,
    Finish,
    FinishReason,
    Model,
    ReasoningDelta,
    TextDelta,
    Usage,
)
from . import embedding_client
from .client import Client
from .openai_client_calls import Calls
from .openai_client_request import request
from .upstream import (
    array,
    count,
    cut_off,
    event_object,
    malformed,
    object_of,
    text_of,
    timings_of,
    token_logprobs,
)
from .upstream_errors import fault_of, judge

__all__ = ["OPENAI", "Answer", "WholeBody", "error", "models"]


# Answers

_REASONS: Final[Mapping[str, FinishReason]] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_DONE: Final = "[DONE]"
_FAILED: Final = ("abort", "cancelled", "error")


class Answer:
    """One answer, from the events of its stream. An `Incoming`.

    model: the one that was asked for. An answer that is not streamed is read as two
    events: its text, and "[DONE]".
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._whole: dict[str, JSON] = {}
        self._texts: dict[str, list[str]] = {}
        self._calls = Calls()
        self._logprobs: list[JSON] = []
        self._reason = ""
        self._begun = False
        self.done = False

    @property
    def complete(self) -> bool:
        return bool(self._reason) or (self.done and self._begun)

    def feed(self, item: JSON, /) -> list[Event]:
        data = text_of(item.get("data")).strip()
        if not data:
            return []
        if data == _DONE:
            self.done = True
            return []
        chunk = event_object(data)
        choices = array(chunk.get("choices"))
        flat = not choices and ("detail" in chunk or isinstance(chunk.get("message"), str))
        failed = chunk.get("object") == "error" or item.get("event") == "error"
        if chunk.get("error") or flat or failed:
            raise self._error(chunk)
        self._keep(chunk)
        events: list[Event] = []
        for choice in choices:
            if not choice.get("index"):
                events += self._choice(choice)
        return events

    def _error(self, chunk: dict[str, JSON]) -> ApiError:
        code = str((object_of(chunk.get("error")) or chunk).get("code"))
        status = int(code) if re.fullmatch("[45][0-9][0-9]", code) else 500
        return error(status, chunk, self._model)

    def _keep(self, fields: dict[str, JSON]) -> None:
        for name, value in fields.items():
            # What says nothing must not replace what does: ids and usages come and go.
            if value or name not in self._whole:
                self._whole[name] = value

    def _choice(self, choice: dict[str, JSON]) -> list[Event]:
        self._begun = True
        if usage := choice.get("usage"):
            self._keep({"usage": usage})
        message = object_of(choice.get("message"))
        delta = object_of(choice.get("delta")) or message
        events: list[Event] = []
        for name in ("reasoning_content", "reasoning"):
            # Some servers send both, and the same in both.
            if isinstance(delta.get(name), str) and delta[name]:
                events.append(ReasoningDelta(self._say("reasoning_content", delta[name])))
                break
        text = self._say("content", text_of(delta.get("content")))
        text += self._say("text", text_of(choice.get("text")))
        # A refusal is what the model tells the user, so it is its text.
        text += self._say("refusal", text_of(delta.get("refusal")))
        entries = _logprobs(object_of(choice.get("logprobs")))
        if text or entries:
            self._logprobs += entries
            events.append(TextDelta(text, token_logprobs(entries)))
        calls = array(delta.get("tool_calls"))
        if delta is message:
            # A list of whole calls, which have no index and need not differ in their ids.
            calls = [{**call, "index": number} for number, call in enumerate(calls)]
        if legacy := object_of(delta.get("function_call")):
            calls = [{"function": legacy}]
        for call in calls:
            events += self._calls.feed(call)
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and not self._reason:
            if reason in _FAILED:
                raise BackendError("the upstream gave up in the middle of its answer")
            self._reason = reason
        return events

    def _say(self, name: str, text: str) -> str:
        if text:
            self._texts.setdefault(name, []).append(text)
        return text

    def close(self) -> list[Event]:
        if not self.complete:
            raise cut_off()
        missing = self._calls.close()
        reason = _REASONS.get(self._reason, "stop")
        if reason == "stop" and self._calls:
            reason = "tool_calls"
        usage = object_of(self._whole.get("usage"))
        prompt = object_of(usage.get("prompt_tokens_details"))
        completion = object_of(usage.get("completion_tokens_details"))
        finish = Finish(
            reason=reason,
            usage=Usage(
                prompt=count(usage.get("prompt_tokens")),
                completion=count(usage.get("completion_tokens")),
                cached=count(prompt.get("cached_tokens")),
                reasoning=count(completion.get("reasoning_tokens")),
            ),
            timings=timings_of(self._whole.get("timings")),
            raw=self._raw(),
        )
        return [*missing, finish]

    def _raw(self) -> dict[str, JSON]:
        """The answer that would have come if it had not been streamed."""
        texts = {name: "".join(pieces) for name, pieces in self._texts.items()}
        choice: dict[str, JSON] = {"index": 0}
        if self._whole.get("object") == "text_completion" or "text" in texts:
            choice["text"] = texts.get("text", "")
        else:
            content = None if self._calls else ""
            choice["message"] = {"role": "assistant", "content": content, "refusal": None, **texts}
            if self._calls:
                choice["message"]["tool_calls"] = self._calls.whole()
        choice["logprobs"] = {"content": self._logprobs} if self._logprobs else None
        choice["finish_reason"] = self._reason or None
        raw = {name: value for name, value in self._whole.items() if name != "obfuscation"}
        raw["object"] = "chat.completion" if "message" in choice else "text_completion"
        raw["choices"] = [choice]
        return raw


def _logprobs(logprobs: Mapping[str, JSON]) -> list[dict[str, JSON]]:
    """The entries of /chat/completions; those of /completions are parallel lists."""
    tokens, numbers, tops = (
        value if isinstance(value := logprobs.get(name), list) else []
        for name in ("tokens", "token_logprobs", "top_logprobs")
    )
    if not tokens:
        return array(logprobs.get("content"))
    return [
        {
            "token": token,
            "logprob": number,
            "bytes": None,
            "top_logprobs": [
                {"token": other, "logprob": chance} for other, chance in object_of(top).items()
            ],
        }
        for token, number, top in zip(tokens, numbers, tops or [None] * len(tokens), strict=False)
    ]


# Models and errors


def models(body: JSON) -> list[Model]:
    """The models that GET /models lists. Raises BackendError for anything else."""
    if isinstance(body, dict) and "data" in body:
        body = body["data"] or []
    if not isinstance(body, list):
        raise malformed()
    return [
        Model(
            name=text_of(entry["id"]),
            created=count(entry.get("created")),
            owner=text_of(entry.get("owned_by")) or "library",
            capabilities=frozenset(),
        )
        for entry in array(body)
        if entry.get("id")
    ]


def error(status: int, body: JSON, model: str) -> ApiError:
    """What a response with this status and body means. `model` is the one asked for."""
    return judge(fault_of(status, body, model), {})


class WholeBody:
    """Decodes an answer that is not streamed: to the events that it stands for."""

    def __init__(self) -> None:
        self._body = bytearray()

    def feed(self, chunk: bytes, /) -> list[JSON]:
        self._body += chunk
        return []

    def close(self) -> list[JSON]:
        return [{"data": self._body.decode("utf-8-sig", "replace")}, {"data": _DONE}]


_EVENTS: Final = framing_of("text/event-stream")

OPENAI: Final = Client(
    request=request,
    decoder=lambda media_type: (
        WholeBody() if media_type == "application/json" else _EVENTS.decoder()
    ),
    answer=Answer,
    error=error,
    models_path="/models",
    models=models,
    embedding=embedding_client.OPENAI,
)
