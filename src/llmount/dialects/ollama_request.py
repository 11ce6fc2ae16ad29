"""The bodies of `/api/generate` and `/api/chat` as a `Prompt`."""

from __future__ import annotations

import base64
import binascii
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ..errors import BadRequest
from ..jsontext import dumps
from ..types import (
    JSON,
    ImagePart,
    ImagePrompt,
    Message,
    Part,
    Prompt,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
)

__all__ = ["bare", "chat_prompt", "duration", "generate_prompt", "image_prompt"]

_SAMPLING = {
    "temperature": float,
    "top_p": float,
    "top_k": int,
    "min_p": float,
    "typical_p": float,
    "repeat_penalty": float,
    "repeat_last_n": int,
    "presence_penalty": float,
    "frequency_penalty": float,
}


def generate_prompt(body: JSON) -> Prompt:
    """Raises `BadRequest` for fields that exclude each other, and for bad images."""
    if body["raw"] and (body["template"] or body["system"] or body.get("context")):
        raise BadRequest("raw mode does not support template, system, or context")
    common = _common(body)
    if body["raw"] or body["suffix"]:
        return Prompt(text=body["prompt"], suffix=body["suffix"] or None, **common)
    messages = [Message("user", (TextPart(body["prompt"]), *_images(body.get("images"))))]
    if body["system"]:
        messages.insert(0, Message("system", (TextPart(body["system"]),)))
    return Prompt(
        messages=tuple(messages),
        context=tuple(body.get("context") or ()),
        template=body["template"] or None,
        **common,
    )


def chat_prompt(body: JSON) -> Prompt:
    """Raises `BadRequest` for bad images."""
    return Prompt(
        messages=tuple(_messages(body["messages"])),
        tools=tuple(
            Tool(
                tool["function"]["name"],
                tool["function"].get("description") or "",
                tool["function"].get("parameters") or {},
            )
            for tool in body.get("tools") or ()
        ),
        **_common(body),
    )


def image_prompt(body: JSON) -> ImagePrompt:
    """The body read as the request for a picture."""
    options = body.get("options") or {}
    seed = options.get("seed")
    return ImagePrompt(
        model=bare(body["model"]),
        text=body["prompt"],
        width=body.get("width") or None,
        height=body.get("height") or None,
        steps=body.get("steps") or None,
        seed=None if seed is None else int(seed),
    )


def bare(model: str) -> str:
    """The name without `:latest`, which is what no tag means."""
    return model.strip().removesuffix(":latest")


def _common(body: JSON) -> dict[str, JSON]:
    """What both routes have, as arguments of `Prompt`."""
    options = {}
    if body.get("options"):
        options = {key: value for key, value in body["options"].items() if value is not None}
    return {
        "model": bare(body["model"]),
        "sampling": _sampling(options) if options else _UNSAID,
        "format": body.get("format") or None,
        "reasoning": body.get("think"),
        "logprobs": body["top_logprobs"] if body["logprobs"] else None,
        "keep_alive": duration(body.get("keep_alive")),
        "options": {
            **{key: value for key, value in options.items() if key not in _SAMPLING},
            **{key: body[key] for key in ("truncate", "shift") if body.get(key) is not None},
        },
    }


_UNSAID = Sampling()


def _sampling(options: dict[str, JSON]) -> Sampling:
    limit, seed = int(options.pop("num_predict", -1)), int(options.pop("seed", -1))
    return Sampling(
        # 0 is as good as no limit there, since Go leaves it out.
        max_tokens=limit if limit > 0 else None,
        seed=seed if seed >= 0 else None,
        stop=tuple(options.pop("stop", ())),
        **{key: kind(options[key]) for key, kind in _SAMPLING.items() if key in options},
    )


def _messages(messages: Sequence[JSON]) -> Iterable[Message]:
    """The turns, where each call has an id, and each answer to one has that id: here both
    may be left out, and an answer is of the first open call of its tool."""
    numbers = itertools.count()
    open_calls: dict[str | None, str] = {}
    for message in messages:
        turn = _message(message, numbers)
        if turn.role == "tool":
            fitting = (id for id, name in open_calls.items() if turn.name in (None, name))
            turn = replace(turn, tool_call_id=turn.tool_call_id or next(fitting, None))
            open_calls.pop(turn.tool_call_id, None)
        else:
            open_calls = {call.id: call.name for call in turn.tool_calls}
        yield turn


def _message(message: JSON, numbers: Iterator[int]) -> Message:
    parts: list[Part] = [TextPart(message["content"])] if message.get("content") else []
    parts.extend(_images(message.get("images")))
    return Message(
        message["role"],
        tuple(parts),
        reasoning=message.get("thinking") or "",
        tool_calls=tuple(
            ToolCall(
                call.get("id") or f"call_{next(numbers)}",
                call["function"]["name"],
                dumps(call["function"].get("arguments") or {}),
            )
            for call in message.get("tool_calls") or ()
        ),
        tool_call_id=message.get("tool_call_id"),
        name=message.get("tool_name"),
    )


_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]*")


def _images(images: Sequence[JSON] | None) -> Iterable[ImagePart]:
    for image in images or ():
        if image is None:
            continue
        try:
            yield ImagePart(data=base64.b64decode(re.sub(r"[\r\n]", "", image), validate=True))
        except (binascii.Error, ValueError):
            good = _BASE64.match(image)
            position = good.end() if good else 0
            raise BadRequest(f"illegal base64 data at input byte {position}") from None


_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PIECE = re.compile(r"([0-9]*\.?[0-9]*)(ns|us|µs|μs|ms|s|m|h)")


def duration(value: JSON) -> float | None:
    """Seconds of a number or of Go's notation, `1h30m`; the document checks the form."""
    if value is None or isinstance(value, (int, float)):
        return value
    sign = -1.0 if value.startswith("-") else 1.0
    return sign * sum(float(number) * _UNITS[unit] for number, unit in _PIECE.findall(value))
