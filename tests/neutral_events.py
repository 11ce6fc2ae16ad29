"""Valid sequences of neutral events, as Hypothesis strategies, and what they come to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, get_args

from hypothesis import strategies as st

from llmount.dialects.logprobs import LEAST
from llmount.jsontext import dumps, loads
from llmount.types import (
    Event,
    Finish,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    Timings,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)

__all__ = ["Call", "events", "merged"]

_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Half a surrogate pair is no text.
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
_logprob = st.floats(LEAST, 0)
_bytes = st.none() | st.binary(min_size=1, max_size=4)
_tokens = st.builds(
    TokenLogprob,
    st.text(max_size=4),
    _logprob,
    _bytes,
    st.lists(st.builds(TokenLogprob, st.text(max_size=4), _logprob, _bytes), max_size=2).map(tuple),
)
_texts = st.builds(TextDelta, st.text(), st.lists(_tokens, max_size=2).map(tuple))
_reasoning = st.builds(ReasoningDelta, st.text())
_names = st.text(min_size=1, max_size=8)
_counts = st.integers(0, 2**40)


@st.composite
def _call(draw: st.DrawFn) -> list[ToolCallDelta]:
    """A call's deltas; their index is to be set."""
    text = dumps(draw(st.dictionaries(st.text(), _values, max_size=3)))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
    first, *others = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    begin = ToolCallDelta(0, draw(_names), draw(_names), first)
    return [begin, *(ToolCallDelta(0, arguments=piece) for piece in others)]


@st.composite
def _deltas(draw: st.DrawFn) -> list[Event]:
    """Text, reasoning and calls in any order, even with one call's deltas in another's."""
    tracks: list[list[Any]] = [draw(st.lists(_texts | _reasoning, max_size=5))]
    tracks += draw(st.lists(_call(), max_size=3))
    turns = draw(st.permutations([n for n, track in enumerate(tracks) for _ in track]))
    indexes: dict[int, int] = {}
    found: list[Event] = []
    for turn in turns:
        event = tracks[turn].pop(0)
        if isinstance(event, ToolCallDelta):
            event = replace(event, index=indexes.setdefault(turn, len(indexes)))
        found.append(event)
    return found


_usages = st.builds(Usage, prompt=_counts, completion=_counts, cached=_counts, reasoning=_counts)
_finishes = st.builds(
    Finish,
    reason=st.sampled_from(get_args(FinishReason)),
    usage=_usages,
    timings=st.builds(Timings, load=_counts, prompt=_counts, completion=_counts),
    context=st.lists(st.integers(0, 2**31), max_size=4).map(tuple),
)


@st.composite
def events(draw: st.DrawFn) -> list[Event]:
    """What a backend may answer."""
    return [*draw(_deltas()), draw(_finishes)]


@dataclass(frozen=True)
class Call:
    """A whole call, its arguments as a value. A stand-in for an event in what is merged."""

    id: str
    name: str
    arguments: Any


def merged(events: Iterable[Event]) -> list[Any]:
    """The same answer however it was cut: neighbours of a kind are one, calls are whole and
    come last, but for the `Finish`, without what an upstream said of its own. The bytes of
    a token are those of its text unless others are given."""
    said: list[TextDelta | ReasoningDelta] = []
    calls: list[Call] = []
    arguments: dict[int, str] = {}
    finish: Finish | None = None
    for event in events:
        assert finish is None, "an event after the Finish"
        match event:
            case ToolCallDelta(index=index):
                if index not in arguments:
                    assert index == len(arguments)
                    assert event.id is not None
                    assert event.name is not None
                    calls.append(Call(event.id, event.name, None))
                else:
                    assert (event.id, event.name) == (None, None)
                arguments[index] = arguments.get(index, "") + event.arguments
            case Finish():
                finish = replace(event, raw=None)
            case TextDelta(text, logprobs):
                if not text and not logprobs:
                    continue
                filled = tuple(map(_filled, logprobs))
                if said and isinstance(before := said[-1], TextDelta):
                    said[-1] = TextDelta(before.text + text, before.logprobs + filled)
                else:
                    said.append(TextDelta(text, filled))
            case ReasoningDelta(text) if text:
                if said and isinstance(before := said[-1], ReasoningDelta):
                    said[-1] = ReasoningDelta(before.text + text)
                else:
                    said.append(ReasoningDelta(text))
    assert finish is not None, "no Finish"
    whole = [replace(call, arguments=loads(arguments[n])) for n, call in enumerate(calls)]
    return [*said, *whole, finish]


def _filled(token: TokenLogprob) -> TokenLogprob:
    as_bytes = token.token.encode() if token.bytes is None else token.bytes
    return replace(token, bytes=as_bytes or None, top=tuple(map(_filled, token.top)))
