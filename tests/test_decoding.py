"""Bytes of a request to a value, or to the reason why there is none."""

import pytest

from llmount.decoding import decode
from llmount.errors import MalformedBody


@pytest.mark.parametrize(
    ("body", "reason", "position", "found"),
    [
        pytest.param(b"", "empty", 0, "", id="nothing"),
        pytest.param("\u00a0\n".encode(), "empty", 0, "", id="white space of any kind"),
        pytest.param(b'{"a": x}', "syntax", 6, "x", id="a stray letter"),
        pytest.param('{"é": x}'.encode(), "syntax", 6, "x", id="counted in characters"),
        pytest.param(b"{} {}", "syntax", 3, "{", id="a second value"),
        pytest.param(b"\xef\xbb\xbf{}", "syntax", 0, "\ufeff", id="a byte order mark"),
        pytest.param(b'{"a": ', "truncated", 6, "", id="a value that is missing"),
        pytest.param(b'{"a": "b', "truncated", 6, '"', id="a string without end"),
        pytest.param(b'"\xff"', "encoding", 1, "", id="a byte that is no UTF-8"),
        pytest.param(b'"\\ud83d"', "encoding", 0, "", id="half a surrogate pair"),
        pytest.param(b'{"a": NaN}', "number", 0, "", id="NaN"),
        pytest.param(b"[-Infinity]", "number", 0, "", id="infinity"),
        pytest.param(b"1e400", "number", 0, "", id="too large a float"),
        pytest.param(b"9" * 5000, "number", 0, "", id="too large an integer"),
        pytest.param(b"[" * 129 + b"]" * 129, "depth", 0, "", id="one level too many"),
        pytest.param(b"[" * 100_000, "depth", 0, "", id="more levels than Python can follow"),
    ],
)
def test_a_body_that_cannot_be_decoded_says_why_and_where(
    body: bytes, reason: str, position: int, found: str
) -> None:
    with pytest.raises(MalformedBody) as caught:
        decode(body)

    error = caught.value
    assert (error.reason, error.position, error.found) == (reason, position, found)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b' {"a": [1, 2.5, null]}\n', {"a": [1, 2.5, None]}),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"' + b"[" * 200 + b'"', "[" * 200),
        (b"[" + b"[]," * 200 + b"[]]", [[]] * 201),
    ],
)
def test_a_body_that_only_looks_odd_is_decoded(body: bytes, value: object) -> None:
    assert decode(body) == value


def test_the_deepest_level_is_allowed() -> None:
    value = decode(b"[" * 128 + b"]" * 128)

    assert isinstance(value, list)
