"""What an answer means: the settings are kept, the counts agree, both forms say the same."""

from __future__ import annotations

from dataclasses import replace

from ..clients import breaks
from ..probe import Inapplicable, Probe
from ..recording import Recording
from ..registry import Skip, check
from ..said import Ask, Said, Tokens, Word
from ..verdict import Severity
from .answers import PLAIN, REFERENCE

_STREAMED = replace(PLAIN, stream=True)

_FINISHES = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})


@check(
    "semantics.same-text",
    "A question with temperature 0 and a seed is answered the same, streamed or not",
    severity=Severity.ADVICE,
    source=REFERENCE,
)
async def same_text(probe: Probe) -> None:
    ask = replace(PLAIN, seed=7) if "seed" in probe.api.knows else PLAIN
    whole = await probe.said(ask)
    again = await probe.said(ask, fresh=True)
    if whole.text != again.text:
        raise Skip("the server does not answer the same question the same way twice")
    recording = await probe.answered(replace(ask, stream=True))
    streamed = probe.read(recording)
    if streamed.text != whole.text:
        probe.found(f"streamed {_cut(streamed.text)!r}, whole {_cut(whole.text)!r}", recording)


@check(
    "semantics.text",
    "An answer to a plain question has a text",
    source=REFERENCE,
    breaks=breaks("no-text"),
)
async def text(probe: Probe) -> None:
    for recording, said in await _both(probe, PLAIN):
        if said.text or said.reasoning:
            continue
        # A model may end before its first word, and count that.
        if said.finish == "stop" and said.tokens.completion in (0, 1):
            raise Skip("the model says nothing to a plain question")
        probe.found("there is no text", recording)


@check(
    "semantics.finish",
    "An answer says why it ended",
    source=REFERENCE,
    breaks=breaks("no-finish"),
)
async def finish(probe: Probe) -> None:
    _tells(probe, "finish")
    for recording, said in await _both(probe, PLAIN):
        if not said.finish:
            probe.found("it does not say why it ended", recording, _last(recording))


@check(
    "semantics.finish-word",
    "An answer says why it ended in one of the words for it",
    source=REFERENCE,
    breaks=breaks("odd-finish"),
)
async def finish_word(probe: Probe) -> None:
    for recording, said in await _both(probe, PLAIN):
        if said.finish and said.finish not in _FINISHES:
            probe.found(f"it ended for {said.finish!r}", recording, _last(recording))


_STORY = Ask(text="Tell me a long story about a king and a dragon.", max_tokens=16)


@check(
    "semantics.length",
    "An answer has no more tokens than it may",
    source=REFERENCE,
    breaks=breaks("limit-passed"),
)
async def length(probe: Probe) -> None:
    _limited(probe)
    for recording, said in await _both(probe, _STORY):
        count, limit = said.tokens.completion, _STORY.max_tokens or 0
        words = len(said.text.split())
        # Some count the token that ends the answer.
        if count is not None and count > limit + 1:
            probe.found(f"{count} tokens were written, not {limit}", recording)
        elif words > 2 * limit:
            # Few tokens are more than a word.
            probe.found(f"{words} words were written, not {limit} tokens", recording)


@check(
    "semantics.length-finish",
    "An answer that reaches the limit of tokens says so",
    source=REFERENCE,
    breaks=breaks("cut-untold"),
)
async def length_finish(probe: Probe) -> None:
    _limited(probe)
    # An answer may happen to be as long as it may be, but hardly twice.
    limits = (16, 21)
    asks = [replace(_STORY, max_tokens=limit) for limit in limits]
    forms: list[list[tuple[Recording, Said]]] = [await _both(probe, ask) for ask in asks]
    for answers in zip(*forms, strict=True):
        counts = [said.tokens.completion for _, said in answers]
        finishes = {said.finish for _, said in answers}
        recording = answers[0][0]
        if tuple(counts) == limits and finishes == {"stop"}:
            probe.found(f"all {limits[0]} tokens were used, but it ended for 'stop'", recording)
        for limit, (recording, said) in zip(limits, answers, strict=True):
            count = said.tokens.completion
            early = count is not None and count < limit - 1 and not said.reasoning
            if said.finish == "length" and early:
                probe.found(f"it ended for 'length' after {count} of {limit} tokens", recording)


