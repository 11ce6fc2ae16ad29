"""Tiny models that have all that a model of an engine here can have."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.scripted_model import CHAT_WITH_TOOLS, write_scripted
from tests.tiny_gguf import write_bigram

__all__ = ["ENGINES", "MODELS", "open_engine"]

ENGINES = {
    "llamacpp": ("xllamacpp", "LlamaCppBackend"),
    "ctransformers": ("ctransformers", "CTransformersBackend"),
}
"""The package that each needs, and the name of its backend."""

_MARKS = {"OPEN": "<tool_call>\\n", "CLOSE": "\\n</tool_call>", "KEY": "arguments"}
_SPOKEN = "{{- '<|im_start|>' + message.role + '\\n' }}"
_MORE = """\
{%- if message.name %}{{- message.name + ': ' }}{%- endif %}
{%- if message.reasoning_content %}{{- '<think>' + message.reasoning_content + '</think>' }}
{%- endif %}"""
_HEAD = """\
{%- if enable_thinking is defined and not enable_thinking %}{{- 'Do not think.' }}{%- endif %}
{%- if reasoning_effort is defined %}{{- reasoning_effort }}{%- endif %}"""

_TEMPLATE = _HEAD + re.sub(
    "OPEN|CLOSE|KEY", lambda found: _MARKS[found[0]], CHAT_WITH_TOOLS
).replace(_SPOKEN, _SPOKEN + _MORE)
assert _MORE in _TEMPLATE

_CALLS = [
    *("<tool_call>", "\n{", '"name": "get_weather"', ', "arguments": ', '{"city": "Oslo"}'),
    *("}\n", "</tool_call>", "\n<tool_call>\n", '{"name": "get_time", "arguments": {}}'),
    "\n</tool_call>\n",
]


def _babble(path: Path) -> None:
    write_bigram(
        path,
        "abacadabacbabcdabdaacabbadc",
        chat_template=_TEMPLATE,
        special_tokens=("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    )


def _call(path: Path) -> None:
    write_scripted(path, _CALLS, chat_template=_TEMPLATE)


def _think(path: Path) -> None:
    thinking = ["<think>", "\nHm", ".\n", "</think>", "\n\n", "Yes"]
    write_scripted(path, thinking, chat_template=_TEMPLATE)


MODELS: Mapping[str, Callable[[Path], None]] = {
    "babbles": _babble,
    "calls": _call,
    "thinks": _think,
}
"""By name: "babbles" writes some of four letters, by chance; "calls" calls two tools, one
after the other; "thinks" thinks before it speaks. Each writes itself to a path."""


def open_engine(engine: str, model: str, folder: Path) -> Any:
    """A backend of this engine over that model, whose name is "m"."""
    path = folder / f"{model}.gguf"
    if not path.exists():
        MODELS[model](path)
    cached = {"cache": folder / "cache"} if engine == "ctransformers" else {}
    make = getattr(import_module(f"llmount.backends.{engine}"), ENGINES[engine][1])
    return make(path, name="m", threads=1, **cached)
