"""What clients send by habit, and what a server therefore has to take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from ...jsontext import dumps_bytes
from ...testing.reading import listed
from ...types import JSON
from ..clients import breaks
from ..probe import Inapplicable, Probe
from ..recording import Recording
from ..registry import check
from ..said import Ask
from ..verdict import Severity
from .answers import PLAIN
from .order import CALLING

_Body: TypeAlias = "dict[str, Any]"

_CHAT = ("chat/openai", "chat/azure")
_ISSUES = "https://github.com/"
_RESPONSES = "https://platform.openai.com/docs/api-reference/responses/create"
_OLLAMA = "https://docs.ollama.com/api/generate"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Habit:
    """A good request that servers were seen to refuse.

    change: makes it of a plain question's body; what the document forbids, or None, is not
    asked. headers: sent with it. source: what says so, or who met with it. needs: what has to
    be answered, or the habit is not asked about.
    """

    title: str
    change: Callable[[_Body], _Body | None]
    contracts: tuple[str, ...]
    defect: str
    source: str
    headers: Mapping[str, str] = field(default_factory=dict)
    needs: Ask = PLAIN


def _with(name: str, value: JSON, *beside: str) -> Callable[[_Body], _Body | None]:
    """Puts a field into bodies that have those beside it."""
    return lambda body: {**body, name: value} if all(each in body for each in beside) else None


def _asked(body: _Body) -> list[Mapping[str, JSON]]:
    return listed(body.get("messages"))


def _in_parts(body: _Body) -> _Body | None:
    turns = [
        {**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in _asked(body)
    ]
    return {**body, "messages": turns} if turns else None


def _called_before(body: _Body) -> _Body | None:
    if not (turns := _asked(body)):
        return None
    function = {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    call = {"id": "call_1", "type": "function", "function": function}
    done = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "It rains."},
    ]
    parameters = CALLING.tools["get_weather"]
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": parameters}}
    return {**body, "messages": [*turns, *done], "tools": [tool]}


def _as_text(body: _Body) -> _Body | None:
    turns = listed(body.get("input"))
    return {**body, "input": turns[-1]["content"]} if turns else None


def _emptied(body: _Body) -> _Body | None:
    return {**body, "prompt": ""} if "prompt" in body else None


_HABITS = {
    "content-parts": _Habit(
        title="The content of a message may be a list of parts",
        change=_in_parts,
        contracts=_CHAT,
        defect="parts-refused",
        source=_ISSUES + "kvcache-ai/ktransformers/issues/371",
    ),
    "called-before": _Habit(
        title="A turn with calls and without content is taken, and what the tools said",
        change=_called_before,
        contracts=_CHAT,
        defect="call-refused",
        source=_ISSUES + "abetlen/llama-cpp-python/issues/1805",
        needs=replace(CALLING, stream=False),
    ),
    "stop-text": _Habit(
        title="A stop sequence need not be in a list",
        change=lambda body: {**body, "stop": "###"},
        contracts=_CHAT,
        defect="setting-refused",
        source="https://platform.openai.com/docs/api-reference/chat/create",
    ),
    "input-text": _Habit(
        title="The input may be a text",
        change=_as_text,
        contracts=("chat/responses",),
        defect="input-refused",
        source=_RESPONSES,
    ),
    "store": _Habit(
        title="A response that is not to be stored is given",
        change=_with("store", False, "input"),
        contracts=("chat/responses",),
        defect="store-refused",
        source=_RESPONSES,
    ),
    "keep-alive": _Habit(
        title="A question may say how long the model is to stay",
        change=_with("keep_alive", "5m"),
        contracts=("generate/ollama",),
        defect="setting-refused",
        source=_OLLAMA,
    ),
    "raw": _Habit(
        title="A prompt may be raw, as editors send it",
        change=_with("raw", True, "prompt"),
        contracts=("generate/ollama",),
        defect="raw-refused",
        source=_OLLAMA,
    ),
    "empty-prompt": _Habit(
        title="A question without a prompt, which loads the model, is taken",
        change=_emptied,
        contracts=("generate/ollama",),
        defect="load-refused",
        source=_OLLAMA,
    ),
    "curl": _Habit(
        title="A body is read though curl calls it a form",
        change=lambda body: body,
        contracts=("generate/ollama",),
        defect="form-refused",
        source=_OLLAMA,
        headers={"content-type": "application/x-www-form-urlencoded"},
    ),
}


async def _plain(probe: Probe) -> _Body:
    """The body of a plain question, which is answered. Raises as `Probe.answered`."""
    ask = PLAIN if "whole" in probe.api.knows else replace(PLAIN, stream=True)
    await probe.answered(ask)
    body: Any = probe.api.body(probe.model, ask)
    return dict(body)


async def _sent(probe: Probe, body: _Body, headers: Mapping[str, str]) -> Recording:
    if not headers:
        return await probe.post(body)
    operation = probe.operation
    path, content = probe.session.url(operation), dumps_bytes(body)
    return await probe.target.send(operation.method, path, content=content, headers=headers)


def _taken(habit: _Habit) -> Callable[[Probe], Awaitable[None]]:
    async def judge(probe: Probe) -> None:
        body = habit.change(await _plain(probe))
        if body is None or probe.operation.fault(body):
            raise Inapplicable
        if habit.needs != PLAIN:
            await probe.answered(habit.needs)
        recording = await _sent(probe, body, habit.headers)
        if recording.status != 200 or recording.fault:
            probe.found(f"it is refused: {probe.told(recording)}", recording)

    return judge


for _name, _habit in _HABITS.items():
    check(
        f"requests.{_name}",
        _habit.title,
        contracts=_habit.contracts,
        source=_habit.source,
        breaks=breaks(_habit.defect),
    )(_taken(_habit))


_LIMIT = 8
_PIECES = 10 * _LIMIT
"""Items of a stream that so many tokens hardly make, even a letter each."""


@check(
    "requests.max-completion-tokens",
    "max_completion_tokens limits an answer",
    contracts=_CHAT,
    source=_ISSUES + "ollama/ollama/issues/7125",
    breaks=breaks("limit-ignored"),
)
async def max_completion_tokens(probe: Probe) -> None:
    if "max_completion_tokens" not in probe.operation.fields:
        raise Inapplicable
    await _plain(probe)
    ask = Ask(text="Tell me a long story about a king.", max_tokens=None, stream=True)
    body: Any = probe.api.body(probe.model, ask)
    body["max_completion_tokens"] = _LIMIT
    path = probe.session.url(probe.operation)
    # Left as soon as it is clear, since an answer without a limit may never end.
    async with probe.target.open("POST", path, body) as (recording, pieces):
        async for _ in pieces:
            if len(recording.items) > _PIECES:
                probe.found(f"more than {_PIECES} pieces came, not {_LIMIT} tokens", recording)
                return
    if recording.status != 200 or recording.fault:
        probe.found(f"it is refused: {probe.told(recording)}", recording)
        return
    said = probe.read(recording)
    words = len((said.text or said.reasoning).split())
    if words > 2 * _LIMIT:
        probe.found(f"{words} words were written, not {_LIMIT} tokens", recording)


def _is_whole(recording: Recording) -> bool:
    """Whether the body is one JSON value."""
    try:
        _ = recording.json
    except ValueError:
        return False
    return True


async def _unsaid(probe: Probe) -> tuple[Recording, bool]:
    """The answer to a question that does not say whether it is to be streamed, and whether
    the document says so instead. Raises `Inapplicable` if it has only one form."""
    if not {"whole", "stream"} <= probe.api.knows:
        raise Inapplicable
    body = await _plain(probe)
    recording = await probe.post({name: body[name] for name in body if name != "stream"})
    if recording.status != 200 or recording.fault:
        probe.refused(recording)
    return recording, bool(dict(probe.operation.defaults).get("stream"))


@check(
    "requests.stream-unasked",
    "No answer is streamed unless that is asked for",
    contracts=("chat/*", "ai/*"),
    source="https://platform.openai.com/docs/api-reference/chat/create",
    breaks=breaks("stream-unasked"),
)
async def stream_unasked(probe: Probe) -> None:
    recording, streamed = await _unsaid(probe)
    if not streamed and not _is_whole(recording):
        probe.found(f"it is {recording.media_type or 'no JSON'}", recording)


@check(
    "requests.stream-default",
    "An answer is streamed, unless that is not wanted",
    severity=Severity.STRICT,
    contracts=("generate/*",),
    source=_OLLAMA,
)
async def stream_default(probe: Probe) -> None:
    recording, streamed = await _unsaid(probe)
    if streamed and _is_whole(recording):
        probe.found("it comes whole", recording)


@check(
    "requests.listed-capabilities",
    "What a model is listed with is not refused",
    contracts=("generate/ollama",),
    source="https://docs.ollama.com/api/show",
    breaks=breaks("capability-refused"),
)
async def listed_capabilities(probe: Probe) -> None:
    asks = {
        "tools": replace(CALLING, stream=False),
        "thinking": replace(PLAIN, thinking=True),
    }
    known = probe.session.capabilities or frozenset()
    wanted = [asks[name] for name in asks if name in known and not probe.api.lacks(asks[name])]
    if not wanted:
        raise Inapplicable
    await _plain(probe)
    for ask in wanted:
        recording = await probe.ask(ask)
        if recording.status is not None and 400 <= recording.status < 500:
            probe.found(f"it is refused: {probe.told(recording)}", recording)
