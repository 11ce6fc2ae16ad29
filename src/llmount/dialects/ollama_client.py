"""Ollama's `/api`: the client half. `ollama_client_request` writes bodies."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final, get_args

from ..errors import ApiError
from ..framing import framing_of
from ..jsontext import dumps
from ..types import (
    JSON,
    Capability,
    Event,
    Finish,
    FinishReason,
    Model,
    ReasoningDelta,
    Residency,
    TextDelta,
    Timings,
    ToolCallDelta,
    Usage,
)
from . import embedding_client
from .client import Client
from .ollama_client_request import request
from .ollama_models import bare
from .upstream import (
    array,
    call_id,
    count,
    cut_off,
    malformed,
    object_of,
    text_of,
    token_logprobs,
)
from .upstream_errors import Rules, fault_of, judge, rejected, unsupported

__all__ = ["OLLAMA", "RESIDENTS_PATH", "Answer", "error", "models", "residents"]


# Answers


class Answer:
    """One answer of /api/chat or /api/generate, streamed or whole. An `Incoming`.

    model: the one that was asked for.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._chat = False
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._calls: list[dict[str, JSON]] = []
        self._logprobs: list[dict[str, JSON]] = []
        self._last: dict[str, JSON] = {}

    @property
    def done(self) -> bool:
        return self._last.get("done") is True

    @property
    def complete(self) -> bool:
        return self.done

    def feed(self, item: JSON, /) -> list[Event]:
        if not isinstance(item, dict):
            raise malformed()
        if item.get("error"):
            raise error(500, item, self._model)
        self._last = item
        self._chat = self._chat or isinstance(item.get("message"), dict)
        said = object_of(item.get("message")) if self._chat else item
        events: list[Event] = []
        if thinking := text_of(said.get("thinking")):
            self._thinking.append(thinking)
            events.append(ReasoningDelta(thinking))
        text = text_of(said.get("content" if self._chat else "response"))
        logprobs = array(item.get("logprobs"))
        if text or logprobs:
            self._text.append(text)
            self._logprobs += logprobs
            events.append(TextDelta(text, token_logprobs(logprobs)))
        events += [self._call(call) for call in array(said.get("tool_calls"))]
        return events

    def _call(self, call: dict[str, JSON]) -> ToolCallDelta:
        function = object_of(call.get("function"))
        name, arguments = function.get("name"), function.get("arguments")
        if not isinstance(name, str):
            raise malformed()
        self._calls.append(call)
        return ToolCallDelta(
            len(self._calls) - 1,
            str(call.get("id") or call_id()),
            name,
            arguments if isinstance(arguments, str) and arguments else dumps(arguments or {}),
        )

    def close(self) -> list[Event]:
        if not self.done:
            raise cut_off()
        last = self._last
        context = last.get("context")
        finish = Finish(
            reason=self._reason(),
            usage=Usage(
                prompt=count(last.get("prompt_eval_count")),
                completion=count(last.get("eval_count")),
            ),
            timings=Timings(
                load=count(last.get("load_duration")),
                prompt=count(last.get("prompt_eval_duration")),
                completion=count(last.get("eval_duration")),
            ),
            context=tuple(context) if isinstance(context, list) else (),
            raw=self._raw(),
        )
        return [finish]

    def _reason(self) -> FinishReason:
        if self._last.get("done_reason") == "length":
            return "length"
        return "tool_calls" if self._calls else "stop"

    def _raw(self) -> dict[str, JSON]:
        """The answer that would have come if it had not been streamed."""
        said: dict[str, JSON] = {"content" if self._chat else "response": "".join(self._text)}
        if self._thinking:
            said["thinking"] = "".join(self._thinking)
        if self._calls:
            said["tool_calls"] = self._calls
        if self._chat:
            message = object_of(self._last.get("message"))
            said = {"message": {"role": "assistant", **message, **said}}
        if self._logprobs:
            said["logprobs"] = self._logprobs
        return {**self._last, **said}


# Models


def models(body: JSON) -> list[Model]:
    """The models that GET /api/tags lists. Raises BackendError for anything else."""
    return [_model(entry) for entry in _listed(body)]


RESIDENTS_PATH: Final = "/api/ps"


def residents(body: JSON) -> list[Residency]:
    """The models in memory, as GET `RESIDENTS_PATH` lists them. Raises as `models` does."""
    return [
        Residency(
            # The size is that in memory here, not that on disk.
            model=replace(_model(entry), size=0),
            size=count(entry.get("size")),
            context_length=count(entry.get("context_length")),
            expires=_expiry(entry.get("expires_at")),
        )
        for entry in _listed(body)
    ]


def _listed(body: JSON) -> list[dict[str, JSON]]:
    if not isinstance(body, dict) or "models" not in body:
        raise malformed()
    return array(body["models"])


def _model(entry: dict[str, JSON]) -> Model:
    details = object_of(entry.get("details"))
    named = entry.get("capabilities")
    capabilities: frozenset[Capability] = frozenset(
        capability
        for capability in get_args(Capability)
        if isinstance(named, list) and capability in named
    )
    return Model(
        name=bare(text_of(entry.get("name") or entry.get("model"))),
        created=int(_seconds(entry.get("modified_at")) or 0),
        size=count(entry.get("size")),
        digest=text_of(entry.get("digest")),
        format=text_of(details.get("format")),
        family=text_of(details.get("family")),
        parameter_size=text_of(details.get("parameter_size")),
        quantization=text_of(details.get("quantization_level")),
        context_length=count(details.get("context_length")),
        embedding_length=count(details.get("embedding_length")),
        capabilities=capabilities,
    )


def _seconds(time: JSON) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


# For ever is centuries away: Ollama adds Go's longest duration to the time.
_FOR_EVER: Final = 2**33


def _expiry(time: JSON) -> float | None:
    seconds = _seconds(time)
    return None if seconds is None or seconds >= _FOR_EVER else seconds


# Errors


def error(status: int, body: JSON, model: str) -> ApiError:
    """What a response with this status and body means. `model` is the one asked for."""
    return judge(fault_of(status, body, model), _RULES)


_RULES: Final[Rules] = {
    400: ((r"does not support (?P<what>\w+)$", unsupported),),
    501: (("does not support (?P<what>embedding)", unsupported),),
    # Ollama answers these faults of the client with a 500.
    500: (('^(option "|invalid format: |template: )', rejected),),
}


_LINES: Final = framing_of("application/x-ndjson")

OLLAMA: Final = Client(
    request=request,
    # Whatever an answer is labelled: servers say all sorts of things, and send lines.
    decoder=lambda media_type: _LINES.decoder(),
    answer=Answer,
    error=error,
    models_path="/api/tags",
    models=models,
    embedding=embedding_client.OLLAMA,
)
