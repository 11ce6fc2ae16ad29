"""Ollama's answers: the objects that the events of a backend become."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ..errors import BackendError
from ..jsontext import loads
from ..media import Image
from ..types import (
    JSON,
    Embeddings,
    Event,
    Finish,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
)
from .completion import Completion, ToolCalls, gather
from .embedding import unit_vectors
from .logprobs import logprob_of
from .ollama_models import timestamp

__all__ = ["CHAT", "GENERATE", "Drawn", "Form", "Written", "embedded"]


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
            calls = _written(tuple(self._calls), event)
            if calls and not self._form.calls_at_end:
                called = self._item("", calls=calls)
                return (called, self.end(Completion(finish=event)))
            return (self.end(Completion(tool_calls=calls, finish=event)),)
        return ()

    def whole(self, events: Sequence[Event]) -> JSON:
        answer = gather(events)
        calls = _written(answer.tool_calls, answer.finish)
        return self.end(replace(answer, tool_calls=calls))

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
        spent = finish.timings.load + finish.timings.prompt + finish.timings.completion
        # The two routes have the rest in another order.
        if answer.logprobs and not at_end:
            end["logprobs"] = _logprobs(answer.logprobs)
        end |= _present(
            context=finish.context if self._has_context else (),
            # An engine's clock may not agree with ours, but the parts must fit into the whole.
            total_duration=max(time.perf_counter_ns() - self._started, spent),
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


def _tool_calls(calls: Sequence[ToolCall], *, ids: bool = True) -> JSON:
    return [
        {
            **(_present(id=call.id) if ids else {}),
            "function": {"index": index, "name": call.name, "arguments": _arguments(call)},
        }
        for index, call in enumerate(calls)
    ]


def _written(calls: tuple[ToolCall, ...], finish: Finish) -> tuple[ToolCall, ...]:
    """Without the last call, if the limit of tokens cut it: it was not to be made like that."""
    if calls and finish.reason == "length" and _object(calls[-1].arguments) is None:
        return calls[:-1]
    return calls


def _arguments(call: ToolCall) -> JSON:
    arguments = _object(call.arguments or "{}")
    if arguments is None:
        raise BackendError(f"the model called {call.name} with arguments that are not an object")
    return arguments


def _object(text: str) -> JSON:
    """The JSON object that the text is; None if it is none."""
    try:
        value = loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


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
    return {"token": token.token, "logprob": logprob_of(token), **_present(bytes=list(as_bytes))}


def _present(**fields: JSON) -> dict[str, JSON]:
    """Those that say something: Go's `omitempty`."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in fields.items()
        if value
    }


# Embeddings


def embedded(model: str, found: Embeddings, dimensions: int, started: int) -> JSON:
    """The answer of `/embed`: vectors of the length 1. Raises `BackendError` for what has none."""
    vectors = unit_vectors(found, dimensions if dimensions > 0 else None)
    answer: dict[str, JSON] = {"model": model, "embeddings": vectors}
    if not vectors:
        # Of no text there is nothing to count: the model was loaded.
        return answer
    return answer | _present(
        total_duration=max(time.perf_counter_ns() - started, found.timings.load),
        load_duration=found.timings.load,
        prompt_eval_count=found.usage.prompt,
    )
