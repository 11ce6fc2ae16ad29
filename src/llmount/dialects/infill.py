"""Code around a gap: how it is told inside of a prompt, and how a model is asked to fill it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["TEMPLATES", "Code", "parse", "render"]


@dataclass(frozen=True, slots=True)
class Code:
    """What stands before and after the gap, in which language and file."""

    prefix: str = ""
    suffix: str = ""
    language: str = ""
    path: str = ""


def parse(text: str) -> Code:
    """The code in a prompt with inline meta information, all of which is optional:

        # Language: Python
        # Path: ~/code/sort.py
        def quicksort( <SUF> ) <MID>

    The two lines come in this order; what is before the mark in a line does not matter. A
    line of the header that nothing follows is read, but also stays where it is.
    """
    language, rest = _header("# Language: ", text, text)
    path, rest = _header("# Path: ", rest, text)
    prefix, _, after = rest.partition(" <SUF> ")
    return Code(prefix, after.partition(" <MID>")[0], language, path)


def _header(mark: str, text: str, whole: str) -> tuple[str, str]:
    """What the first line says after the mark, and the text below it."""
    line, newline, below = text.partition("\n")
    _, found, value = line.partition(mark)
    if not found:
        return "", text
    return value, below if newline else whole


# Templates

_KEY = re.compile(r"\{([^}]*)\}")

_CHARACTERS = {r"\n": "\n", r"\r": "\r", r"\t": "\t"}

_CHAT = re.compile("_?(query|question)|system_prompt|res_prefix|answer|(user|assistant)_token|eos")


def render(template: str, code: Code) -> str:
    r"""The prompt that a template makes of the code.

    `{code_prefix}`, `{code_suffix}`, `{code_language}` and `{code_file_path}` are what
    their names say. `{bos}` is nothing, since an engine begins every text with its own.
    `{\n}` is a line end, and anything else in braces a token by its text, such as
    `{<fim_prefix>}`. The values are not looked at for keys, and a brace that is not
    closed is text.

    Raises `ValueError` for the keys of a chat, and for a token by its number (`{#64790}`):
    a text cannot say either.
    """
    values = {
        "code_prefix": code.prefix,
        "code_suffix": code.suffix,
        "code_language": code.language,
        "code_file_path": code.path,
        "bos": "",
        **_CHARACTERS,
    }

    def value(match: re.Match[str]) -> str:
        key = match[1]
        if _CHAT.fullmatch(key) or re.fullmatch(r"#\d+", key):
            raise ValueError(f"a template for code cannot have {match[0]}")
        return values.get(key, key)

    return _KEY.sub(value, template)


TEMPLATES: Mapping[str, str] = {
    "starcoder2-3b": (
        r"{<file_sep>}{<fim_prefix>}{code_file_path}{\n}{code_prefix}"
        r"{<fim_suffix>}{code_suffix}{<fim_middle>}"
    ),
    "codeqwen1.5_7b": r"{<fim_prefix>}{code_prefix}{<fim_suffix>}{code_suffix}{<fim_middle>}",
    "code_llama2_instruct_7b": r"{bos}#language: {code_language}{\n}{code_prefix}",
    "deepseek_coder_7b": (r"{<｜begin▁of▁sentence｜>}# language: {code_language}{\n}{code_prefix}"),
    # Without the numbers of [gMASK] and sop, which this model's tokenizer puts in front.
    "codegeex2-6b": r" #language:{code_language}{\n}{code_prefix}",
    "stories_15m.llama2_c": (
        r"{bos}#lang: {code_language}{\n}#filepath: {code_file_path}{\n}{code_prefix}"
    ),
}
"""Templates by the model's name in CodeInferflow's configuration."""
