"""What a client wrote, for an engine that takes it for more than text.

llama.cpp looks for control tokens such as `<|im_end|>` in a whole rendered conversation, so
a message that spells one would end its turn and could begin another one's. It cannot be told
which part came from whom. So such a message is changed, by characters that nobody sees.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from .tokenizer import alternatives, control_texts

__all__ = ["BREAK", "shield_of"]

BREAK: Final = "\u200b"
"""A space of no width, which models have seen in texts."""


def shield_of(metadata: Mapping[str, Any]) -> Callable[[str], str]:
    """A function that puts a `BREAK` behind the first character of each control token that a
    text spells. All other texts stay as they are. metadata: of the model's file."""
    # What is one character long cannot be parted.
    texts = (text for text in control_texts(metadata) if len(text) > 1 and BREAK not in text)
    controls = alternatives(texts)
    if controls is None:
        return str

    def shield(text: str) -> str:
        # What is left of one may spell another one.
        while controls.search(text):
            text = controls.sub(_parted, text)
        return text

    return shield


def _parted(match: re.Match[str]) -> str:
    return match[0][0] + BREAK + match[0][1:]
