"""A chat completion's body as a `Prompt`, and the rules that JSON Schema cannot say."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterable, Mapping, Sequence

from ..errors import BadRequest, Unsupported
from ..types import (
    JSON,
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    Part,
    Prompt,
    Role,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
)

__all__ = ["bytes_of", "prompt"]

_ROLES: Mapping[str, Role] = {
    "developer": "system",
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}

_REFUSED = {
    "audio": "audio output",
    "functions": "functions (send tools)",
    "function_call": "function_call (send tool_choice)",
    "web_search_options": "web search",
}


def prompt(body: JSON) -> Prompt:
    """The neutral prompt. Raises `BadRequest` with the path of the field at fault."""
    for field, what in _REFUSED.items():
        if body.get(field) is not None:
            raise Unsupported(what, param=field)
    if "audio" in (body.get("modalities") or ()):
        raise Unsupported("audio output", param="modalities")
    tools, choice = _tools(body)
    _check_tool_turns(body["messages"])
    effort = body.get("reasoning_effort")
    return Prompt(
        model=body["model"],
        messages=tuple(
            _message(message, f"messages[{number}]")
            for number, message in enumerate(body["messages"])
        ),
        sampling=_sampling(body),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=body.get("parallel_tool_calls") is not False,
        format=_format(body.get("response_format")),
        reasoning=False if effort == "none" else effort,
        logprobs=(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
    )


def _sampling(body: JSON) -> Sampling:
    stop = body.get("stop") or ()
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return Sampling(
        max_tokens=_integer(limit),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        presence_penalty=body.get("presence_penalty"),
        frequency_penalty=body.get("frequency_penalty"),
        seed=_integer(body.get("seed")),
        stop=(stop,) if isinstance(stop, str) else tuple(text for text in stop if text),
        logit_bias=_logit_bias(body.get("logit_bias") or {}),
    )


def _integer(number: float | None) -> int | None:
    """JSON Schema takes 5.0 for an integer."""
    return None if number is None else int(number)


def _logit_bias(bias: Mapping[str, float]) -> Mapping[int, float]:
    try:
        return {int(token): value for token, value in bias.items()}
    except ValueError:
        raise BadRequest(
            "Invalid key in 'logit_bias': you should only be submitting token ids.",
            param="logit_bias",
        ) from None


def _format(response_format: JSON) -> JSON:
    match response_format:
        case {"type": "json_object"}:
            return "json"
        case {"type": "json_schema", "json_schema": schema}:
            return schema.get("schema") or {}
    return None


# Tools


def _tools(body: JSON) -> tuple[tuple[Tool, ...], str]:
    tools: dict[str, Tool] = {}
    for number, tool in enumerate(body.get("tools") or ()):
        if tool["type"] != "function":
            raise Unsupported(f"tools of type {tool['type']}", param=f"tools[{number}].type")
        function = tool["function"]
        tools[function["name"]] = Tool(
            function["name"],
            function.get("description") or "",
            function.get("parameters") or {},
            bool(function.get("strict")),
        )
    choice = body.get("tool_choice")
    if choice is None:
        return tuple(tools.values()), "auto"
    if isinstance(choice, str):
        return tuple(tools.values()), choice
    if choice["type"] == "allowed_tools":
        allowed = choice["allowed_tools"]
        names = [_named(tool, tools) for tool in allowed["tools"]]
        return tuple(tools[name] for name in names), allowed["mode"]
    return tuple(tools.values()), _named(choice, tools)


def _named(choice: JSON, tools: Mapping[str, Tool]) -> str:
    if choice["type"] != "function":
        raise Unsupported("a tool choice of this type", param="tool_choice")
    name: str = choice["function"]["name"]
    if name not in tools:
        raise BadRequest(
            f"Tool choice '{name[:64]}' not found in 'tools' parameter.", param="tool_choice"
        )
    return name


def _check_tool_turns(messages: Sequence[JSON]) -> None:
    """Every tool turn answers a call of the assistant's turn before it, and every call has
    its answer."""
    open_calls: set[str] = set()
    for number, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                raise BadRequest(
                    "Invalid parameter: messages with role 'tool' must be a response to a "
                    "preceding message with 'tool_calls'.",
                    param=f"messages[{number}].role",
                )
            open_calls.discard(message["tool_call_id"])
            continue
        _check_answered(open_calls, number)
        open_calls = {call["id"] for call in _calls(message)}
    _check_answered(open_calls, len(messages))


def _check_answered(open_calls: Collection[str], number: int) -> None:
    if open_calls:
        missing = ", ".join(sorted(open_calls))
        raise BadRequest(
            "An assistant message with 'tool_calls' must be followed by tool messages "
            "responding to each 'tool_call_id'. The following tool_call_ids did not have "
            f"response messages: {missing[:200]}",
            param=f"messages[{number - 1}]",
        )


# Messages. What the document does not list for a role may hold anything: it is not read.


def _message(message: JSON, path: str) -> Message:
    role = message["role"]
    return Message(
        _ROLES[role],
        tuple(_parts(message.get("content"), f"{path}.content")),
        tool_calls=tuple(
            _tool_call(call, f"{path}.tool_calls[{number}]")
            for number, call in enumerate(_calls(message))
        ),
        tool_call_id=message["tool_call_id"] if role == "tool" else None,
        name=message.get("name") if role != "tool" else None,
    )


def _calls(message: JSON) -> Sequence[JSON]:
    return message.get("tool_calls") or () if message["role"] == "assistant" else ()


def _tool_call(call: JSON, path: str) -> ToolCall:
    if call["type"] != "function":
        raise Unsupported(f"tool calls of type {call['type']}", param=f"{path}.type")
    return ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])


def _parts(content: JSON, path: str) -> Iterable[Part]:
    if content is None:
        return
    if isinstance(content, str):
        yield TextPart(content)
        return
    for number, part in enumerate(content):
        yield _part(part, f"{path}[{number}]")


def _part(part: JSON, path: str) -> Part:
    match part:
        case {"type": "text", "text": text}:
            return TextPart(text)
        case {"type": "refusal", "refusal": text}:
            return TextPart(text)
        case {"type": "image_url", "image_url": {"url": url} as image}:
            detail = image.get("detail")
            if url.startswith("data:"):
                return ImagePart(data=bytes_of(url, f"{path}.image_url.url"), detail=detail)
            return ImagePart(url=url, detail=detail)
        case {"type": "input_audio", "input_audio": {"data": data, "format": format_}}:
            return AudioPart(_base64(data, f"{path}.input_audio.data"), format_)
        case {"type": "file", "file": file}:
            data = file.get("file_data")
            return FilePart(
                None if data is None else bytes_of(data, f"{path}.file.file_data"),
                file.get("file_id"),
                file.get("filename"),
            )
    raise Unsupported(f"content parts of type {part.get('type')}", param=path)


def bytes_of(url: str, path: str) -> bytes:
    """The bytes of a data URI, or of bare Base64. Raises `BadRequest` for the field at `path`."""
    if not url.startswith("data:"):
        return _base64(url, path)
    head, comma, encoded = url.partition(",")
    if not comma or not head.endswith(";base64"):
        raise BadRequest(f"Invalid '{path}': expected a base64-encoded data URL.", param=path)
    return _base64(encoded, path)


def _base64(encoded: str, path: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(f"Invalid '{path}': not valid base64.", param=path) from None
