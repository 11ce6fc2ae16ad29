"""Meta information inside of a prompt, and templates."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmount.dialects.infill import TEMPLATES, Code, parse, render

SORT = Code("def quicksort(", ")", "Python", "~/code/sort.py")


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("def quicksort(", Code("def quicksort(")),
        ("", Code()),
        ("# Language: Python\n# Path: ~/code/sort.py\ndef quicksort( <SUF> ) <MID>", SORT),
        (
            "<PRE> # Language: Python\n# Path: /a/b.py\ndef f( <SUF> ):\n  pass <MID>",
            Code("def f(", "):\n  pass", "Python", "/a/b.py"),
        ),
        ("# Language: Python\nf( <SUF>  <MID>", Code("f(", "", "Python")),
        (
            "<PRE> // Language: Typescript\n// Path: x.ts\nlet x <SUF> ; <MID>",
            Code("<PRE> // Language: Typescript\n// Path: x.ts\nlet x", ";"),
        ),
        ("# Path: a.py\nx <SUF> y <MID>", Code("x", "y", path="a.py")),
        ("# Path: a.py\n# Language: Python\nx", Code("# Language: Python\nx", path="a.py")),
        ("x <SUF> y", Code("x", "y")),
        ("x <SUF>y <MID>", Code("x <SUF>y <MID>")),
        ("x <MID>", Code("x <MID>")),
        ("x <SUF> y <MID> z", Code("x", "y")),
        ("x <SUF> y <SUF> z", Code("x", "y <SUF> z")),
        ("# Language: Python", Code("# Language: Python", language="Python")),
        (
            "# Language: Python\n# Path: a.py",
            Code("# Language: Python\n# Path: a.py", "", "Python", "a.py"),
        ),
        (
            "# Language: Python\r\n# Path: a.py\r\nx <SUF> y",
            Code("x", "y", "Python\r", "a.py\r"),
        ),
        ("a <MID> b <SUF> c <MID>", Code("a <MID> b", "c")),
        ("# Language: <SUF> b\nx <SUF> y", Code("x", "y", "<SUF> b")),
        ("x\n# Language: Python\n", Code("x\n# Language: Python\n")),
        ("# language: Python\nx", Code("# language: Python\nx")),
    ],
)
def test_a_prompt_tells_code(prompt: str, code: Code) -> None:
    assert parse(prompt) == code


_LANGUAGE = re.compile(r"\A[^\n]*?# Language: ([^\n]*)\n")
_PATH = re.compile(r"\A[^\n]*?# Path: ([^\n]*)\n")
_GAP = re.compile(r"\A(.*?) <SUF> (.*?)(?: <MID>.*)?\Z", re.DOTALL)


@given(
    st.lists(
        st.sampled_from(["# Language: ", "# Path: ", " <SUF> ", " <MID>", " ", "x", "<PRE>", "\n"])
    ).map("".join)
)
def test_parsing_agrees_with_regular_expressions(prompt: str) -> None:
    prompt += "\nend"  # so that every line of a header ends
    found, rest = ["", ""], prompt
    for number, header in enumerate((_LANGUAGE, _PATH)):
        if match := header.match(rest):
            found[number], rest = match[1], rest[match.end() :]
    gap = _GAP.match(rest)
    prefix, suffix = gap.groups() if gap else (rest, "")

    assert parse(prompt) == Code(prefix, suffix, *found)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{code_language}|{code_file_path}|{code_prefix}", "Python|~/code/sort.py|def quicksort("),
        ("{code_suffix}", ")"),
        (r"{bos}a{\n}b{\t}", "a\nb\t"),
        ("{<fim_prefix>}{<｜begin▁of▁sentence｜>}", "<fim_prefix><｜begin▁of▁sentence｜>"),
        ("{code_prefix", "{code_prefix"),
        ("a } b {", "a } b {"),
        ("{Code_Prefix}{ code_prefix }", "Code_Prefix code_prefix "),
        ("{}", ""),
        ("", ""),
    ],
)
def test_a_template_is_filled_in(template: str, text: str) -> None:
    assert render(template, SORT) == text


def test_values_are_not_looked_at_for_keys() -> None:
    code = Code("{code_suffix}", r"{\n}", "{query}")
    assert render("{code_prefix}{code_suffix}{code_language}", code) == r"{code_suffix}{\n}{query}"


@pytest.mark.parametrize(
    "key",
    ["query", "_question", "system_prompt", "res_prefix", "answer", "eos", "user_token", "#64790"],
)
def test_what_a_template_for_code_cannot_have_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"cannot have {{{key}}}")):
        render(f"a{{{key}}}b", SORT)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (
            "starcoder2-3b",
            "<file_sep><fim_prefix>~/code/sort.py\ndef quicksort(<fim_suffix>)<fim_middle>",
        ),
        ("codeqwen1.5_7b", "<fim_prefix>def quicksort(<fim_suffix>)<fim_middle>"),
        ("code_llama2_instruct_7b", "#language: Python\ndef quicksort("),
        ("deepseek_coder_7b", "<｜begin▁of▁sentence｜># language: Python\ndef quicksort("),
        ("codegeex2-6b", " #language:Python\ndef quicksort("),
        ("stories_15m.llama2_c", "#lang: Python\n#filepath: ~/code/sort.py\ndef quicksort("),
    ],
)
def test_the_known_models_are_asked_as_they_want(model: str, text: str) -> None:
    assert render(TEMPLATES[model], SORT) == text
