"""The client half of the Ollama dialect: a prompt to a request body, answers to events.

The end of this file is what every client half needs: reading what other servers send,
and judging their errors. Other servers deviate; what is absent, null or of an odd type
where it does not matter is overlooked, while an answer that is incomplete is an error.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias, get_args

from ..errors import (
    ApiError,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    BadRequest,
    ContextTooLong,
    ModelNotFound,
    Overloaded,
    RateLimited,
    Unsupported,
)
from ..framing import dumps, loads
from ..types import (
    JSON,
    AudioPart,
    Capability,
    Event,
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
    Tool,
    ToolCallDelta,
    Usage,
)

__all__ = [
    "Answer",
    "Fault",
    "Rule",
    "array",
    "base64_text",
    "call_id",
    "count",
    "error",
    "fault_of",
    "judge",
    "malformed",
    "models",
    "request",
    "text_of",
    "token_logprobs",
]


# Requests

_OPTIONS: Final = {
    "max_tokens": "num_predict",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repeat_penalty": "repeat_penalty",
    "repeat_last_n": "repeat_last_n",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
}

# Settings of the engine that Ollama takes beside its `options`, not in them.
_BESIDE: Final = ("truncate", "shift")

# The efforts of other APIs, as Ollama itself translates them.
_THINK: Final[Mapping[str, bool | str]] = {
    "none": False,
    "minimal": "low",
    "xhigh": "max",
    "ultra": "max",
}


def request(prompt: Prompt) -> tuple[str, JSON]:
    """The path and the body that ask Ollama for a streamed answer to `prompt`.

    A conversation goes to /api/chat. A text to be continued goes to /api/generate, and
    so does a single question with what only that path knows: `suffix`, `context` or
    `template`. Raises Unsupported for what Ollama would silently ignore.
    """
    _refuse(prompt)
    generate = (
        prompt.text is not None
        or prompt.suffix is not None
        or prompt.context
        or prompt.template is not None
    )
    body: dict[str, JSON] = {"model": prompt.model, "stream": True}
    body |= _generate(prompt) if generate else _chat(prompt)
    body |= {name: prompt.options[name] for name in _BESIDE if name in prompt.options}
    if options := _options(prompt):
        body["options"] = options
    if prompt.format is not None:
        body["format"] = prompt.format
    if isinstance(prompt.reasoning, str):
        body["think"] = _THINK.get(prompt.reasoning, prompt.reasoning)
    elif prompt.reasoning is not None:
        body["think"] = prompt.reasoning
    if prompt.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": prompt.logprobs}
    if prompt.keep_alive is not None:
        body["keep_alive"] = prompt.keep_alive
    return "/api/generate" if generate else "/api/chat", body


def _refuse(prompt: Prompt) -> None:
    refused = {
        "logit_bias": prompt.sampling.logit_bias,
        "tool_choice": prompt.tool_choice not in ("auto", "none"),
        "parallel_tool_calls": prompt.tools and not prompt.parallel_tool_calls,
        # Ollama takes 0 for "no limit".
        "max_tokens=0": prompt.sampling.max_tokens == 0,
    }
    for what, present in refused.items():
        if present:
            raise Unsupported(what, model=prompt.model)


def _options(prompt: Prompt) -> dict[str, JSON]:
    asked = {name: getattr(prompt.sampling, field) for field, name in _OPTIONS.items()}
    options = {name: value for name, value in prompt.options.items() if name not in _BESIDE}
    options |= {name: value for name, value in asked.items() if value is not None}
    if prompt.sampling.stop:
        options["stop"] = list(prompt.sampling.stop)
    return options


def _generate(prompt: Prompt) -> dict[str, JSON]:
    if prompt.tools:
        raise Unsupported("tools without a conversation", model=prompt.model)
    turn = _verbatim(prompt) if prompt.text is not None else _question(prompt)
    if prompt.suffix is not None:
        turn["suffix"] = prompt.suffix
    if prompt.context:
        turn["context"] = list(prompt.context)
    return turn


def _verbatim(prompt: Prompt) -> dict[str, JSON]:
    turn: dict[str, JSON] = {"prompt": prompt.text}
    if prompt.suffix is None:
        # Raw refuses a context; a template of nothing but the prompt comes to the same.
        turn |= {"template": "{{ .Prompt }}"} if prompt.context else {"raw": True}
    return turn


def _question(prompt: Prompt) -> dict[str, JSON]:
    *before, last = prompt.messages or (Message("user"),)
    if last.role != "user" or any(message.role != "system" for message in before):
        lacking = "suffix, context or template in a conversation"
        raise Unsupported(lacking, model=prompt.model)
    turn: dict[str, JSON] = {"prompt": last.text}
    if before:
        turn["system"] = "\n\n".join(message.text for message in before)
    if images := _images(last.parts, prompt.model):
        turn["images"] = images
    if prompt.template is not None:
        turn["template"] = prompt.template
    return turn


def _chat(prompt: Prompt) -> dict[str, JSON]:
    names = {call.id: call.name for message in prompt.messages for call in message.tool_calls}
    messages = [_message(message, names, prompt.model) for message in prompt.messages]
    body: dict[str, JSON] = {"messages": messages}
    if prompt.tools and prompt.tool_choice != "none":
        body["tools"] = [_tool(tool) for tool in prompt.tools]
    return body


def _message(message: Message, names: Mapping[str, str], model: str) -> JSON:
    turn: dict[str, JSON] = {"role": message.role, "content": message.text}
    if message.reasoning:
        turn["thinking"] = message.reasoning
    if images := _images(message.parts, model):
        turn["images"] = images
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "function": {"name": call.name, "arguments": _arguments(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        turn["tool_call_id"] = message.tool_call_id
        if name := message.name or names.get(message.tool_call_id):
            turn["tool_name"] = name
    return turn


def _arguments(text: str) -> dict[str, JSON]:
    try:
        arguments = loads(text or "{}")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise BadRequest("the arguments of a tool call must be a JSON object")
    return arguments


def _images(parts: Sequence[Part], model: str) -> list[str]:
    """Ollama tells sound from pictures by the bytes."""
    images = []
    for part in parts:
        match part:
            case ImagePart(data=bytes(data)) | AudioPart(data=data):
                images.append(base64_text(data))
            case ImagePart():
                raise Unsupported("images by URL", model=model)
            case TextPart():
                pass
            case _:
                raise Unsupported("files", model=model)
    return images


def _tool(tool: Tool) -> JSON:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters) or {"type": "object", "properties": {}},
    }
    return {"type": "function", "function": function}


# Answers


class Answer:
    """One answer of /api/chat or /api/generate in the making, streamed or whole.

    complete: nothing of the answer itself is missing. done: the upstream has said so,
    and nothing needs to be fed any more. For Ollama that is the same.
    """

    def __init__(self, model: str = "") -> None:
        self._model = model
        self._chat = False
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._calls: list[dict[str, JSON]] = []
        self._logprobs: list[dict[str, JSON]] = []
        self._last: dict[str, JSON] = {}
        self.done = False

    @property
    def complete(self) -> bool:
        return self.done

    def feed(self, item: JSON, /) -> list[Event]:
        """The deltas in one object of the answer.

        Raises what `error` makes of an error in it, BackendError if it makes no sense.
        """
        if not isinstance(item, dict):
            raise malformed()
        if item.get("error"):
            raise error(500, item, self._model)
        said = item.get("message")
        self._chat = self._chat or isinstance(said, dict)
        said = said if isinstance(said, dict) else item
        self._last = item
        self.done = item.get("done") is True
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

    def close(self) -> list[Event]:
        """The `Finish`. Raises BackendError if the upstream stopped before its end."""
        if not self.done:
            raise BackendError("the upstream's answer is cut off")
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
            raw=self._whole(),
        )
        return [finish]

    def _reason(self) -> FinishReason:
        if self._last.get("done_reason") == "length":
            return "length"
        return "tool_calls" if self._calls else "stop"

    def _call(self, call: dict[str, JSON]) -> ToolCallDelta:
        function = call.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise malformed()
        arguments = function.get("arguments")
        self._calls.append(call)
        return ToolCallDelta(
            len(self._calls) - 1,
            call.get("id") or call_id(),
            function["name"],
            arguments if isinstance(arguments, str) and arguments else dumps(arguments or {}),
        )

    def _whole(self) -> dict[str, JSON]:
        whole = dict(self._last)
        said: dict[str, JSON] = whole
        if self._chat:
            message = whole.get("message")
            said = {"role": "assistant", **(message if isinstance(message, dict) else {})}
            whole["message"] = said
        said["content" if self._chat else "response"] = "".join(self._text)
        if self._thinking:
            said["thinking"] = "".join(self._thinking)
        if self._calls:
            said["tool_calls"] = self._calls
        if self._logprobs:
            whole["logprobs"] = self._logprobs
        return whole


# Models


def models(body: JSON) -> list[Model]:
    """The models that GET /api/tags lists. Raises BackendError for anything else."""
    if not isinstance(body, dict) or "models" not in body:
        raise malformed()
    return [_model(entry) for entry in array(body["models"])]


def _model(entry: dict[str, JSON]) -> Model:
    details = entry.get("details")
    if not isinstance(details, dict):
        details = {}
    named = entry.get("capabilities")
    capabilities: frozenset[Capability] = frozenset(
        capability
        for capability in get_args(Capability)
        if isinstance(named, list) and capability in named
    )
    return Model(
        name=text_of(entry.get("name") or entry.get("model")),
        created=_seconds(entry.get("modified_at")),
        size=count(entry.get("size")),
        digest=text_of(entry.get("digest")),
        format=text_of(details.get("format")),
        family=text_of(details.get("family")),
        parameter_size=text_of(details.get("parameter_size")),
        quantization=text_of(details.get("quantization_level")),
        context_length=count(details.get("context_length")),
        embedding_length=count(details.get("embedding_length")),
        capabilities=capabilities or frozenset({"completion"}),
    )


def _seconds(time: JSON) -> int:
    try:
        return int(datetime.fromisoformat(time).timestamp())
    except (TypeError, ValueError):
        return 0


# Errors


def error(status: int, body: JSON, model: str) -> ApiError:
    """What a response with this status and body means. `model` is the one asked for."""
    return judge(fault_of(status, body, model), _RULES_OF_OLLAMA)


def _unsupported(fault: Fault, match: re.Match[str]) -> ApiError:
    return Unsupported(match["what"], model=fault.model)


# What every client half needs: reading


def malformed() -> BackendError:
    return BackendError("the upstream's answer is malformed")


def array(value: JSON) -> list[dict[str, JSON]]:
    """The objects in a list; none where there is no list."""
    if not isinstance(value, list):
        return []
    return [entry for entry in value if isinstance(entry, dict)]


def count(value: JSON) -> int:
    """A number that counts something, 0 where there is none."""
    return int(value) if isinstance(value, int | float) and value > 0 else 0


def text_of(value: JSON) -> str:
    """A text, which some servers send as a list of parts. Raises BackendError for no text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(text_of(part.get("text")) for part in array(value))
    raise malformed()


