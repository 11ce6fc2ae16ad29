"""What the ctransformers engine is asked for and cannot do."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import Unsupported
from ..types import AudioPart, FilePart, ImagePart, Model, Prompt
from .tool_choice import is_forced, offered

__all__ = ["check"]

_PARTS = {ImagePart: "vision", AudioPart: "audio", FilePart: "files"}


def check(prompt: Prompt, model: Model) -> None:
    """Raise `Unsupported` if engine or model lack what the prompt needs, `BadRequest` if it
    names a tool that it does not have."""
    found = [_PARTS[type(p)] for m in prompt.messages for p in m.parts if type(p) in _PARTS]
    obstacles = {
        **dict.fromkeys(found, (True, "messages")),
        "tools": (
            bool(offered(prompt))
            and ("tools" not in model.capabilities or prompt.text is not None),
            "tools",
        ),
        "a forced tool call": (is_forced(prompt), "tool_choice"),
        "a JSON format": (prompt.format == "json", "format"),
        "a JSON schema as format": (isinstance(prompt.format, Mapping), "format"),
        "thinking": (bool(prompt.reasoning), "reasoning"),
        "template": (prompt.template is not None, "template"),
        "insert": (
            prompt.suffix is not None and "insert" not in model.capabilities,
            "suffix",
        ),
    }
    for capability, (hit, param) in obstacles.items():
        if hit:
            raise Unsupported(capability, model=model.name, param=param)
