"""How models write tool calls: which marks they put around them, and what stands between.

A table, read by `tool_calls`. The names are what backends take as `tool_format`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["FORMATS", "Body", "Opening", "ToolFormat", "format_named", "format_of"]

Body = Literal["json", "function", "json or function", "json or named"]
"""What a call looks like.

json: `{"name": …, "arguments": {…}}`, or `parameters` in place of `arguments`; or several
of these, in a list, or behind each other with or without a semicolon.
function: `name>{…}</function>`, or `name>` and `<parameter=key>value</parameter>` for each
argument and `</function>`, as it goes on behind `<function=`.
named: `name[ARGS]{…}`, maybe with `[CALL_ID]…` behind the name.
"""

_WITHIN: Mapping[Body, tuple[str, ...]] = {"json or named": ("[ARGS]", "[CALL_ID]")}


@dataclass(frozen=True, slots=True)
class Opening:
    """A mark that begins calls; "" where a call begins without one.

    close: what ends them; models forget it, and nothing depends on it. alone: only where a
    line of the answer begins, or behind another call.
    """

    mark: str
    body: Body
    close: str = ""
    alone: bool = False


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """What a model writes. A template that has the mark of the first opening is of it.

    start: what to put in front of a call that the model must make. key: what it calls the
    arguments.
    """

    openings: tuple[Opening, ...]
    start: str = ""
    key: Literal["arguments", "parameters"] = "arguments"

    @property
    def marks(self) -> frozenset[str]:
        """All marks, some of which are control tokens of the models that write them."""
        around = {mark for each in self.openings for mark in (each.mark, each.close)}
        within = {mark for each in self.openings for mark in _WITHIN.get(each.body, ())}
        return frozenset(around | within) - {""}


_FUNCTION = Opening("<function=", "function")
_PLAIN = (
    Opening("```json", "json", "```", alone=True),
    Opening("```", "json", "```", alone=True),
    Opening("", "json", alone=True),
)

FORMATS: Mapping[str, ToolFormat] = {
    "hermes": ToolFormat(
        (Opening("<tool_call>", "json or function", "</tool_call>"), _FUNCTION),
        start="<tool_call>\n",
    ),
    "mistral": ToolFormat((Opening("[TOOL_CALLS]", "json or named"),), start="[TOOL_CALLS]"),
    "function": ToolFormat((_FUNCTION,)),
    "llama": ToolFormat((Opening("<|python_tag|>", "json"), _FUNCTION, *_PLAIN), key="parameters"),
    "json": ToolFormat(_PLAIN),
}
"""By name, in the order in which a template is searched for their marks.

hermes: Hermes, Qwen 2.5 and 3, Qwen3-Coder and many others. mistral: Mistral, with a list or
with `[ARGS]`. function: Functionary and others. llama: Llama 3. json: nothing but JSON, also
in a fence.
"""


def format_of(template: str) -> ToolFormat:
    """The format that a chat template speaks of; "json" where it names no mark."""
    for found in FORMATS.values():
        first = found.openings[0]
        if not first.alone and first.mark in template:
            return found
    # Llama 3.2 has no mark, but asks for "parameters".
    return FORMATS["llama" if '"parameters": ' in template else "json"]


def format_named(name: str) -> ToolFormat:
    """Raises `ValueError` for a name that is none of `FORMATS`."""
    if name not in FORMATS:
        raise ValueError(f"no tool format is called {name!r}: there are {', '.join(FORMATS)}")
    return FORMATS[name]
