"""A tool call that the engine is made to write: how its text begins, and its schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import BadRequest
from ..types import JSON, Tool
from .tool_formats import ToolFormat

__all__ = ["call_schema", "opened"]

# The engine's grammar otherwise allows white space without end, and small models write it.
_COMPACT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_THINKING, _THOUGHT = "<think>", "\n</think>\n\n"


def opened(rendered: str, format: ToolFormat) -> str:
    """A rendered conversation, continued up to where the call's JSON begins."""
    thinks = rendered.rstrip().endswith(_THINKING)
    return rendered + (_THOUGHT if thinks else "") + format.start


def call_schema(tools: Sequence[Tool], format: ToolFormat) -> dict[str, JSON]:
    """The schema of a call of one of the tools, its name in front.

    Raises `BadRequest` for a tool whose parameters are not those of an object.
    """
    calls = [
        {
            "type": "object",
            "properties": {
                "name": {"const": tool.name},
                format.key: {"$ref": f"#/$defs/{number}"},
            },
            "required": ["name", format.key],
            "additionalProperties": False,
        }
        for number, tool in enumerate(tools)
    ]
    definitions = {
        str(number): _moved(_parameters(tool, number), f"#/$defs/{number}")
        for number, tool in enumerate(tools)
    }
    return {"anyOf": calls, "$defs": definitions, "x-guidance": _COMPACT}


def _parameters(tool: Tool, number: int) -> dict[str, JSON]:
    if tool.parameters.get("type", "object") != "object":
        raise BadRequest(
            f"the parameters of '{tool.name}' must be those of an object", param=f"tools[{number}]"
        )
    return {"type": "object", **({} if tool.parameters else {"properties": {}}), **tool.parameters}


def _moved(schema: JSON, to: str) -> JSON:
    """The schema at another place of a document: what it refers to within itself is there."""
    if isinstance(schema, Mapping):
        return {
            key: to + value.removeprefix("#")
            if key == "$ref" and isinstance(value, str) and value.startswith("#")
            else _moved(value, to)
            for key, value in schema.items()
        }
    if isinstance(schema, (list, tuple)):
        return [_moved(item, to) for item in schema]
    return schema
