"""Items to bytes and back, however the bytes are cut up."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmount.framing import (
    FRAMINGS,
    Framing,
    FramingError,
    framing_of,
)

SSE = framing_of("text/event-stream")
NDJSON = framing_of("application/x-ndjson")

texts = st.text()
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
data = st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]))
names = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))
events = st.fixed_dictionaries(
    {"data": data}, optional={"event": names, "id": names, "retry": st.integers(0, 10**9)}
)


def decode(framing: Framing, chunks: list[bytes], limit: int = 1000) -> tuple[list[Any], bool]:
    """The items of a stream, and whether it ended in an error."""
    decoder = framing.decoder(limit)
    items: list[Any] = []
    try:
        for chunk in chunks:
            items += decoder.feed(chunk)
        items += decoder.close()
    except FramingError:
        return items, True
    return items, False


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(marks)]


cuts = st.lists(st.integers(0, 10_000), max_size=8)


@pytest.mark.parametrize("name", ["text/event-stream", "Text/Event-Stream ; charset=utf-8"])
def test_a_framing_is_found_by_the_essence_of_its_media_type(name: str) -> None:
    assert framing_of(name) is FRAMINGS["text/event-stream"]


def test_a_media_type_that_is_not_sequential_has_no_framing() -> None:
    with pytest.raises(KeyError):
        framing_of("application/json")


@given(st.lists(values, max_size=5), cuts)
def test_ndjson_decodes_what_it_encoded(items: list[Any], places: list[int]) -> None:
    stream = b"".join(map(NDJSON.encode, items))
    assert decode(NDJSON, cut(stream, places), 10**6) == (items, False)


@given(st.lists(events, max_size=5), cuts)
def test_events_decode_to_what_was_encoded(items: list[Any], places: list[int]) -> None:
    stream = b"".join(map(SSE.encode, items))
    assert decode(SSE, cut(stream, places), 10**6) == (items, False)


pieces = st.sampled_from(
    [
        *(b"data: a", b"data:", b"data", b": note", b"event: e", b"id: 1", b"retry: 5"),
        *(b"\r", b"\n", b"\r\n", b"\n\n", b"\r\r", "data: \u20ac\U0001f600".encode(), b"\xff"),
        *(b"\xef\xbb\xbf", b"{}", b'{"a":1}', b" ", b"nonsense: x", b"retry: x", b"x" * 40),
    ]
)


@given(st.lists(pieces, max_size=20).map(b"".join), cuts)
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", [8])
@example(b"\xef\xbb\xbfdata: a\n\n", [1, 2])
@example("data: \u20ac\n\n".encode(), [7, 8])
@pytest.mark.parametrize("framing", [SSE, NDJSON], ids=lambda framing: framing.media_type)
def test_the_way_bytes_are_cut_up_changes_nothing(
    framing: Framing, stream: bytes, places: list[int]
) -> None:
    whole = decode(framing, [stream], 50)
    assert decode(framing, cut(stream, places), 50) == whole
    assert decode(framing, [bytes([byte]) for byte in stream], 50) == whole


@pytest.mark.parametrize(
    ("stream", "items"),
    [
        (b"data: a\n\n", [{"data": "a"}]),
        (b"data:a\r\rdata:b\r\n\r\n", [{"data": "a"}, {"data": "b"}]),
        (b"data: a\ndata:  b\ndata\n\n", [{"data": "a\n b\n"}]),
        (b"\xef\xbb\xbfdata: a\n\n", [{"data": "a"}]),
        (b": keep-alive\n\ndata: a\n: in between\n\n", [{"data": "a"}]),
        (
            b"retry: 10\nid: 7\nevent: e\ndata: a\n\n",
            [{"data": "a", "event": "e", "id": "7", "retry": 10}],
        ),
        (b"event: e\n\nid: 7\n\nretry: 10\n\n", []),
        (b"event: e\n\ndata: a\n\n", [{"data": "a"}]),
        (b"data:\n\n", [{"data": ""}]),
        (b"data: a\nid: x\0y\nretry: -1\nother: z\n\n", [{"data": "a"}]),
        (b"data: a\n\n\n\n", [{"data": "a"}]),
        (b"data: a\n", [{"data": "a"}]),
        ("data: \u2028\x85\n\n".encode(), [{"data": "\u2028\x85"}]),
    ],
)
def test_an_event_stream_is_read_as_the_standard_has_it(stream: bytes, items: list[Any]) -> None:
    assert decode(SSE, [stream]) == (items, False)


@pytest.mark.parametrize(
    ("stream", "items"),
    [
        (b'{"a":1}\n{"a":2}\n', [{"a": 1}, {"a": 2}]),
        (b'{"a":1}\r\n\r\n\n {"a":2}', [{"a": 1}, {"a": 2}]),
        (b"\xef\xbb\xbf1\n", [1]),
        ('"\u2028\x85"\n'.encode(), ["\u2028\x85"]),
    ],
)
def test_lines_of_json_are_read_leniently(stream: bytes, items: list[Any]) -> None:
    assert decode(NDJSON, [stream]) == (items, False)


@pytest.mark.parametrize(
    ("framing", "stream"),
    [
        (NDJSON, b'{"a":'),
        (NDJSON, b"<html>\n"),
        (NDJSON, b"NaN\n"),
        (NDJSON, b"1e999\n"),
        (NDJSON, b'"\xff"\n'),
        (NDJSON, b"[" * 100_000 + b"\n"),
        (SSE, b"data: a"),
        (SSE, b"data: \xff\n\n"),
    ],
)
def test_what_is_garbled_or_cut_off_is_an_error(framing: Framing, stream: bytes) -> None:
    assert decode(framing, [stream], 10**6) == ([], True)


def test_items_before_a_fault_are_handed_out_before_the_error() -> None:
    decoder = NDJSON.decoder()

    assert decoder.feed(b"1\n2\n!\n3\n") == [1, 2]
    with pytest.raises(FramingError):
        decoder.feed(b"4\n")


@pytest.mark.parametrize(
    ("framing", "unit"), [(NDJSON, b" "), (SSE, b"data: x\n"), (SSE, b"data"), (SSE, b"event: x\n")]
)
def test_a_frame_that_never_ends_does_not_fill_the_memory(framing: Framing, unit: bytes) -> None:
    decoder = framing.decoder(1000)

    with pytest.raises(FramingError, match="1000"):  # noqa: PT012
        for _ in range(1001):
            decoder.feed(unit)


def test_comments_may_go_on_for_ever() -> None:
    decoder = SSE.decoder(100)

    assert [decoder.feed(b": still here\n") for _ in range(100)] == [[]] * 100
    assert decoder.feed(b"data: a\n\n") == [{"data": "a"}]


def test_line_ends_in_data_become_lines_of_data() -> None:
    assert SSE.encode({"data": "a\nb\r\nc\rd"}) == b"data: a\ndata: b\ndata: c\ndata: d\n\n"


@pytest.mark.parametrize(
    "event",
    [{"data": "", "event": "a\nb"}, {"data": "", "id": "\0"}, {"data": "", "retry": -1}],
)
def test_a_field_that_would_break_the_frame_is_refused(event: Any) -> None:
    with pytest.raises(ValueError, match="field"):
        SSE.encode(event)


def test_half_a_surrogate_pair_survives_as_an_escape() -> None:
    assert NDJSON.encode("\ud83d") == b'"\\ud83d"\n'
    assert NDJSON.decoder().feed(b'"\\ud83d"\n') == ["\ud83d"]
