"""The engine's JSON: a `Prompt` as its request, its chunks as events, its errors as ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ..errors import ApiError, BackendError, BadRequest, ContextTooLong, Unsupported
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
    Prompt,
    ReasoningDelta,
    Sampling,
    TextDelta,
    Timings,
    TokenLogprob,
    Tool,
    ToolCallDelta,
    Usage,
)
from .llamacpp_tools import call_schema
from .tool_calls import ToolCallReader, fresh_id
from .tool_choice import is_forced, offered
from .tool_formats import FORMATS, ToolFormat

__all__ = ["Answer", "check", "refusal", "request"]

# The fields of `Sampling` that the engine knows by the same names.
_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "repeat_penalty",
    "repeat_last_n",
    "presence_penalty",
    "frequency_penalty",
)

# What `Prompt.options` may set, by the engine's own names.
_OPTIONS = frozenset(
    {
        "cache_prompt",
        "dry_allowed_length",
        "dry_base",
        "dry_multiplier",
        "dry_penalty_last_n",
        "dry_sequence_breakers",
        "dynatemp_exponent",
        "dynatemp_range",
        "grammar",
        "ignore_eos",
        "min_keep",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "n_keep",
        "samplers",
        "t_max_predict_ms",
        "top_n_sigma",
        "xtc_probability",
        "xtc_threshold",
    }
)

_NOT_TEXT = {ImagePart: "vision", AudioPart: "audio", FilePart: "files"}
_SEEDS = 2**32
_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
}

# What the engine says of a request that it refuses, what the client is told, and which
# field that concerns. A group that is named in the text is filled in.
_REFUSALS: tuple[tuple[str, str, str | None], ...] = (
    (r"Field '(\w+)'", "the value of {} is not one that the engine takes", None),
    (r"Failed to initialize samplers: (\w+) must be", "{} is out of range", None),
    (r"invalid tokens", "a token is not in the model's vocabulary", "context"),
    (r"prompt\W+must not be empty", "the prompt is empty", "prompt"),
    (r"Jinja Exception: ([^\n]*)", "the model's chat template refuses this: {}", "messages"),
    (r"[Gg]rammar|schema", "the format or the tools cannot be enforced", "format"),
    (r"tool", "the messages or the tools are not as the engine takes them", "messages"),
)


def check(prompt: Prompt, model: Model) -> None:
    """Raise `Unsupported` if the model lacks what the prompt needs, `BadRequest` if the tool
    that must be called is not among the tools."""

    def refuse(what: str, param: str | None = None) -> None:
        raise Unsupported(what, model=prompt.model, param=param)

    for message in prompt.messages:
        for part in message.parts:
            if (kind := _NOT_TEXT.get(type(part))) is not None:
                refuse(kind)
    if prompt.template is not None:
        refuse("template", "template")
    tools = offered(prompt)
    if tools and ("tools" not in model.capabilities or prompt.text is not None):
        refuse("tools", "tools")
    if tools and prompt.context:
        refuse("tools together with context", "context")
    if prompt.suffix is not None and "insert" not in model.capabilities:
        refuse("insert", "suffix")
    if prompt.reasoning not in (None, False, "none") and not _reasons(model):
        refuse("thinking")
    if prompt.reasoning not in (None, False, "none") and is_forced(prompt):
        refuse("thinking before a forced tool call", "tool_choice")


def _reasons(model: Model) -> bool:
    return "thinking" in model.capabilities or "reasoning_effort" in model.template


def request(
    prompt: Prompt,
    context_length: int,
    format: ToolFormat,
    *,
    shield: Callable[[str], str] = str,
) -> dict[str, JSON]:
    """All of the engine's request but the prompt's text: the messages, the tools, the rest.

    `messages` is absent where the prompt has a text. Where a tool must be called, all that
    the engine writes is a call, in the format of the model. shield: applied to every text of
    the messages. Raises `BadRequest` if the tools allow none.
    """
    body: dict[str, JSON] = {key: value for key, value in prompt.options.items() if key in _OPTIONS}
    body |= _sampling(prompt.sampling, context_length)
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    # Without it nothing is said, and so nothing can be stopped, until the prompt is read.
    body["return_progress"] = True
    if prompt.logprobs is not None:
        body["n_probs"] = max(1, prompt.logprobs)
    if prompt.format is not None:
        schema = {"type": "object"} if prompt.format == "json" else dict(prompt.format)
        body["json_schema"] = schema
    if prompt.messages:
        body["messages"] = [_message(message, shield) for message in prompt.messages]
        body["chat_template_kwargs"] = _template_arguments(prompt.reasoning)
    if tools := offered(prompt):
        body["tools"] = [_tool(tool) for tool in tools]
        body["parallel_tool_calls"] = prompt.parallel_tool_calls
    if is_forced(prompt):
        body["json_schema"] = call_schema(tools, format)
        body["chat_template_kwargs"] = _template_arguments(False)
        # These are for text, and a call that they cut is none.
        body.pop("stop", None)
    return body


def _sampling(sampling: Sampling, context_length: int) -> dict[str, JSON]:
    values = ((name, getattr(sampling, name)) for name in _SAMPLING)
    body: dict[str, JSON] = {name: value for name, value in values if value is not None}
    if sampling.repeat_last_n is not None and sampling.repeat_last_n < 0:
        body["repeat_last_n"] = context_length
    if sampling.max_tokens is not None:
        body["n_predict"] = max(-1, sampling.max_tokens)
    if sampling.seed is not None:
        # All ones, which -1 comes to, is a seed of the engine's choice.
        body["seed"] = sampling.seed % _SEEDS
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.logit_bias:
        body["logit_bias"] = [[token, bias] for token, bias in sampling.logit_bias.items()]
    return body


def _template_arguments(reasoning: bool | str | None) -> dict[str, JSON]:
    if reasoning is None:
        return {}
    if isinstance(reasoning, bool) or reasoning == "none":
        return {"enable_thinking": reasoning is True}
    return {"enable_thinking": True, "reasoning_effort": reasoning}


def _message(message: Message, shield: Callable[[str], str]) -> dict[str, JSON]:
    text = shield(message.text)
    found: dict[str, JSON] = {"role": message.role, "content": text}
    if message.reasoning:
        found["reasoning_content"] = shield(message.reasoning)
    if message.name is not None:
        found["name"] = shield(message.name)
    if message.tool_call_id is not None:
        found["tool_call_id"] = shield(message.tool_call_id)
    if message.tool_calls:
        found["content"] = text or None
        found["tool_calls"] = [
            {
                "id": shield(call.id),
                "type": "function",
                "function": {"name": shield(call.name), "arguments": shield(call.arguments)},
            }
            for call in message.tool_calls
        ]
    return found


def _tool(tool: Tool) -> dict[str, JSON]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters) or {"type": "object", "properties": {}},
    }
    return {"type": "function", "function": function}


class Answer:
    """The engine's chunks, as they come, turned into events.

    text: what has been answered so far. plain: whether that is all the model wrote, so
    neither reasoning nor tool calls. Raises an `ApiError` for a chunk that is an error.
    """

    def __init__(self, prompt: Prompt, *, load: int = 0) -> None:
        self.text = ""
        self.plain = True
        self.complete = False
        self._top = prompt.logprobs
        # The engine writes at least one token.
        self._silent = prompt.sampling.max_tokens == 0
        self._calls: set[int] = set()
        self._parallel = prompt.parallel_tool_calls
        # A call that is forced comes as JSON, and nothing else.
        self._forced = (
            ToolCallReader(FORMATS["json"], offered(prompt)) if is_forced(prompt) else None
        )
        self._load = load
        self._reason: FinishReason = "stop"
        self._usage: Mapping[str, JSON] = {}
        self._timings: Mapping[str, JSON] = {}

    def read(self, chunk: Mapping[str, JSON]) -> Iterator[Event]:
        if "error" in chunk or "choices" not in chunk:
            raise refusal(chunk.get("error", chunk))
        self._usage = chunk.get("usage") or self._usage
        self._timings = chunk.get("timings") or self._timings
        for choice in chunk["choices"]:
            if choice.get("finish_reason"):
                self._reason = _FINISH.get(choice["finish_reason"], "stop")
                self.complete = True
            if not self._silent:
                yield from self._deltas(choice)
                if self._forced is not None and self.complete:
                    yield from self._forced.close(cut=self._reason == "length")

    def _deltas(self, choice: Mapping[str, JSON]) -> Iterator[Event]:
        delta = choice.get("delta") or {}
        text = choice.get("text") or delta.get("content") or ""
        if reasoning := delta.get("reasoning_content"):
            self.plain = False
            yield ReasoningDelta(reasoning)
        logprobs = self._logprobs((choice.get("logprobs") or {}).get("content") or ())
        if (text or logprobs) and self._forced is not None:
            self.plain = False
            yield from self._forced.read(TextDelta(text, logprobs))
        elif text or logprobs:
            self.text += text
            yield TextDelta(text, logprobs)
        for call in delta.get("tool_calls") or ():
            self.plain = False
            # The engine is told, but not all of its formats keep a model from more.
            if self._parallel or call["index"] == 0:
                yield self._call(call)

    def _call(self, call: Mapping[str, JSON]) -> ToolCallDelta:
        index, function = call["index"], call.get("function", {})
        arguments = function.get("arguments") or ""
        if index in self._calls:
            return ToolCallDelta(index, arguments=arguments)
        self._calls.add(index)
        return ToolCallDelta(index, fresh_id(), function.get("name"), arguments)

    def _logprobs(self, found: Iterable[Mapping[str, JSON]]) -> tuple[TokenLogprob, ...]:
        if self._top is None:
            return ()
        return tuple(self._logprob(each, self._top) for each in found)

    def _logprob(self, found: Mapping[str, JSON], top: int) -> TokenLogprob:
        others = found.get("top_logprobs", [])
        # The chosen token is reported with the text that was sent with it, which differs
        # from its own while a stop sequence or half a character is held back.
        own = next((each for each in others if each["id"] == found["id"]), found)
        return TokenLogprob(
            own["token"],
            found["logprob"],
            bytes(own["bytes"]),
            tuple(
                TokenLogprob(each["token"], each["logprob"], bytes(each["bytes"]))
                for each in others[:top]
            ),
        )

    def finish(self, context: Sequence[int] = ()) -> Finish:
        """The last event. Raises `BackendError` if the engine has not come to an end."""
        if not self.complete:
            raise BackendError("the engine stopped in the middle of the answer")
        usage, timings = self._usage, self._timings
        called = self._forced is not None and self._forced.begun and self._reason == "stop"
        reason: FinishReason = "tool_calls" if called else self._reason
        return Finish(
            reason="length" if self._silent else reason,
            usage=Usage(
                prompt=usage.get("prompt_tokens", 0),
                completion=0 if self._silent else usage.get("completion_tokens", 0),
                cached=(usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
            ),
            timings=Timings(
                load=self._load,
                prompt=_nanoseconds(timings.get("prompt_ms", 0)),
                completion=_nanoseconds(timings.get("predicted_ms", 0)),
            ),
            context=tuple(context),
        )


def _nanoseconds(milliseconds: float) -> int:
    return max(0, round(milliseconds * 1e6))


def refusal(error: Mapping[str, JSON]) -> ApiError:
    """The exception for an error of the engine's: `code` (an HTTP status), `type`, `message`.

    What the engine says of a failure of its own is the cause of the exception, for the log.
    """
    if error.get("type") == "exceed_context_size_error":
        return ContextTooLong(error.get("n_prompt_tokens", 0), error.get("n_ctx", 0))
    message = str(error.get("message", error))
    if error.get("code") != 400:
        failure = BackendError("the engine failed")
        failure.__cause__ = RuntimeError(message)
        return failure
    for pattern, told, param in _REFUSALS:
        if match := re.search(pattern, message):
            return BadRequest(told.format(*match.groups()), param=param)
    return BadRequest("the engine refuses this request")
