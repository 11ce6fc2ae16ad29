"""Requests that are wrong: refused with a status and in words that reach the user."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..clients import breaks
from ..probe import Inapplicable, Probe
from ..recording import Recording
from ..registry import Skip, check
from ..said import Ask
from ..verdict import Severity

_ERRORS = "https://platform.openai.com/docs/guides/error-codes"
_UNKNOWN = "no-such-model-c0ffee"

_Body: TypeAlias = "dict[str, Any]"


@dataclass(frozen=True, slots=True)
class _Case:
    """A wrong request. change: makes a good body wrong, None if it cannot; content: sent
    instead of a body; method, path: sent there, the path below the mount."""

    title: str
    change: Callable[[_Body], _Body | None] | None = None
    content: bytes | None = None
    method: str = ""
    path: str = ""


def _wrong_type(body: _Body) -> _Body:
    name = next(each for each in ("messages", "prompt", "input", "segments") if each in body)
    return {**body, name: 5}


def _without(body: _Body) -> _Body | None:
    name = next((each for each in ("messages", "input", "prompt") if each in body), None)
    return None if name is None else {key: value for key, value in body.items() if key != name}


def _other_model(body: _Body) -> _Body:
    return {**body, "model": _UNKNOWN}


_CASES: Mapping[str, _Case] = {
    "unknown-model": _Case("A model that there is not is refused", _other_model),
    "wrong-type": _Case("A field of the wrong type is refused", _wrong_type),
    "missing-field": _Case("A body without what it has to have is refused", _without),
    "bad-json": _Case("A body that is not JSON is refused", content=b'{"model": '),
    "empty-body": _Case("A request without its body is refused", content=b""),
    "method": _Case("A method that there is not is refused", method="GET"),
    "path": _Case("A path that there is not is refused", path="/no-such-path-c0ffee"),
}

_ROUTING = ("method", "path")
_ASKED = tuple(name for name in _CASES if name not in _ROUTING)


async def _send(probe: Probe, name: str, *, stream: bool = False) -> Recording:
    """The exchange of a case, made once a run. Raises `Inapplicable` if the document has
    nothing against it, and `Skip` if not even a good request is answered."""
    case, api, operation = _CASES[name], probe.api, probe.operation
    ask = Ask(stream=stream or "whole" not in api.knows)
    if api.lacks(ask):
        raise Inapplicable
    await probe.answered(ask)
    body: Any = api.body(probe.model, ask)
    if case.change is not None:
        # Answers that do not tell the model come from the one at work, whatever was named.
        chosen = "model" in body and "model" not in api.untold
        named = chosen or "{" in operation.path
        body = case.change(body)
        # No document lists the models that there are.
        wrong = named if name == "unknown-model" else body and operation.fault(body)
        if not wrong:
            raise Inapplicable
    content = case.content
    if case.method:
        body = None
        if any(
            other.path == operation.path and other.method == case.method
            for other in probe.contract.operations.values()
        ):
            raise Inapplicable
    model = _UNKNOWN if name == "unknown-model" else probe.model
    url = probe.session.url(operation, model)
    path = probe.session.mount + case.path if case.path else url
    method = case.method or operation.method
    return await probe.once(
        f"refusal {operation.id} {name} {stream}",
        lambda: probe.target.send(
            method,
            path,
            None if content is not None else body,
            content=content,
            headers=None if content is None else {"content-type": "application/json"},
        ),
    )


def _told_in_answer(probe: Probe, recording: Recording) -> bool:
    """Whether an answer of status 200 is a refusal, which is how geenii tells failures."""
    return probe.contract.name == "ai/geenii" and bool(probe.reason(recording))


Judge: TypeAlias = Callable[[Probe], Awaitable[None]]


def _refused(name: str) -> Judge:
    async def judge(probe: Probe) -> None:
        recording = await _send(probe, name)
        if recording.status is None:
            probe.found(f"there is no answer: {recording.fault}", recording)
        elif recording.status < 400 and not _told_in_answer(probe, recording):
            if name == "unknown-model" and len(probe.session.models) < 2:
                raise Skip("the server answers for every model with the only one that it has")
            probe.found(f"it is answered with status {recording.status}", recording)

    return judge


def _streamed(name: str) -> Judge:
    async def judge(probe: Probe) -> None:
        if "whole" not in probe.api.knows or "stream" not in probe.api.knows:
            raise Inapplicable
        whole = await _send(probe, name)
        if whole.status is None or whole.status < 400:
            raise Skip("it is not refused when it is not streamed")
        recording = await _send(probe, name, stream=True)
        if recording.status is not None and recording.status < 400:
            probe.found(f"the status is {recording.status}, not {whole.status}", recording)

    return judge


for _name, _case in _CASES.items():
    check(
        f"refusals.{_name}",
        _case.title,
        # What is wrong and yet answered hurts nobody but who wrote it.
        severity=Severity.STRICT,
        source=_ERRORS,
    )(_refused(_name))

for _name in ("unknown-model", "wrong-type"):
    check(
        f"refusals.streamed-{_name}",
        _CASES[_name].title + " by its status, when a stream is asked for",
        source="https://github.com/ggml-org/llama.cpp/issues/14566",
        breaks=breaks("refused-in-stream"),
    )(_streamed(_name))


async def _all(probe: Probe, *names: str) -> list[tuple[str, Recording]]:
    """The refusals of these cases, as far as they are some."""
    found = []
    for name in names:
        try:
            recording = await _send(probe, name)
        except Inapplicable:
            continue
        if recording.status is not None and recording.status >= 400:
            found.append((name, recording))
    if not found:
        raise Skip("nothing is refused")
    return found


@check(
    "refusals.envelope",
    "A refusal tells its reason where clients look for it",
    source="https://github.com/open-webui/open-webui/issues/11906",
    breaks=breaks("envelope"),
)
async def envelope(probe: Probe) -> None:
    for name, recording in await _all(probe, *_ASKED):
        if not probe.reason(recording):
            probe.found(f"{name}: there is no message: {probe.told(recording)}", recording)


@check(
    "refusals.routing-envelope",
    "What is not found is told as other refusals are",
    severity=Severity.STRICT,
    source=_ERRORS,
)
async def routing_envelope(probe: Probe) -> None:
    for name, recording in await _all(probe, *_ROUTING):
        status = recording.status or 0
        media = probe.contract.media(status, text=True)
        if not probe.reason(recording) and media is None:
            probe.found(f"{name}: there is no message: {probe.told(recording)}", recording)


@check(
    "refusals.server-error",
    "What is wrong with a request is not told as a failure of the server",
    source=_ERRORS,
    breaks=breaks("refused-with-500"),
)
async def server_error(probe: Probe) -> None:
    for name, recording in await _all(probe, *_CASES):
        if recording.status is not None and recording.status >= 500:
            probe.found(f"{name}: {probe.told(recording)}", recording)


@check(
    "refusals.success",
    "A refusal has a status that says so",
    source=_ERRORS,
    breaks=breaks("refused-with-200"),
)
async def success(probe: Probe) -> None:
    for name in _CASES:
        try:
            recording = await _send(probe, name)
        except Inapplicable:
            continue
        told = recording.status == 200 and probe.reason(recording)
        if told and not _told_in_answer(probe, recording):
            probe.found(f"{name}: {told!r} comes with status 200", recording)


_USUAL: Mapping[str, frozenset[int]] = {"method": frozenset({405}), "path": frozenset({404})}


@check(
    "refusals.statuses",
    "A refusal has the status that the document has for it",
    severity=Severity.STRICT,
    source=_ERRORS,
)
async def statuses(probe: Probe) -> None:
    known = frozenset(int(each) for each in probe.operation.responses if each.isdigit())
    for name, recording in await _all(probe, *_CASES):
        usual = _USUAL.get(name) or known
        if recording.status not in usual:
            probe.found(f"{name}: the status is {recording.status}", recording)


_PRIVATE = re.compile(
    rb"Traceback \(most recent call last\)|File \"/[^\"]+\", line \d+|/site-packages/"
    rb"|goroutine \d+ \[|at [\w.$]+\([\w]+\.java:\d+\)|/node_modules/"
)


@check(
    "refusals.private",
    "A refusal tells nothing of the inside of the server",
    severity=Severity.ADVICE,
    source="https://owasp.org/www-community/Improper_Error_Handling",
)
async def private(probe: Probe) -> None:
    for name, recording in await _all(probe, *_CASES):
        if match := _PRIVATE.search(recording.content):
            probe.found(f"{name}: it has {match[0].decode(errors='replace')!r}", recording)


@check(
    "refusals.html",
    "A refusal of what was asked is no web page",
    source=_ERRORS,
    breaks=breaks("envelope"),
)
async def html(probe: Probe) -> None:
    for name, recording in await _all(probe, *_ASKED):
        if recording.content.lstrip()[:1] == b"<" or "html" in recording.media_type:
            probe.found(f"{name}: it is {recording.media_type or 'a page'}", recording)
