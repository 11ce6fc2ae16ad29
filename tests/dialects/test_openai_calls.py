"""The text of a custom tool's call, out of the JSON that the model writes."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmount.dialects.openai_calls import InputText

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def told(*pieces: str) -> list[str]:
    """What each piece completes, and what is left."""
    text = InputText()
    return [*map(text.feed, pieces), text.rest()]


@given(TEXTS, st.booleans(), st.lists(st.integers(0, 200), max_size=5))
def test_however_the_arguments_are_cut_the_text_is_the_same(
    text: str, escaped: bool, cuts: list[int]
) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=escaped)
    places = sorted({0, len(arguments), *(cut for cut in cuts if cut < len(arguments))})

    assert "".join(told(*(arguments[a:b] for a, b in pairwise(places)))) == text


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (['{"input": "ab', 'c"}'], ["ab", "c", ""]),
        ([' { "input"', ' : "a"', " }"], ["", "a", "", ""]),
        (['{"input": "a\\', 'n"}'], ["a", "\n", ""]),
        (['{"input": "\\ud83d', '\\ude42"}'], ["", "🙂", ""]),
        (['{"input": "one\ntwo\t"}'], ["one\ntwo\t", ""]),
        (['{"input": "a", "more": 1}'], ["a", ""]),
        (["ls -a"], ["", "ls -a"]),
        (['{"command": "ls"}'], ["", '{"command": "ls"}']),
        (['{"input": 5}'], ["", '{"input": 5}']),
        (['{"input": "a\\ud83d"}'], ["a", '\\ud83d"}']),
        (['{"input": "a\\x"}'], ["a", '\\x"}']),
        (['{"input": "cut'], ["cut", ""]),
        ([], [""]),
    ],
)
def test_the_text_is_told_as_soon_as_it_is_known(pieces: list[str], expected: list[str]) -> None:
    assert told(*pieces) == expected
