"""A prompt as the body of `/responses`: what the client half asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..errors import Unsupported
from ..types import JSON, FilePart, ImagePart, Message, Part, Prompt, TextPart, Tool
from .openai_client_request import EFFORTS
from .upstream import file_fields, image_url, settings_of

__all__ = ["request"]

_SETTINGS: Final[Mapping[str, str]] = {
    "max_tokens": "max_output_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
}


def request(prompt: Prompt, *, summaries: bool = True) -> tuple[str, JSON]:
    """The path and the body that ask for a streamed answer to a conversation.

    Nothing is to be stored. summaries: ask for what the model thinks where it is to think;
    OpenAI tells it in no other way. Raises Unsupported for what the API cannot say: a text
    to be continued, sound, and the settings that it does not have. Left out are the names
    of speakers, and what was thought in earlier turns, since the service takes back only
    what it has sealed itself. `keep_alive` and options are no matter of this API.
    """
    _refuse(prompt)
    body: dict[str, Any] = {
        "model": prompt.model,
        "input": [item for message in prompt.messages for item in _items(message, prompt.model)],
        "stream": True,
        "store": False,
    }
    for name, value in settings_of(prompt.sampling).items():
        if name == "max_tokens" and value < 0:
            continue
        if name not in _SETTINGS:
            raise Unsupported(name, model=prompt.model)
        body[_SETTINGS[name]] = value
    if prompt.tools:
        body |= _tools(prompt)
    if prompt.format == "json":
        body["text"] = {"format": {"type": "json_object"}}
    elif prompt.format is not None:
        schema = {"type": "json_schema", "name": "answer", "schema": dict(prompt.format)}
        # Strict is the default here, and forbids most schemas that there are.
        body["text"] = {"format": {**schema, "strict": False}}
    if prompt.reasoning is not None:
        effort = EFFORTS.get(prompt.reasoning, prompt.reasoning)
        body["reasoning"] = {"effort": effort}
        if summaries and effort != "none":
            body["reasoning"]["summary"] = "auto"
    if prompt.logprobs is not None:
        body["include"] = ["message.output_text.logprobs"]
        if prompt.logprobs:
            body["top_logprobs"] = prompt.logprobs
    return "/responses", body


def _refuse(prompt: Prompt) -> None:
    refused = {
        "a text without a conversation": prompt.text is not None,
        "suffix": prompt.suffix is not None,
        "context": prompt.context,
        "template": prompt.template is not None,
        "stop": prompt.sampling.stop,
        "logit_bias": prompt.sampling.logit_bias,
    }
    for what, present in refused.items():
        if present:
            raise Unsupported(what, model=prompt.model)


def _tools(prompt: Prompt) -> dict[str, JSON]:
    body: dict[str, JSON] = {"tools": [_tool(tool) for tool in prompt.tools]}
    if prompt.tool_choice in ("none", "required"):
        body["tool_choice"] = prompt.tool_choice
    elif prompt.tool_choice != "auto":
        body["tool_choice"] = {"type": "function", "name": prompt.tool_choice}
    if not prompt.parallel_tool_calls:
        body["parallel_tool_calls"] = False
    return body


def _tool(tool: Tool) -> JSON:
    parameters = dict(tool.parameters) or {"type": "object", "properties": {}}
    described = {"description": tool.description} if tool.description else {}
    return {
        "type": "function",
        "name": tool.name,
        **described,
        "parameters": parameters,
        "strict": tool.strict,
    }


def _items(message: Message, model: str) -> Iterator[JSON]:
    if message.role == "tool":
        yield {
            "type": "function_call_output",
            "call_id": message.tool_call_id or "",
            "output": _content(message, model),
        }
    elif message.role != "assistant":
        yield {"role": message.role, "content": _content(message, model)}
    elif message.parts or not message.tool_calls:
        # In full: llama.cpp takes an answer in no shorter form.
        parts = message.parts or (TextPart(""),)
        content = [_part(part, model, "output_text") for part in parts]
        yield {"type": "message", "role": "assistant", "content": content}
    for call in message.tool_calls:
        yield {
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        }


def _content(message: Message, model: str) -> JSON:
    if all(isinstance(part, TextPart) for part in message.parts):
        return message.text
    return [_part(part, model, "input_text") for part in message.parts]


def _part(part: Part, model: str, kind: str) -> JSON:
    match part:
        case TextPart(text):
            return {"type": kind, "text": text}
        case ImagePart():
            detail = {"detail": part.detail} if part.detail else {}
            return {"type": "input_image", "image_url": image_url(part), **detail}
        case FilePart():
            return {"type": "input_file", **file_fields(part)}
    raise Unsupported("audio", model=model)