def token_logprobs(value: JSON) -> tuple[TokenLogprob, ...]:
    """The entries of a list of log probabilities, in the shape that OpenAI gave them."""
    return tuple(
        TokenLogprob(
            text_of(entry.get("token")),
            float(entry["logprob"]),
            _bytes(entry.get("bytes")),
            token_logprobs(entry.get("top_logprobs")),
        )
        for entry in array(value)
        if isinstance(entry.get("logprob"), int | float)
    )


def _bytes(value: JSON) -> bytes | None:
    if not isinstance(value, list):
        return None
    try:
        return bytes(value)
    except (TypeError, ValueError):
        raise malformed() from None


def call_id() -> str:
    """An id for a tool call that came without one."""
    return f"call_{secrets.token_hex(12)}"


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


# What every client half needs: errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What an upstream says about a failure, whatever it wraps it in.

    text: for people. code: for programs, all of its codes and types in a row.
    """

    status: int
    text: str = ""
    code: str = ""
    param: str | None = None
    model: str = ""


Rule: TypeAlias = tuple[str, Callable[[Fault, re.Match[str]], ApiError]]
"""A pattern to search for in a fault's code and text, and the error that it then is."""


def fault_of(status: int, body: JSON, model: str) -> Fault:
    """The fault in a decoded error body, or in its text where that is not JSON.

    It may be `{"error": {...}}`, `{"error": "text"}`, flat, FastAPI's `detail`, a list
    of one of these, or one of these as a string within another.
    """
    if isinstance(body, list):
        body = next(iter(array(body)), None)
    if isinstance(body, str):
        try:
            inner = loads(body)
        except ValueError:
            text = "" if body.lstrip().startswith("<") else body.strip()
            return Fault(status=status, text=text[:_LONGEST], model=model)
        return fault_of(status, inner, model)
    if not isinstance(body, dict):
        return Fault(status=status, model=model)
    error = body.get("error")
    if isinstance(error, dict):
        return fault_of(status, error, model)
    text = next(filter(None, (error, body.get("message"), body.get("detail"))), "")
    if isinstance(text, str) and text.startswith("{"):
        return fault_of(status, text, model)
    if isinstance(text, list):
        text = "; ".join(str(entry.get("msg", "")) for entry in array(text))
    code = [str(body[key]) for key in ("type", "code") if body.get(key)]
    tokens, limit = body.get("n_prompt_tokens"), body.get("n_ctx")
    if tokens and limit:
        code.append(f"({tokens} tokens) ({limit} tokens)")
    param = body.get("param")
    return Fault(
        status=status,
        text=str(text)[:_LONGEST],
        code=" ".join(code),
        param=param if isinstance(param, str) else None,
        model=model,
    )


