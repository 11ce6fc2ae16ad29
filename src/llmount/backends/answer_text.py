"""The text of an answer and the tool calls in it, out of the bytes of its tokens."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterator, Sequence

from ..types import Event, FinishReason, TextDelta, TokenLogprob
from .tool_calls import ToolCallReader

__all__ = ["AnswerEvents", "AnswerText"]


class AnswerText:
    """Turns tokens into deltas of whole characters and watches for stop sequences.

    Text that may be the beginning of a stop sequence is held back until that is decided;
    a stop sequence itself is never part of a delta. Bytes that are not UTF-8 become U+FFFD.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._stops = [sequence for sequence in stop if sequence]
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._told = 0
        self._logprobs: deque[tuple[int, TokenLogprob]] = deque()
        self.stopped = False

    def add(self, data: bytes, logprob: TokenLogprob | None = None) -> TextDelta | None:
        """Take a token's bytes; return what can be told by now. Not after `stopped`."""
        if logprob is not None:
            self._logprobs.append((self._told + len(self._held), logprob))
        return self._advance(self._decoder.decode(data), last=False)

    def close(self) -> TextDelta | None:
        """What was held back, when no more tokens come."""
        if self.stopped:
            return None
        return self._advance(self._decoder.decode(b"", final=True), last=True)

    def _advance(self, text: str, *, last: bool) -> TextDelta | None:
        self._held += text
        found = [at for at in map(self._held.find, self._stops) if at >= 0]
        if found:
            self.stopped = True
            return self._tell(min(found), everything=False)
        return self._tell(len(self._held) - (0 if last else self._undecided()), everything=last)

    def _undecided(self) -> int:
        """The length of the longest end of the text that a stop sequence begins with."""
        return max(
            (
                length
                for sequence in self._stops
                for length in range(1, min(len(sequence), len(self._held) + 1))
                if self._held.endswith(sequence[:length])
            ),
            default=0,
        )

    def _tell(self, length: int, *, everything: bool) -> TextDelta | None:
        text, self._held = self._held[:length], self._held[length:]
        self._told += length
        logprobs = []
        while self._logprobs and (everything or self._logprobs[0][0] < self._told):
            logprobs.append(self._logprobs.popleft()[1])
        return TextDelta(text, tuple(logprobs)) if text or logprobs else None


class AnswerEvents:
    """The events of an answer: its text, and the calls that are read out of it.

    calls: what reads them, None where no tools are offered. most_calls: how many there may
    be. over: a stop sequence has come, or the last call.
    """

    def __init__(
        self,
        stop: Sequence[str],
        calls: ToolCallReader | None = None,
        *,
        most_calls: int | None = None,
    ) -> None:
        self._text = AnswerText(stop)
        self._calls = calls
        self._most_calls = most_calls

    @property
    def over(self) -> bool:
        return self._text.stopped or (
            self._calls is not None and self._calls.complete == self._most_calls
        )

    def reason(self, reason: FinishReason) -> FinishReason:
        """Why the answer ended, of which the engine says "stop" or "length"."""
        called = self._calls is not None and self._calls.begun
        return "tool_calls" if called and reason == "stop" else reason

    def add(self, data: bytes, logprob: TokenLogprob | None = None) -> Iterator[Event]:
        """Take a token's bytes; what can be told by now. Not after `over`."""
        return self._read(self._text.add(data, logprob))

    def close(self, *, cut: bool = False) -> Iterator[Event]:
        """What was held back, when no more tokens come. cut: as there may be no more."""
        yield from self._read(self._text.close())
        if self._calls is not None:
            yield from self._calls.close(cut=cut)

    def _read(self, delta: TextDelta | None) -> Iterator[Event]:
        if delta is None:
            return
        if self._calls is None:
            yield delta
        else:
            yield from self._calls.read(delta)
