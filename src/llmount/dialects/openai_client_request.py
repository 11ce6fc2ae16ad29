"""A prompt as the body of `/chat/completions` or `/completions`: what the client half asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..errors import Unsupported
from ..types import (
    JSON,
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    Part,
    Prompt,
    TextPart,
    Tool,
)
from .upstream import base64_text, file_fields, image_url, settings_of

__all__ = ["EFFORTS", "HOSTED", "SELF_HOSTED", "request"]

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


def _settings(prompt: Prompt, names: Mapping[str, str]) -> dict[str, JSON]:
    body = {names[name]: value for name, value in prompt.options.items() if name in names}
    for name, value in settings_of(prompt.sampling).items():
        if name == "max_tokens" and value < 0:
            continue
        if name not in names:
            raise Unsupported(name, model=prompt.model)
        body[names[name]] = value
    if prompt.sampling.stop:
        body["stop"] = list(prompt.sampling.stop)
    if prompt.sampling.logit_bias:
        bias = prompt.sampling.logit_bias.items()
        body["logit_bias"] = {str(token): value for token, value in bias}
    return body


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
        body |= _tools(prompt)
    if prompt.format == "json":
        body["response_format"] = {"type": "json_object"}
    elif prompt.format is not None:
        schema = {"name": "answer", "schema": dict(prompt.format)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if prompt.reasoning is not None:
        body["reasoning_effort"] = EFFORTS.get(prompt.reasoning, prompt.reasoning)
    if prompt.logprobs is not None:
        body["logprobs"] = True
        if prompt.logprobs:
            body["top_logprobs"] = prompt.logprobs
    return body


EFFORTS: Final[Mapping[bool | str, str]] = {True: "medium", False: "none"}


def _tools(prompt: Prompt) -> dict[str, JSON]:
    body: dict[str, JSON] = {"tools": [_tool(tool) for tool in prompt.tools]}
    if prompt.tool_choice in ("none", "required"):
        body["tool_choice"] = prompt.tool_choice
    elif prompt.tool_choice != "auto":
        chosen = {"name": prompt.tool_choice}
        body["tool_choice"] = {"type": "function", "function": chosen}
    if not prompt.parallel_tool_calls:
        body["parallel_tool_calls"] = False
    return body


def _tool(tool: Tool) -> JSON:
    function: dict[str, JSON] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters:
        function["parameters"] = dict(tool.parameters)
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


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
            image = {"url": image_url(part), **({"detail": part.detail} if part.detail else {})}
            return {"type": "image_url", "image_url": image}
        case AudioPart():
            audio = {"data": base64_text(part.data), "format": part.format}
            return {"type": "input_audio", "input_audio": audio}
        case FilePart():
            return {"type": "file", "file": file_fields(part)}