_LONGEST = 1000


def judge(fault: Fault, rules: Mapping[int, Sequence[Rule]]) -> ApiError:
    """The error that a fault is: first by its status, then by its texts.

    `rules` are the dialect's own, by status, and come before the common ones. What the
    upstream said of itself does not reach the client: it is a note, for the log.
    """
    said = f"{fault.code} {fault.text}".strip()
    error: ApiError = BackendError("the upstream failed")
    for pattern, make in (*rules.get(fault.status, ()), *_RULES.get(fault.status, ())):
        if match := re.search(pattern, said, re.IGNORECASE | re.DOTALL):
            error = make(fault, match)
            break
    if isinstance(error, BackendError):
        error.upstream_status = fault.status
    if said and fault.text not in error.message:
        error.add_note(f"the upstream said: {said}")
    return error


def _rejected(fault: Fault, match: re.Match[str]) -> ApiError:
    return BadRequest(fault.text or "the upstream rejected the request", param=fault.param)


def _too_long(fault: Fault, match: re.Match[str]) -> ApiError:
    return ContextTooLong(int(match["tokens"]), int(match["limit"]))


def _model_not_found(fault: Fault, match: re.Match[str]) -> ApiError:
    return ModelNotFound(fault.model)


def _failed(message: str) -> Callable[[Fault, re.Match[str]], ApiError]:
    return lambda fault, match: BackendError(message)


