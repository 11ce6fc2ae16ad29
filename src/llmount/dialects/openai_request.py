"""A chat completion's body as a `Prompt`, and the rules that JSON Schema cannot say."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

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
)
from .openai_tools import Offer, calls_made

__all__ = ["bytes_of", "prompt", "sampling"]

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
    "web_search_options": "web search",
}


def prompt(body: JSON, offer: Offer) -> Prompt:
    """The neutral prompt. Raises `BadRequest` with the path of the field at fault.

    offer: what the body lets the model call.
    """
    for field, what in _REFUSED.items():
        if body.get(field) is not None:
            raise Unsupported(what, param=field)
    if "audio" in (body.get("modalities") or ()):
        raise Unsupported("audio output", param="modalities")
    _check_tool_turns(body["messages"])
    effort = body.get("reasoning_effort")
    return Prompt(
        model=body["model"],
        messages=tuple(_messages(body["messages"])),
        sampling=sampling(body, body.get("max_completion_tokens") or body.get("max_tokens")),
        tools=offer.tools,
        tool_choice=offer.choice,
        parallel_tool_calls=offer.several,
        format=_format(body.get("response_format")),
        reasoning=False if effort == "none" else effort,
        logprobs=int(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
    )


def sampling(body: JSON, limit: float | None) -> Sampling:
    """The settings that chat and text completions share. limit: the most tokens."""
    stop = body.get("stop") or ()
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


# Turns


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
        calls = message.get("tool_calls") if message["role"] == "assistant" else None
        open_calls = {call["id"] for call in calls or ()}
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


def _messages(messages: Sequence[JSON]) -> Iterator[Message]:
    called: dict[str, str] = {}
    for number, (message, calls) in enumerate(zip(messages, calls_made(messages), strict=True)):
        role = message["role"]
        called |= {call.name: call.id for call in calls}
        yield Message(
            _ROLES[role],
            tuple(_parts(message.get("content"), f"messages[{number}].content")),
            reasoning=message.get("reasoning_content") or "",
            tool_calls=calls,
            tool_call_id=_answered(message, called),
            name=message.get("name") if role != "tool" else None,
        )


def _answered(message: JSON, called: Mapping[str, str]) -> str | None:
    """The call that a turn answers. called: by name the last call of each function."""
    match message["role"]:
        case "tool":
            return str(message["tool_call_id"])
        case "function":
            return called.get(message["name"])
    return None


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
