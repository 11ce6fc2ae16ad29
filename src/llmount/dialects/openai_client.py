"""The client half of the OpenAI dialect: a prompt to a request body, events to answers.

Strict in what it asks, and tolerant in what it takes from the many servers that speak
this dialect with an accent; but an answer that was cut off never passes for a whole one.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ..errors import ApiError, BackendError, Unsupported
from ..framing import dumps, loads
from ..types import (
    JSON,
    AudioPart,
    Event,
    FilePart,
    Finish,
    FinishReason,
    ImagePart,
    Message,
    Model,
    Part,
    Prompt,
    ReasoningDelta,
    TextDelta,
    TextPart,
    Timings,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from .ollama_client import (
    array,
    base64_text,
    call_id,
    count,
    fault_of,
    judge,
    malformed,
    text_of,
    token_logprobs,
)

__all__ = ["HOSTED", "SELF_HOSTED", "Answer", "error", "models", "request"]


# Requests

_STANDARD: Final = {
    name: name for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed")
}

HOSTED: Final[Mapping[str, str]] = {**_STANDARD, "max_tokens": "max_completion_tokens"}
"""The settings that OpenAI takes, by the names of `Sampling` fields and of options."""

SELF_HOSTED: Final[Mapping[str, str]] = {
    **_STANDARD,
    **{
        name: name
        for name in (
            "max_tokens",
            "top_k",
            "min_p",
            "typical_p",
            "repeat_penalty",
            "repeat_last_n",
            "chat_template_kwargs",
            "ignore_eos",
        )
    },
}
"""The settings that local servers take. Not all know all; they ignore the others."""


def request(prompt: Prompt, settings: Mapping[str, str] = SELF_HOSTED) -> tuple[str, JSON]:
    """The path and the body that ask for a streamed answer to `prompt`.

    A conversation goes to /chat/completions; a text, or a question with a suffix, to
    /completions. `settings` names the server's parameter for each field of `Sampling`
    and for each option of the prompt that it takes: other options are left out, while a
    field of `Sampling` that is set and has no name is refused, as is anything else that
    the API cannot say. Raises Unsupported. `keep_alive` is no matter of this API.
    """
    body: dict[str, JSON] = {
        "model": prompt.model,
        "stream": True,
        "stream_options": {"include_usage": True},
        **_settings(prompt, settings),
    }
    if prompt.context or prompt.template is not None:
        raise Unsupported("context" if prompt.context else "template", model=prompt.model)
    if prompt.text is not None or prompt.suffix is not None:
        return "/completions", body | _completion(prompt)
    return "/chat/completions", body | _chat(prompt)


def _settings(prompt: Prompt, settings: Mapping[str, str]) -> dict[str, JSON]:
    body = {settings[name]: value for name, value in prompt.options.items() if name in settings}
    sampling = prompt.sampling
    for name in _SAMPLING:
        value = getattr(sampling, name)
        if value is None or (name == "max_tokens" and value < 0):
            continue
        if name not in settings:
            raise Unsupported(name, model=prompt.model)
        body[settings[name]] = value
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias.items()}
    return body


_SAMPLING: Final = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "repeat_penalty",
    "repeat_last_n",
    "presence_penalty",
    "frequency_penalty",
    "seed",
)


def _completion(prompt: Prompt) -> dict[str, JSON]:
    refused = {
        "tools without a conversation": prompt.tools,
        "a format without a conversation": prompt.format is not None,
        "a suffix in a conversation": prompt.text is None
        and [message.role for message in prompt.messages] != ["user"],
    }
    for what, present in refused.items():
        if present:
            raise Unsupported(what, model=prompt.model)
    text = prompt.messages[0].text if prompt.text is None else prompt.text
    body: dict[str, JSON] = {"prompt": text}
    if prompt.suffix is not None:
        body["suffix"] = prompt.suffix
    if prompt.logprobs is not None:
        body["logprobs"] = prompt.logprobs
    return body


def _chat(prompt: Prompt) -> dict[str, JSON]:
    body: dict[str, JSON] = {"messages": [_message(message) for message in prompt.messages]}
    if prompt.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    **({"description": tool.description} if tool.description else {}),
                    **({"parameters": dict(tool.parameters)} if tool.parameters else {}),
                    **({"strict": True} if tool.strict else {}),
                },
            }
            for tool in prompt.tools
        ]
        if prompt.tool_choice in ("none", "required"):
            body["tool_choice"] = prompt.tool_choice
        elif prompt.tool_choice != "auto":
            chosen = {"name": prompt.tool_choice}
            body["tool_choice"] = {"type": "function", "function": chosen}
        if not prompt.parallel_tool_calls:
            body["parallel_tool_calls"] = False
    if prompt.format == "json":
        body["response_format"] = {"type": "json_object"}
    elif prompt.format is not None:
        schema = {"name": "answer", "schema": dict(prompt.format)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if isinstance(prompt.reasoning, str):
        body["reasoning_effort"] = prompt.reasoning
    elif prompt.reasoning is not None:
        body["reasoning_effort"] = "medium" if prompt.reasoning else "none"
    if prompt.logprobs is not None:
        body["logprobs"] = True
        if prompt.logprobs:
            body["top_logprobs"] = prompt.logprobs
    return body


def _message(message: Message) -> JSON:
    turn: dict[str, JSON] = {"role": message.role, "content": _content(message)}
    if message.reasoning:
        turn["reasoning_content"] = message.reasoning
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        turn["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        turn["name"] = message.name
    return turn


def _content(message: Message) -> JSON:
    if all(isinstance(part, TextPart) for part in message.parts):
        return message.text if message.parts or not message.tool_calls else None
    return [_part(part) for part in message.parts]


def _part(part: Part) -> JSON:
    match part:
        case TextPart(text):
            return {"type": "text", "text": text}
        case ImagePart():
            url = part.url or _data_url(_image_type(part.data or b""), part.data or b"")
            image = {"url": url, **({"detail": part.detail} if part.detail else {})}
            return {"type": "image_url", "image_url": image}
        case AudioPart():
            audio = {"data": base64_text(part.data), "format": part.format}
            return {"type": "input_audio", "input_audio": audio}
        case FilePart():
            file: dict[str, JSON] = {}
            if part.file_id is not None:
                file["file_id"] = part.file_id
            if part.data is not None:
                media_type, _ = mimetypes.guess_type(part.filename or "")
                file["file_data"] = _data_url(media_type or "application/pdf", part.data)
            if part.filename is not None:
                file["filename"] = part.filename
            return {"type": "file", "file": file}


def _data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64_text(data)}"


_IMAGE_TYPES: Final = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8"), "image/gif"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
)


def _image_type(data: bytes) -> str:
    return next((name for start, name in _IMAGE_TYPES if start.match(data)), "image/png")


# Answers

_REASONS: Final[Mapping[str, FinishReason]] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_FAILED: Final = ("abort", "cancelled", "error")


@dataclass(slots=True)
class _Call:
    """A tool call in the making. Nothing of it is handed out before its name is known."""

    index: int
    key: JSON
    id: str | None = None
    name: str = ""
    arguments: list[str] = field(default_factory=list)

    def joined(self) -> str:
        return "".join(self.arguments)


class Answer:
    """One answer in the making, from the events of the stream.

    complete: a reason to finish was seen, so nothing of the answer itself is missing;
    the usage may be. done: the upstream has said that its stream ends.

    An answer that is not streamed is fed as two events: its text, and "[DONE]".
    """

    def __init__(self, model: str = "") -> None:
        self._model = model
        self._whole: dict[str, JSON] = {}
        self._texts: dict[str, list[str]] = {}
        self._calls: list[_Call] = []
        self._logprobs: list[JSON] = []
        self._usage: Mapping[str, JSON] = {}
        self._timings: Mapping[str, JSON] = {}
        self._reason = ""
        self._begun = False
        self.done = False

    @property
    def complete(self) -> bool:
        return bool(self._reason) or (self.done and self._begun)

    def feed(self, item: JSON, /) -> list[Event]:
        """The deltas in one event, `{"data": "..."}`.

        Raises what `error` makes of an error in it, BackendError if it makes no sense.
        """
        data = text_of(item.get("data")).strip()
        if not data:
            return []
        if data == "[DONE]":
            self.done = True
            return []
        try:
            chunk = loads(data)
        except ValueError as fault:
            raise malformed() from fault
        if not isinstance(chunk, dict):
            raise malformed()
        choices = array(chunk.get("choices"))
        flat = not choices and ("detail" in chunk or isinstance(chunk.get("message"), str))
        failed = chunk.get("object") == "error" or item.get("event") == "error"
        if chunk.get("error") or flat or failed:
            raise self._error(chunk)
        for name, value in chunk.items():
            if value is not None and name not in self._whole:
                self._whole[name] = value
        self._usage = _object(chunk.get("usage")) or self._usage
        self._timings = _object(chunk.get("timings")) or self._timings
        events: list[Event] = []
        for choice in choices:
            if not choice.get("index"):
                events += self._choice(choice)
        return events

    def _error(self, chunk: dict[str, JSON]) -> ApiError:
        code = (_object(chunk.get("error")) or chunk).get("code")
        digits = str(code)
        status = int(digits) if re.fullmatch("[45][0-9][0-9]", digits) else 500
        return error(status, chunk, self._model)

    def _choice(self, choice: dict[str, JSON]) -> list[Event]:
        self._begun = True
        self._usage = _object(choice.get("usage")) or self._usage
        delta = _object(choice.get("delta")) or _object(choice.get("message"))
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
        logprobs = self._read_logprobs(_object(choice.get("logprobs")))
        if text or logprobs:
            events.append(TextDelta(text, logprobs))
        calls = array(delta.get("tool_calls"))
        if legacy := _object(delta.get("function_call")):
            calls = [{"function": legacy}]
        for call in calls:
            events += self._call(call)
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason and not self._reason:
            if reason in _FAILED:
                raise BackendError("the upstream gave up in the middle of its answer")
            self._reason = reason
        return events

    def _say(self, name: str, text: str) -> str:
        if text:
            self._texts.setdefault(name, []).append(text)
        return text

    def _read_logprobs(self, logprobs: Mapping[str, JSON]) -> tuple[TokenLogprob, ...]:
        entries = array(logprobs.get("content"))
        if isinstance(logprobs.get("tokens"), list):
            entries = _legacy_logprobs(logprobs)
        self._logprobs += entries
        return token_logprobs(entries)

    def _call(self, delta: dict[str, JSON]) -> list[Event]:
        function = _object(delta.get("function"))
        name = text_of(function.get("name"))
        arguments = function.get("arguments")
        text = dumps(arguments) if isinstance(arguments, dict) else text_of(arguments)
        call = self._call_of(delta.get("index"), text_of(delta.get("id")) or None, name)
        first = not call.name
        call.arguments.append(text)
        if first:
            call.name = name
            if not name:
                return []
            call.id = call.id or call_id()
            return [ToolCallDelta(call.index, call.id, name, call.joined())]
        return [ToolCallDelta(call.index, arguments=text)] if text else []

    def _call_of(self, key: JSON, id: str | None, name: str) -> _Call:
        """The call that a delta is of: a new one, or one that it continues.

        Servers leave out the index, give all calls the same, or repeat id and name in
        every delta. So only a delta with a name can begin a call where one is open, and
        it does if the ids differ or, without ids, if the open call has all it needs.
        """
        open_calls = [call for call in self._calls if key is None or call.key == key]
        same = [call for call in open_calls if id is not None and call.id == id]
        if same:
            return same[-1]
        if not open_calls:
            return self._new_call(key, id)
        last = open_calls[-1]
        if name and last.name and (_differ(id, last.id) or _is_object(last.joined())):
            return self._new_call(key, id)
        last.id = last.id or id
        return last

    def _new_call(self, key: JSON, id: str | None) -> _Call:
        call = _Call(len(self._calls), key, id)
        self._calls.append(call)
        return call

    def close(self) -> list[Event]:
        """What the end of the stream tells, the `Finish` last.

        Raises BackendError if the upstream stopped before its answer was complete.
        """
        if not self.complete or not self._begun or not all(call.name for call in self._calls):
            raise BackendError("the upstream's answer is cut off")
        events: list[Event] = []
        for call in self._calls:
            if not call.joined().strip():
                call.arguments.append("{}")
                events.append(ToolCallDelta(call.index, arguments="{}"))
        reason = _REASONS.get(self._reason, "stop")
        if reason == "stop" and self._calls:
            reason = "tool_calls"
        prompt = _object(self._usage.get("prompt_tokens_details"))
        completion = _object(self._usage.get("completion_tokens_details"))
        finish = Finish(
            reason=reason,
            usage=Usage(
                prompt=count(self._usage.get("prompt_tokens")),
                completion=count(self._usage.get("completion_tokens")),
                cached=count(prompt.get("cached_tokens")),
                reasoning=count(completion.get("reasoning_tokens")),
            ),
            timings=Timings(
                prompt=_nanoseconds(self._timings.get("prompt_ms")),
                completion=_nanoseconds(self._timings.get("predicted_ms")),
            ),
            raw=self._raw(reason),
        )
        return [*events, finish]

    def _raw(self, reason: FinishReason) -> dict[str, JSON]:
        texts = {name: "".join(pieces) for name, pieces in self._texts.items()}
        choice: dict[str, JSON] = {"index": 0}
        if self._whole.get("object") == "text_completion" or "text" in texts:
            choice["text"] = texts.get("text", "")
        else:
            choice["message"] = {
                "role": "assistant",
                "content": None if self._calls else "",
                "refusal": None,
                **texts,
            }
            if self._calls:
                choice["message"]["tool_calls"] = [
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {"name": call.name, "arguments": call.joined()},
                    }
                    for call in self._calls
                ]
        choice["logprobs"] = {"content": self._logprobs} if self._logprobs else None
        choice["finish_reason"] = reason
        raw = {name: value for name, value in self._whole.items() if name != "obfuscation"}
        raw["object"] = "chat.completion" if "message" in choice else "text_completion"
        raw["choices"] = [choice]
        if self._usage:
            raw["usage"] = dict(self._usage)
        return raw


def _object(value: JSON) -> Mapping[str, JSON]:
    return value if isinstance(value, dict) else {}


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other


def _is_object(text: str) -> bool:
    try:
        return isinstance(loads(text), dict)
    except ValueError:
        return False


def _nanoseconds(milliseconds: JSON) -> int:
    return int(milliseconds * 1e6) if isinstance(milliseconds, int | float) else 0


def _legacy_logprobs(logprobs: Mapping[str, JSON]) -> list[dict[str, JSON]]:
    """The parallel lists of /completions, as the entries of /chat/completions."""
    tokens = logprobs["tokens"]
    numbers = logprobs.get("token_logprobs") or []
    tops = logprobs.get("top_logprobs") or [None] * len(tokens)
    return [
        {
            "token": token,
            "logprob": number,
            "bytes": None,
            "top_logprobs": [
                {"token": other, "logprob": chance} for other, chance in _object(top).items()
            ],
        }
        for token, number, top in zip(tokens, numbers, tops, strict=False)
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
        )
        for entry in array(body)
        if entry.get("id")
    ]


def error(status: int, body: JSON, model: str) -> ApiError:
    """What a response with this status and body means. `model` is the one asked for."""
    return judge(fault_of(status, body, model), {})