_REJECTED: Final[tuple[Rule, ...]] = (
    (r"maximum context length is (?P<limit>\d+).*?(?P<tokens>\d+)[a-z ]* tokens", _too_long),
    (r"\((?P<tokens>\d+) tokens\).*?\((?P<limit>\d+) tokens\)", _too_long),
    (r"model_not_found|not a valid model", _model_not_found),
    ("", _rejected),
)
_REFUSED: Final[tuple[Rule, ...]] = (("", _failed("the upstream refused this server's access")),)
_TIMEOUT: Final[tuple[Rule, ...]] = (("", lambda fault, match: BackendTimeout()),)
_BUSY: Final[tuple[Rule, ...]] = (
    (r"loading|starting|not ready|no healthy", lambda fault, match: BackendUnavailable()),
    ("", lambda fault, match: Overloaded()),
)

_RULES: Final[Mapping[int, Sequence[Rule]]] = {
    400: _REJECTED,
    401: _REFUSED,
    402: _REFUSED,
    403: _REFUSED,
    404: (("model", _model_not_found), ("", _failed("the upstream does not have this API"))),
    407: _REFUSED,
    408: _TIMEOUT,
    413: (("", lambda fault, match: BadRequest("the request is too large for the upstream")),),
    422: _REJECTED,
    429: (
        ("insufficient_quota", _failed("the upstream's quota is used up")),
        ("", lambda fault, match: RateLimited()),
    ),
    501: _REJECTED,
    503: _BUSY,
    504: _TIMEOUT,
    529: _BUSY,
}

_RULES_OF_OLLAMA: Final[Mapping[int, Sequence[Rule]]] = {
    400: ((r"does not support (?P<what>\w+)$", _unsupported),),
    # Ollama answers these faults of the client with a 500.
    500: (('^(option "|invalid format: |template: )', _rejected),),
}
