"""Deltas out of the bytes of tokens."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import pytest

from llmount.backends.answer_text import AnswerText
from llmount.types import TokenLogprob


def told(chunks: Iterable[bytes], stop: Sequence[str] = ()) -> tuple[list[str], bool]:
    text, deltas = AnswerText(stop), []
    for chunk in chunks:
        deltas.append(text.add(chunk))
        if text.stopped:
            break
    deltas.append(text.close())
    return [delta.text for delta in deltas if delta is not None], text.stopped


@pytest.mark.parametrize("stop", [("cde",), ("e", "cde"), ("cde", "cdeX"), ("cdeX", "de", "cde")])
def test_a_stop_sequence_is_found_however_the_text_is_cut(stop: tuple[str, ...]) -> None:
    whole = b"abcdef"
    expected = "abcdef"[: min(at for at in map("abcdef".find, stop) if at >= 0)]
    for cuts in itertools.product([False, True], repeat=len(whole) - 1):
        chunks, start = [], 0
        for place, cut in enumerate(cuts, 1):
            if cut:
                chunks.append(whole[start:place])
                start = place
        text, stopped = told([*chunks, whole[start:]], stop)
        # A shorter sequence may end the answer before a longer one is complete.
        assert stopped
        assert "".join(text) in {expected, "abcd", "abc", "ab"}
        assert "".join(text) == expected or len(stop) > 1


def test_text_that_might_begin_a_stop_sequence_waits() -> None:
    assert told([b"a", b"b", b"c", b"x"], ["bcd"]) == (["a", "bcx"], False)
    assert told([b"ab"], ["bcd"]) == (["a", "b"], False)


def test_characters_are_never_split() -> None:
    data = "é日🎉".encode()
    assert told([data[i : i + 1] for i in range(len(data))]) == (["é", "日", "🎉"], False)


def test_bytes_that_are_not_text_are_replaced() -> None:
    assert told([b"a\xff", b"b", b"\xe6\x97"]) == (["a\ufffd", "b", "\ufffd"], False)


def test_an_empty_stop_sequence_stops_nothing() -> None:
    assert told([b"ab"], [""]) == (["ab"], False)


def test_a_log_probability_comes_with_the_text_of_its_token() -> None:
    text = AnswerText(["cd"])
    names = []
    for token in (b"a", b"\xc3", b"\xa9", b"c", b"x"):
        delta = text.add(token, TokenLogprob(repr(token), -1.0))
        names.append((delta.text, [each.token for each in delta.logprobs]) if delta else None)
    assert names == [
        ("a", ["b'a'"]),
        None,
        ("é", ["b'\\xc3'", "b'\\xa9'"]),
        None,
        ("cx", ["b'c'", "b'x'"]),
    ]


def test_tokens_behind_a_stop_sequence_are_not_reported() -> None:
    text = AnswerText(["bc"])
    first = text.add(b"a", TokenLogprob("a", 0.0))
    assert first is not None
    assert text.add(b"b", TokenLogprob("b", 0.0)) is None
    assert text.add(b"c", TokenLogprob("c", 0.0)) is None
    assert text.stopped
    assert text.close() is None
