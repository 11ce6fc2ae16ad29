"""What the geenii gateway answers: the envelope, and what is in it."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence

from ..errors import ApiError, BackendError
from ..media import Audio, Image, data_url
from ..types import JSON, Event, Finish, FinishReason, TextDelta
from .completion import Completion, gather
from .geenii_errors import failure
from .ollama_answer import GENERATE, Written
from .responses_items import Message, Numbered, Said
from .upstream import array

__all__ = ["CompletionCodec", "envelope", "picture", "recording"]


def envelope(provider: str, model: str, **rest: JSON) -> dict[str, JSON]:
    """What every answer begins with, and the rest. `model_result` is null unless told."""
    return {
        "id": uuid.uuid4().hex,
        "timestamp": int(time.time()),
        "model": model,
        "provider": provider,
        "error": None,
        "model_result": None,
        **rest,
    }


def picture(image: Image, *, by_url: bool) -> JSON:
    """An item of the output. by_url: as an address, even if the image has to be in it."""
    if image.data is None:
        return {"url": image.url}
    if by_url:
        return {"url": data_url(image.media_type, image.data)}
    return {"base64": base64.b64encode(image.data).decode()}


def recording(audio: Audio) -> JSON:
    """An item of the output."""
    return {
        "url": data_url(audio.media_type, audio.data),
        "base64": base64.b64encode(audio.data).decode(),
    }


# Completions


class _OpenAIMessage(Message):
    """The text of the answer, as OpenAI's responses have it in their output."""

    def __init__(self) -> None:
        super().__init__(0)
        self.name(f"{self.prefix}_{uuid.uuid4().hex}")

    def name(self, id_: str) -> None:
        """Before it is begun."""
        self.id = self.where["item_id"] = id_

    def part(self) -> JSON:
        return {"annotations": [], "text": self.text, "type": "output_text", "logprobs": []}

    def shown(self) -> JSON:
        return {
            "id": self.id,
            "content": self.parts(),
            "role": "assistant",
            "status": self.status,
            "type": "message",
        }


class _PlainMessage(_OpenAIMessage):
    """The text of the answer, as the original has it for all other providers."""

    prefix = "xmsg"

    def part(self) -> JSON:
        return {"type": "output_text", "text": self.text}

    def shown(self) -> JSON:
        return {"id": self.id, "type": "message", "content": self.parts()}


_INCOMPLETE: frozenset[FinishReason] = frozenset({"length", "content_filter"})


class CompletionCodec:
    """The codec of one completion: the envelope, or events in the style of the Responses API.

    Streamed or not, it is written in the same way: the whole answer is what the last event
    of a stream has. Only text is part of it. started: `time.perf_counter_ns()` at the arrival.
    """

    def __init__(self, provider: str, model: str, prompt: str, started: int) -> None:
        self.finished = False
        self._provider = provider
        self._model = model
        self._prompt = prompt
        self._started = started
        self._item = Numbered()
        self._message = _OpenAIMessage() if provider == "openai" else _PlainMessage()
        self._heard: list[Event] = []
        self._envelope: dict[str, JSON] = {}

    def items(self, event: Event) -> list[JSON]:
        return [self._item(*said) for said in self._said(event)]

    def whole(self, events: Sequence[Event]) -> JSON:
        if id_ := _message_id(events):
            self._message.name(id_)
        for event in events:
            for _ in self._said(event):
                pass
        if not self.finished:
            raise BackendError("the backend ended its answer without finishing it")
        return self._envelope

    def failed(self, error: ApiError) -> list[JSON]:
        """The last items of a stream that has begun and cannot be finished."""
        return [self._item("error", {"error": failure(error)})]

    def _said(self, event: Event) -> Iterator[Said]:
        if not self._heard:
            self._envelope = envelope(
                self._provider, self._model, prompt=self._prompt, output=[], output_text=None
            )
            yield "response.created", {"response": self._envelope}
            yield "response.in_progress", {"response": self._envelope}
            yield from self._message.begin()
        self._heard.append(event)
        if isinstance(event, TextDelta):
            if event.text:
                yield self._message.write(TextDelta(event.text))
        elif isinstance(event, Finish):
            status = "incomplete" if event.reason in _INCOMPLETE else "completed"
            yield from self._message.end(status)
            answer = gather(self._heard)
            self._envelope = {
                **self._envelope,
                "model_result": self._result(answer),
                "output": [self._message.shown()],
                "output_text": None if self._provider == "ollama" else answer.text,
            }
            self.finished = True
            yield f"response.{status}", {"response": self._envelope}

    def _result(self, answer: Completion) -> JSON:
        """The provider's own answer; for an engine here, Ollama's answer."""
        raw = answer.finish.raw
        if raw is None:
            return _ollama_result(Written(self._model, GENERATE, self._started).end(answer))
        if self._provider == "ollama" and "done" in raw:
            return _ollama_result(raw)
        return raw


def _message_id(events: Sequence[Event]) -> str | None:
    """What a provider that speaks OpenAI's responses calls its message."""
    for event in events:
        raw = event.raw if isinstance(event, Finish) else None
        if raw is not None and raw.get("object") == "response":
            for item in array(raw.get("output")):
                if item.get("type") == "message" and isinstance(item.get("id"), str):
                    return item["id"] or None
    return None


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


def _ollama_result(raw: Mapping[str, JSON]) -> JSON:
    """Ollama's answer with every key that its Python client knows, as that gives it, and then
    the others. A message is told as `/api/generate` does."""
    told = dict(raw)
    if isinstance(message := told.pop("message", None), dict):
        told |= {"response": message.get("content"), "thinking": message.get("thinking")}
    return {**dict.fromkeys(_OLLAMA_KEYS), **told}
