"""Which tools a model may call, and whether it must."""

from __future__ import annotations

from ..errors import BadRequest
from ..types import Prompt, Tool

__all__ = ["is_forced", "offered"]


def offered(prompt: Prompt) -> tuple[Tool, ...]:
    """The tools that may be called: none, all, or the one that must be.

    Raises `BadRequest` if that is not among them.
    """
    match prompt.tool_choice:
        case "none":
            return ()
        case "auto" | "required":
            return prompt.tools
    named = tuple(tool for tool in prompt.tools if tool.name == prompt.tool_choice)
    if prompt.tools and not named:
        raise BadRequest(f"there is no tool named '{prompt.tool_choice}'", param="tool_choice")
    return named


def is_forced(prompt: Prompt) -> bool:
    """Whether a tool must be called."""
    return bool(prompt.tools) and prompt.tool_choice not in ("auto", "none")