@check(
    "semantics.stop",
    "An answer ends before a stop sequence, which is not in it",
    source=REFERENCE,
    breaks=breaks("stop-ignored"),
)
async def stop(probe: Probe) -> None:
    usual = await probe.said(PLAIN)
    words = usual.text.split()
    if len(words) < 3:
        raise Skip("the usual answer is too short to be stopped")
    sequence = words[len(words) // 2]
    for recording, said in await _both(probe, replace(PLAIN, stop=(sequence,))):
        if sequence in said.text:
            probe.found(f"{sequence!r} is in the answer", recording)
        # Another text than the usual one may have had nothing to stop at.
        before = usual.text.partition(sequence)[0]
        if said.finish not in ("stop", "") and said.text.strip() == before.strip():
            probe.found(f"it ended for {said.finish!r}, not 'stop'", recording)


@check(
    "semantics.seed",
    "A seed makes an answer repeatable, also at a high temperature",
    severity=Severity.ADVICE,
    source=REFERENCE,
)
async def seed(probe: Probe) -> None:
    ask = replace(PLAIN, seed=42, temperature=1.0)
    first = await probe.said(ask)
    recording = await probe.answered(ask, fresh=True)
    again = probe.read(recording)
    if first.text != again.text:
        probe.found(
            f"with one seed it said {_cut(first.text)!r} and {_cut(again.text)!r}", recording
        )


@check(
    "semantics.n",
    "As many answers come as were asked for",
    source=REFERENCE,
    breaks=breaks("answers-missing"),
)
async def several(probe: Probe) -> None:
    for recording, said in await _both(probe, replace(PLAIN, n=3)):
        if len(said.choices) != 3:
            probe.found(f"there are {len(said.choices)} answers, not 3", recording)
        elif any(said.choices) and not all(said.choices):
            probe.found("an answer has no text", recording)


@check(
    "semantics.usage",
    "The tokens are counted",
    source=REFERENCE,
    breaks=breaks("no-usage"),
)
async def usage(probe: Probe) -> None:
    for recording, said in await _counted(probe):
        if said.tokens == Tokens():
            probe.found("there are no token counts", recording, _last(recording))


@check(
    "semantics.counts",
    "The token counts add up",
    source=REFERENCE,
)
async def counts(probe: Probe) -> None:
    for recording, said in await _counted(probe):
        tokens = said.tokens
        if tokens == Tokens():
            continue
        if said.text and not tokens.completion:
            probe.found("there is a text, but no tokens were counted for it", recording)
        if tokens.total is not None:
            together = (tokens.prompt or 0) + (tokens.completion or 0)
            if tokens.total != together:
                probe.found(f"the total is {tokens.total}, the parts are {together}", recording)


async def _counted(probe: Probe) -> list[tuple[Recording, Said]]:
    """Answers in both forms that ought to have token counts. Raises `Inapplicable`."""
    _tells(probe, "tokens")
    knows = "usage" in probe.api.knows
    return await _both(probe, PLAIN, replace(_STREAMED, usage=knows))


@check(
    "semantics.same-usage",
    "The same answer is counted the same, streamed or not",
    severity=Severity.ADVICE,
    source=REFERENCE,
)
async def same_usage(probe: Probe) -> None:
    _tells(probe, "tokens")
    knows = "usage" in probe.api.knows
    whole = await probe.said(PLAIN)
    recording = await probe.answered(replace(_STREAMED, usage=knows))
    streamed = probe.read(recording)
    if whole.text != streamed.text:
        raise Skip("the two forms do not say the same")
    if None in (whole.tokens.completion, streamed.tokens.completion):
        raise Skip("one of the two forms has no token counts")
    if whole.tokens.completion != streamed.tokens.completion:
        probe.found(
            f"streamed {streamed.tokens.completion} tokens, whole {whole.tokens.completion}",
            recording,
        )


@check(
    "semantics.more-prompt",
    "A longer prompt counts more tokens",
    severity=Severity.ADVICE,
    source=REFERENCE,
)
async def more_prompt(probe: Probe) -> None:
    _tells(probe, "tokens")
    short = await probe.said(PLAIN)
    longer = await probe.answered(replace(PLAIN, text=PLAIN.text + " And then back again." * 8))
    said = probe.read(longer)
    if short.tokens.prompt is None or said.tokens.prompt is None:
        raise Skip("the prompt's tokens are not counted")
    if said.tokens.prompt <= short.tokens.prompt:
        probe.found(
            f"{short.tokens.prompt} tokens, and {said.tokens.prompt} for the longer one", longer
        )


@check(
    "semantics.durations",
    "Durations are not negative, and the parts fit into the whole",
    severity=Severity.STRICT,
    contracts=("generate/ollama", "generate/ajstudioz", "generate/codeinferflow"),
    source="https://docs.ollama.com/api/usage",
)
async def durations(probe: Probe) -> None:
    for recording, said in await _both(probe, PLAIN):
        if not said.durations:
            raise Skip("the answer has no durations")
        total = said.durations.get("total_duration")
        for name, value in said.durations.items():
            if value < 0:
                probe.found(f"{name} is {value:g}", recording, _last(recording))
            elif total is not None and value > total * 1.05 + 5e6:
                probe.found(
                    f"{name} is {value:g}, more than the total of {total:g}",
                    recording,
                    _last(recording),
                )
        if total is not None and total > recording.ended * 1.5e9 + 1e9:
            probe.found(
                f"the total is {total / 1e9:.3f} s, but the answer took {recording.ended:.3f} s",
                recording,
                _last(recording),
            )


@check(
    "semantics.model",
    "An answer names the model that was asked for",
    severity=Severity.ADVICE,
    source=REFERENCE,
)
async def model(probe: Probe) -> None:
    for recording, said in await _both(probe, PLAIN):
        if said.model and said.model != probe.model:
            probe.found(f"it names {said.model!r}", recording)


@check(
    "semantics.logprobs",
    "Log probabilities are there, at most 0, and fit the text",
    source=REFERENCE,
    breaks=breaks("no-logprobs"),
)
async def logprobs(probe: Probe) -> None:
    for recording, said in await _both(probe, replace(PLAIN, logprobs=2)):
        if not said.logprobs:
            probe.found("there are none", recording)
            continue
        for entry in said.logprobs:
            value = entry.get("logprob")
            if not isinstance(value, int | float) or value > 1e-6:
                probe.found(f"a log probability is {value!r}", recording)
                break
            top = entry.get("top_logprobs")
            if not isinstance(top, list) or len(top) > 2:
                probe.found(f"{top!r} are not at most 2 alternatives", recording)
                break
        joined = "".join(str(entry.get("token", "")) for entry in said.logprobs)
        if said.text.strip() and said.text.strip() not in joined and "\ufffd" not in joined:
            probe.found(f"the tokens are {_cut(joined)!r}", recording)


def _limited(probe: Probe) -> None:
    """Raises `Inapplicable` if the API has no word for a limit of tokens."""
    if "max_tokens" not in probe.api.knows:
        raise Inapplicable


def _tells(probe: Probe, word: Word) -> None:
    """Raises `Inapplicable` if the API does not tell this in its answers."""
    if word in probe.api.untold:
        raise Inapplicable


async def _both(probe: Probe, *asks: Ask) -> list[tuple[Recording, Said]]:
    """The answers to questions; to one alone, in both of its forms."""
    forms = asks if len(asks) > 1 else (asks[0], replace(asks[0], stream=True))
    answers = []
    for ask in forms:
        form = "stream" if ask.stream else "whole"
        if form in probe.api.knows:
            recording = await probe.answered(ask)
            answers.append((recording, probe.read(recording)))
    return answers


def _last(recording: Recording) -> int | None:
    return len(recording.items) - 1 if recording.items else None


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:60] + "…"
