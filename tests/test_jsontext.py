"""JSON text to values and back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmount.jsontext import NotFinite, TooDeep, dumps, dumps_bytes, loads

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_json_is_one_line_for_any_reader(value: Any) -> None:
    text = dumps(value)

    assert len(text.splitlines()) == 1
    assert json.loads(text) == value
    assert loads(text) == value
    assert dumps_bytes(value) == text.encode()


def test_json_is_compact_and_readable() -> None:
    assert dumps({"a": [1, "é\u2028"]}) == '{"a":[1,"é\\u2028"]}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_numbers_that_json_lacks_are_not_written(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        dumps(value)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("NaN", NotFinite),
        ("[-Infinity]", NotFinite),
        ("1e400", NotFinite),
        ("9" * 5000, NotFinite),
        ("[" * 100_000, TooDeep),
        ("", json.JSONDecodeError),
        ("{} {}", json.JSONDecodeError),
    ],
)
def test_text_that_is_not_json_is_refused(text: str, error: type[ValueError]) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        loads(text)

    assert type(caught.value) is error
