"""A conversation, written out as the model was trained to read it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import BackendError, BadRequest
from ..types import JSON, Message, Tool, ToolCall
from .gguf import GgufError

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["FALLBACK", "ChatTemplate"]

FALLBACK = (
    "{% for message in messages %}"
    "{{ message['role'] | capitalize }}: {{ message['content'] }}\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""What a model without a template of its own gets: a line `User: ...` for each turn."""


class ChatTemplate:
    """A `tokenizer.chat_template`, in Jinja's language and in its sandbox.

    source: the template; the empty string stands for `FALLBACK`. bos, eos: the texts of
    the tokens that begin and end a text. Raises `GgufError` if the source is no template,
    and `ImportError` if Jinja2 is not installed.
    """

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        environment = _environment()
        from jinja2 import TemplateSyntaxError

        try:
            self._template = environment.from_string(source or FALLBACK)
        except TemplateSyntaxError as error:
            raise GgufError(f"the chat template is broken: {error}") from error
        self._tokens = {"bos_token": bos, "eos_token": eos}

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        *,
        shield: Callable[[str], str] = str,
        add_generation_prompt: bool = True,
    ) -> str:
        """The conversation as text, up to where the model takes its turn.

        shield: applied to every string that came from the client, before the template
        sees it. Parts that are not text are left out. Raises `BadRequest` if the template
        refuses the conversation, `BackendError` if it fails.
        """
        from jinja2 import TemplateError

        try:
            return self._template.render(
                messages=[_message(message, shield) for message in messages],
                tools=[_tool(tool, shield) for tool in tools] or None,
                add_generation_prompt=add_generation_prompt,
                **self._tokens,
            )
        except BadRequest:
            raise
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise BackendError("the model's chat template cannot render this") from error


def _shielded(value: JSON, shield: Callable[[str], str]) -> JSON:
    if isinstance(value, str):
        return shield(value)
    if isinstance(value, Mapping):
        return {shield(key): _shielded(item, shield) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shielded(item, shield) for item in value]
    return value


def _message(message: Message, shield: Callable[[str], str]) -> dict[str, JSON]:
    told: dict[str, JSON] = {"role": message.role, "content": shield(message.text)}
    if message.reasoning:
        told["reasoning_content"] = shield(message.reasoning)
    if message.tool_calls:
        told["tool_calls"] = [_call(call, shield) for call in message.tool_calls]
    if message.tool_call_id is not None:
        told["tool_call_id"] = shield(message.tool_call_id)
    if message.name is not None:
        told["name"] = shield(message.name)
    return told


def _call(call: ToolCall, shield: Callable[[str], str]) -> dict[str, JSON]:
    try:
        arguments = json.loads(call.arguments)
    except ValueError:
        # A model may have written something else, and should see what it wrote.
        arguments = call.arguments
    function = {"name": call.name, "arguments": arguments}
    return {
        "id": shield(call.id),
        "type": "function",
        "function": _shielded(function, shield),
    }


def _tool(tool: Tool, shield: Callable[[str], str]) -> dict[str, JSON]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    return {"type": "function", "function": _shielded(function, shield)}


def _refuse(message: object) -> NoReturn:
    raise BadRequest(str(message), param="messages")


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes HTML, which a model has never seen.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


@cache
def _environment() -> Environment:
    """The environment that such templates are written for, that of `transformers`."""
    try:
        from jinja2 import nodes
        from jinja2.ext import Extension, loopcontrols
        from jinja2.parser import Parser
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise ImportError(
            "chat templates need Jinja2: pip install 'llmount[ctransformers]'"
        ) from error

    class Generation(Extension):
        """`{% generation %}` marks what the model wrote, for training; here it is plain text."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    return environment
