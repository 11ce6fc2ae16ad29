"""Tiny GGUF models that write one text, token by token, whatever they are asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.tiny_gguf import byte_alphabet, write_bigram

__all__ = ["CHAT_WITH_TOOLS", "write_scripted"]

# Bytes that no prompt has, so that their tokens are free to stand for something else.
_FREE = [number for number in range(1, 32) if chr(number) not in "\t\n\r"]
_NORMAL, _CONTROL = 1, 3

CHAT_WITH_TOOLS = """\
{%- if tools %}{{- '<|im_start|>system\\nTools:' }}{%- for tool in tools %}{{- ' ' }}
{{- tool | tojson }}{%- endfor %}{{- '\\nWrite OPEN{"name": NAME, "KEY": {}}CLOSE<|im_end|>\\n' }}
{%- endif %}{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.content %}{{- message.content }}{%- endif %}
{%- if message.tool_calls %}{%- for call in message.tool_calls %}
{{- 'OPEN{"name": "' + call.function.name + '", "KEY": ' }}
{{- call.function.arguments | tojson }}{{- '}CLOSE' }}{%- endfor %}{%- endif %}
{{- '<|im_end|>\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
"""A chat template; OPEN, CLOSE and KEY are for what the model is to write around a call."""


def write_scripted(
    path: Path, pieces: Sequence[str], *, chat_template: str, control: Sequence[str] = ()
) -> None:
    """Write a model whose tokens are these pieces, each once and in this order, and the end.

    control: those of the pieces that are control tokens. A model has 28 pieces at most, of
    two bytes at least, as single ones have tokens already.
    """
    assert len(set(pieces)) == len(pieces) <= len(_FREE)
    assert all(len(piece.encode()) > 1 for piece in pieces)
    letters = byte_alphabet()
    spelled = ["".join(letters[byte] for byte in piece.encode()) for piece in pieces]
    tokens = [*letters, "<|end|>", "<|im_start|>", "<|im_end|>", "Ġa"]
    types = [_NORMAL] * 256 + [_CONTROL] * 3 + [_NORMAL]
    for number, piece, token in zip(_FREE, pieces, spelled, strict=False):
        tokens[number] = piece if piece in control else token
        types[number] = _CONTROL if piece in control else _NORMAL
    write_bigram(
        path,
        "".join(map(chr, _FREE[: len(pieces)])),
        repeat=False,
        chat_template=chat_template,
        metadata={"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types},
    )
