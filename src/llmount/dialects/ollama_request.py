"""The bodies of `/api/generate`, `/api/chat` and `/api/embed` as what a backend is asked."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ..errors import BadRequest
from ..jsontext import dumps
from ..media import ImagePrompt
from ..types import (
    JSON,
    ImagePart,
    Message,
    Part,
    Prompt,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
)
from . import go_values
from .go_template import Template
from .go_template_functions import Struct
from .ollama_models import bare

__all__ = [
    "bare",
    "chat_prompt",
    "fills_gaps",
    "generate_prompt",
    "image_prompt",
    "texts",
]

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


def generate_prompt(body: JSON, model: str | None = None) -> Prompt:
    """model: the name that the backend has for it, as far as that is known.

    Raises `BadRequest` for bad images or a bad template.
    """
    common = _common(body, model)
    text, template, suffix = body["prompt"], body["template"], body["suffix"]
    images = tuple(_images(body.get("images")))
    if body["raw"]:
        return Prompt(text=text, **common)
    context = tuple(body.get("context") or ())
    if template:
        rendered = Template(template).prompt(_values(body))
        return Prompt(text=rendered, context=context, **common)
    if suffix:
        return Prompt(text=text, suffix=suffix, context=context, **common)
    messages = [Message("user", (TextPart(text), *images))]
    if body["system"]:
        messages.insert(0, Message("system", (TextPart(body["system"]),)))
    return Prompt(messages=tuple(messages), context=context, **common)


def fills_gaps(template: str) -> bool:
    """Whether a template has a place for the text behind a gap."""
    return re.search(r"\.Suffix\b", template) is not None


def _values(body: JSON) -> dict[str, JSON]:
    """What a template may use, by Ollama's names."""
    think = body.get("think")
    values: dict[str, JSON] = {
        "Response": "",
        "Think": bool(think),
        # What Ollama says of plain true.
        "ThinkLevel": "medium" if think is True else think or "",
        "IsThinkSet": think is not None,
    }
    if body["suffix"]:
        return {"Prompt": body["prompt"], "Suffix": body["suffix"], **values}
    messages = [_turn("system", body["system"])] if body["system"] else []
    messages.append(_turn("user", body["prompt"]))
    return {"System": body["system"], "Prompt": body["prompt"], "Messages": messages, **values}


def _turn(role: str, content: str) -> Struct:
    return Struct(
        Role=role,
        Content=content,
        Thinking="",
        Images=[],
        ToolCalls=[],
        ToolName="",
        ToolCallID="",
    )


def texts(value: JSON) -> Sequence[str]:
    """The texts to embed. Raises `BadRequest`."""
    if value is None or value == "":
        return ()
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise BadRequest("invalid input type", param="input")
    return found


def chat_prompt(body: JSON, model: str | None = None) -> Prompt:
    """model: as for `generate_prompt`. Raises `BadRequest` for bad images."""
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
        **_common(body, model),
    )


def image_prompt(body: JSON, model: str) -> ImagePrompt:
    """The body read as the request for a picture."""
    options = body.get("options") or {}
    seed = options.get("seed")
    return ImagePrompt(
        model=model,
        text=body["prompt"],
        width=body.get("width") or None,
        height=body.get("height") or None,
        steps=body.get("steps") or None,
        seed=None if seed is None else int(seed),
    )


def _common(body: JSON, model: str | None) -> dict[str, JSON]:
    """What both routes have, as arguments of `Prompt`."""
    options = {}
    if body.get("options"):
        options = {key: value for key, value in body["options"].items() if value is not None}
    return {
        "model": bare(body["model"]) if model is None else model,
        "sampling": _sampling(options) if options else _UNSAID,
        "format": body.get("format") or None,
        "reasoning": body.get("think"),
        "logprobs": body["top_logprobs"] if body["logprobs"] else None,
        "keep_alive": go_values.seconds(body.get("keep_alive")),
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


def _images(images: Sequence[JSON] | None) -> Iterable[ImagePart]:
    for image in images or ():
        if image is not None:
            yield ImagePart(data=go_values.image(image))
