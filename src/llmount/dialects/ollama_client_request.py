"""A prompt as the body of `/api/chat` or `/api/generate`: what the client half asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ..errors import BadRequest, Unsupported
from ..jsontext import loads
from ..types import JSON, AudioPart, ImagePart, Message, Part, Prompt, TextPart, Tool
from .upstream import base64_text, settings_of

__all__ = ["request", "residency"]

# Settings of the engine that Ollama takes beside its `options`, not in them.
_BESIDE: Final = ("truncate", "shift")

# The efforts of other APIs, as Ollama itself translates them.
_THINK: Final[Mapping[bool | str, bool | str]] = {
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
    only_there = prompt.text, prompt.suffix, prompt.template, prompt.context or None
    generate = any(each is not None for each in only_there)
    body: dict[str, JSON] = {"model": prompt.model, "stream": True}
    body |= _generate(prompt) if generate else _chat(prompt)
    body |= {name: prompt.options[name] for name in _BESIDE if name in prompt.options}
    if options := _options(prompt):
        body["options"] = options
    if prompt.format is not None:
        body["format"] = prompt.format
    if prompt.reasoning is not None:
        body["think"] = _THINK.get(prompt.reasoning, prompt.reasoning)
    if prompt.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": prompt.logprobs}
    if prompt.keep_alive is not None:
        body["keep_alive"] = prompt.keep_alive
    return "/api/generate" if generate else "/api/chat", body


def residency(model: str, keep_alive: float | None) -> tuple[str, JSON]:
    """The path and the body that load a model for so many seconds; 0 unloads it."""
    body = {"model": model, "stream": False}
    return "/api/generate", body if keep_alive is None else {**body, "keep_alive": keep_alive}


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
    options = {name: value for name, value in prompt.options.items() if name not in _BESIDE}
    for name, value in settings_of(prompt.sampling).items():
        options["num_predict" if name == "max_tokens" else name] = value
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
    if message.role == "tool":
        call = message.tool_call_id or ""
        answered = {"tool_call_id": call, "tool_name": message.name or names.get(call)}
        turn |= {field: value for field, value in answered.items() if value}
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
