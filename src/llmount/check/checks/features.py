"""What can be asked for beside a text: formats, tools, thinking, conversations, settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from ...jsontext import loads
from ...types import JSON
from ...validation import Schema
from ..clients import breaks
from ..probe import Inapplicable, Probe
from ..recording import Recording
from ..registry import Skip, Unsupported, check
from ..said import Ask, Said, Turn
from ..verdict import Severity
from .answers import PLAIN
from .order import CALLING, WEATHER

_FORMATS = "https://platform.openai.com/docs/guides/structured-outputs"
_TOOLS = "https://platform.openai.com/docs/guides/function-calling"
_CHAT = "https://platform.openai.com/docs/api-reference/chat/create"
_THINKING = "https://docs.ollama.com/capabilities/thinking"

_CUT = "the answers were cut off by the limit of tokens"

_VERDICT = {
    "type": "object",
    "properties": {"good": {"type": "boolean"}},
    "required": ["good"],
    "additionalProperties": False,
}

_FORCED = replace(CALLING, stream=False, tool_choice="required")


async def _forms(probe: Probe, ask: Ask) -> AsyncIterator[tuple[Recording, Said]]:
    """What is said to a question whole, and streamed. Raises as `Probe.answered`."""
    for form in (replace(ask, stream=False), replace(ask, stream=True)):
        if ("stream" if form.stream else "whole") in probe.api.knows:
            recording = await probe.answered(form)
            yield recording, probe.read(recording)


async def _values(probe: Probe, ask: Ask) -> AsyncIterator[tuple[Recording, JSON]]:
    """The JSON that is said to a question in both of its forms; what is no JSON is noted,
    what was cut off by the limit of tokens is left out."""
    whole = 0
    async for recording, said in _forms(probe, ask):
        if said.finish == "length":
            continue
        whole += 1
        try:
            yield recording, loads(said.text)
        except ValueError as error:
            probe.found(f"the text is not JSON: {error}: {said.text[:60]!r}", recording)
    if not whole:
        raise Skip(_CUT)


@check(
    "features.json",
    "A text that has to be a JSON object is one",
    source=_FORMATS,
    breaks=breaks("not-the-format"),
)
async def json(probe: Probe) -> None:
    ask = Ask(text='Answer with the JSON object {"good": true}.', json=True, max_tokens=64)
    async for recording, value in _values(probe, ask):
        if not isinstance(value, dict):
            probe.found(f"the text is {value!r}, which is no object", recording)


@check(
    "features.schema",
    "A text that has to fit a JSON Schema fits it",
    source=_FORMATS,
    breaks=breaks("not-the-format"),
)
async def schema(probe: Probe) -> None:
    ask = Ask(text="Is water good? Answer in JSON.", schema=_VERDICT, max_tokens=64)
    async for recording, value in _values(probe, ask):
        for violation in Schema(_VERDICT).violations(value):
            probe.found(violation.message, recording)


async def _called(probe: Probe) -> AsyncIterator[tuple[Recording, Said]]:
    """The answers that call a tool: forced where the API can force, else as the model likes.
    Raises `Skip` if no call came that had not to come."""
    probe.need("tools")
    ask = _FORCED if "tool_choice" in probe.api.knows else replace(_FORCED, tool_choice=None)
    answers = 0
    async for recording, said in _forms(probe, ask):
        if said.calls:
            answers += 1
            yield recording, said
    if not answers:
        raise Skip("the model calls no tool")


@check(
    "features.tool-choice",
    "A tool that has to be called is called",
    source=_TOOLS,
    breaks=breaks("no-forced-call"),
)
async def tool_choice(probe: Probe) -> None:
    probe.need("tools")
    whole = 0
    for choice in ("required", "get_weather"):
        async for recording, said in _forms(probe, replace(_FORCED, tool_choice=choice)):
            whole += bool(said.calls) or said.finish != "length"
            if not said.calls and said.finish != "length":
                probe.found(f"tool_choice {choice!r} gives no call", recording)
    if not whole:
        raise Skip(_CUT)


@check(
    "features.tool-none",
    "No tool is called that must not be",
    source=_TOOLS,
    breaks=breaks("unwanted-call"),
)
async def tool_none(probe: Probe) -> None:
    probe.need("tools")
    async for recording, said in _forms(probe, replace(_FORCED, tool_choice="none")):
        if said.calls:
            probe.found(f"{said.calls[0].name!r} is called", recording)


@check(
    "features.streamed-call",
    "A tool that is called in a whole answer is called in a stream too",
    source="https://github.com/ollama/ollama/issues/12557",
    breaks=breaks("call-lost"),
)
async def streamed_call(probe: Probe) -> None:
    if not {"whole", "stream", "tools"} <= probe.api.knows:
        raise Inapplicable
    probe.need("tools")
    whole = replace(CALLING, stream=False, seed=7 if "seed" in probe.api.knows else None)
    stream = replace(whole, stream=True)
    # A model may call now and not then, but hardly so twice.
    for fresh in (False, True):
        recording = await probe.answered(whole, fresh=fresh)
        if not probe.read(recording).calls:
            raise Skip("the model calls no tool")
        recording = await probe.answered(stream, fresh=fresh)
        if probe.read(recording).calls:
            return
    probe.found("there is no call in the stream", recording)


@check(
    "features.tool-name",
    "A call names one of the tools",
    source=_TOOLS,
    breaks=breaks("unknown-tool"),
)
async def tool_name(probe: Probe) -> None:
    async for recording, said in _called(probe):
        for call in said.calls:
            if call.name not in CALLING.tools:
                probe.found(f"{call.name!r} is called", recording)


@check(
    "features.tool-arguments",
    "The arguments of a call are a JSON object",
    source=_TOOLS,
    breaks=breaks("bad-arguments"),
)
async def tool_arguments(probe: Probe) -> None:
    async for recording, said in _called(probe):
        if said.finish == "length":
            continue
        for call in said.calls:
            if not isinstance(_object(call.arguments), dict):
                probe.found(f"the arguments are {call.arguments[:60]!r}", recording)


@check(
    "features.tool-schema",
    "The arguments of a call fit the parameters of its tool",
    severity=Severity.STRICT,
    source=_TOOLS,
)
async def tool_schema(probe: Probe) -> None:
    async for recording, said in _called(probe):
        for call in said.calls:
            if said.finish != "length" and isinstance(value := _object(call.arguments), dict):
                for violation in Schema(WEATHER).violations(value):
                    probe.found(violation.message, recording)


@check(
    "features.tool-finish",
    "An answer that calls a tool says that it ended for that",
    severity=Severity.STRICT,
    source=_TOOLS,
)
async def tool_finish(probe: Probe) -> None:
    async for recording, said in _called(probe):
        if said.finish not in ("tool_calls", "length"):
            probe.found(f"it ended for {said.finish!r}", recording)


def _object(text: str) -> JSON:
    try:
        return loads(text)
    except ValueError:
        return None


@check(
    "features.thinking",
    "What a model thinks stands apart from what it says",
    severity=Severity.STRICT,
    source=_THINKING,
)
async def thinking(probe: Probe) -> None:
    ask = PLAIN
    if "thinking" in probe.api.knows:
        probe.need("thinking")
        ask = replace(PLAIN, thinking=True)
    async for recording, said in _forms(probe, ask):
        for tag in ("<think>", "</think>"):
            if tag in said.text:
                probe.found(f"{tag} is in the text", recording)


@check(
    "features.no-thinking",
    "A model that must not think does not",
    severity=Severity.STRICT,
    source=_THINKING,
)
async def no_thinking(probe: Probe) -> None:
    async for recording, said in _forms(probe, replace(PLAIN, thinking=False)):
        if said.reasoning:
            probe.found("there is thinking in the answer", recording)


@check(
    "features.history",
    "A conversation is answered",
    source=_CHAT,
    breaks=breaks("history-refused"),
)
async def history(probe: Probe) -> None:
    await probe.answered(PLAIN if "whole" in probe.api.knows else replace(PLAIN, stream=True))
    turns = (Turn("user", "My name is Ada."), Turn("assistant", "Hello Ada."))
    stream = "whole" not in probe.api.knows
    ask = Ask(text="What is my name?", history=turns, stream=stream)
    recording = await probe.ask(ask)
    if recording.status != 200 or recording.fault:
        probe.found(f"it is refused: {probe.told(recording)}", recording)


@check(
    "features.system",
    "Instructions are taken, or refused in words",
    severity=Severity.STRICT,
    source=_CHAT,
)
async def system(probe: Probe) -> None:
    stream = "whole" not in probe.api.knows
    await probe.answered(Ask(system="Be brief.", stream=stream))


# What SDKs send null for, although nothing is meant by it.
_NULLS = (
    "frequency_penalty",
    "presence_penalty",
    "stop",
    "stream_options",
    "seed",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "instructions",
    "logprobs",
    "n",
    "user",
)


@check(
    "features.null",
    "Null means the same as nothing",
    contracts=("chat/openai", "chat/azure", "chat/responses", "generate/ollama"),
    source=_CHAT,
    breaks=breaks("null-refused"),
)
async def null(probe: Probe) -> None:
    plain = await probe.answered(PLAIN)
    names = [name for name in _NULLS if name in probe.operation.fields]
    given = plain.sent if isinstance(plain.sent, dict) else {}
    nulls = dict.fromkeys(name for name in names if name not in given)
    recording = await probe.post({**given, **nulls})
    if recording.status != 200:
        probe.found(f"{', '.join(nulls)}: {probe.told(recording)}", recording)


@check(
    "features.unknown-fields",
    "Fields that nobody knows are ignored",
    severity=Severity.ADVICE,
    source=_CHAT,
)
async def unknown_fields(probe: Probe) -> None:
    await probe.answered(PLAIN)
    recording = await probe.ask(PLAIN, x_of_a_later_release=1)
    if recording.status != 200:
        probe.found(f"they are refused: {probe.told(recording)}", recording)


@check(
    "features.context",
    "The context of an answer carries a conversation on",
    severity=Severity.STRICT,
    contracts=("generate/ollama", "generate/ajstudioz"),
    source="https://docs.ollama.com/api/generate",
)
async def context(probe: Probe) -> None:
    if "context" not in probe.api.knows:
        raise Inapplicable
    first = await probe.answered(PLAIN)
    tokens = probe.read(first).context
    if not tokens:
        raise Unsupported("the answer has no context")
    if not all(isinstance(token, int) for token in tokens):
        probe.found("the context is no list of tokens", first)
        return
    alone = await probe.said(replace(PLAIN, text="And then?"))
    recording = await probe.answered(replace(PLAIN, text="And then?", context=tuple(tokens)))
    said = probe.read(recording)
    if alone.tokens.prompt and said.tokens.prompt and said.tokens.prompt <= alone.tokens.prompt:
        probe.found("a prompt with context has no more tokens than without", recording)
