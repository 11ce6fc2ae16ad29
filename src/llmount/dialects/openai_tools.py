"""What a chat completion's request lets the model call: tools, custom tools, old functions.

Neutrally all are tools with JSON arguments. A custom tool takes one text, the argument
`input`; of an old function at most one call is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import BadRequest, Unsupported
from ..jsontext import dumps
from ..types import JSON, Tool, ToolCall

__all__ = ["Offer", "calls_made", "offered"]

_TEXT = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What may be called, and how calls are answered.

    choice: as `Prompt.tool_choice`. several: an answer may have more than one call. custom:
    the names of those that take a text. old: they are functions, called in the old form.
    """

    tools: tuple[Tool, ...] = ()
    choice: str = "auto"
    several: bool = True
    custom: frozenset[str] = frozenset()
    old: bool = False


def offered(body: JSON) -> Offer:
    """What the body offers. Raises `BadRequest` with the path of the field at fault."""
    if body.get("functions") is not None:
        return _functions(body)
    tools = [_tool(tool, f"tools[{n}]") for n, tool in enumerate(body.get("tools") or ())]
    known = {tool.name: tool for tool in tools}
    choice = body.get("tool_choice") or "auto"
    if not isinstance(choice, str) and choice["type"] == "allowed_tools":
        allowed = choice["allowed_tools"]
        names = [_named(tool, known) for tool in allowed["tools"]]
        tools, choice = [known[name] for name in names], allowed["mode"]
    elif not isinstance(choice, str):
        choice = _named(choice, known)
    return Offer(
        tools=tuple(tools),
        choice=choice,
        several=body["parallel_tool_calls"],
        custom=frozenset(
            tool["custom"]["name"] for tool in body.get("tools") or () if tool["type"] == "custom"
        ),
    )


def _functions(body: JSON) -> Offer:
    tools = {function["name"]: _function(function) for function in body["functions"]}
    choice = body.get("function_call") or "auto"
    if not isinstance(choice, str):
        choice = _known(choice["name"], tools, "function_call", "functions")
    return Offer(tools=tuple(tools.values()), choice=choice, several=False, old=True)


def _tool(tool: JSON, path: str) -> Tool:
    if tool["type"] == "function":
        return _function(tool["function"])
    custom = tool["custom"]
    if (custom.get("format") or {}).get("type") == "grammar":
        raise Unsupported("grammars of custom tools", param=f"{path}.custom.format")
    return Tool(custom["name"], custom.get("description") or "", _TEXT)


def _function(function: JSON) -> Tool:
    return Tool(
        function["name"],
        function.get("description") or "",
        function.get("parameters") or {},
        bool(function.get("strict")),
    )


def _named(choice: JSON, tools: Mapping[str, Tool]) -> str:
    return _known(choice[choice["type"]]["name"], tools, "tool_choice", "tools")


def _known(name: str, tools: Mapping[str, Tool], field: str, place: str) -> str:
    if name not in tools:
        what = field.replace("_", " ").capitalize()
        raise BadRequest(f"{what} '{name[:64]}' not found in '{place}' parameter.", param=field)
    return name


# What was called before


def calls_made(messages: Sequence[JSON]) -> Sequence[tuple[ToolCall, ...]]:
    """For each message the calls that the assistant made in it.

    Calls of functions had no ids: theirs is made of the number of the message.
    """
    return [_calls(message, number) for number, message in enumerate(messages)]


def _calls(message: JSON, number: int) -> tuple[ToolCall, ...]:
    if message["role"] != "assistant":
        return ()
    calls = tuple(map(_call, message.get("tool_calls") or ()))
    if (function := message.get("function_call")) is not None:
        calls += (ToolCall(f"call_{number}", function["name"], function["arguments"]),)
    return calls


def _call(call: JSON) -> ToolCall:
    if call["type"] == "custom":
        custom = call["custom"]
        return ToolCall(call["id"], custom["name"], dumps({"input": custom["input"]}))
    return ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
