"""Requests that are odd: answered or refused, and the server lives on."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import anyio

from ...contract import essence
from ...jsontext import dumps_bytes
from ..clients import breaks
from ..probe import Inapplicable, Probe
from ..recording import Recording
from ..registry import Skip, check
from ..verdict import Severity
from ..wire import Request, exchange
from .brief import BUSY, TEXT, alive, brief, reachable

_HTTP = "https://www.rfc-editor.org/rfc/rfc9110"
_HTTP1 = "https://www.rfc-editor.org/rfc/rfc9112"
_JSON = "https://www.rfc-editor.org/rfc/rfc8259"
_RESOURCES = "https://cwe.mitre.org/data/definitions/400.html"

_SECONDS: Final = 30.0
"""In which an odd request has to be answered, whatever the answer."""

_NOTICED: Final = 0.2
_HUGE: Final = 33 * 2**20
_DEEP: Final = 100_000
_DIGITS: Final = 5000

_DECLINED: Final = frozenset({501, 503, 505})
"""Statuses from 500 on that say no, and not that something broke."""

Edit: TypeAlias = Callable[[Request], Request]


def _body(edit: Callable[[bytes], bytes]) -> Edit:
    return lambda request: replace(request, body=edit(request.body))


def _with(member: Callable[[], bytes]) -> Edit:
    """The body, which is an object, with one more member."""
    return _body(lambda body: body[:-1] + b"," + member() + b"}")


def _saying(text: bytes) -> Edit:
    return _body(lambda body: body.replace(TEXT.encode(), text))


def _headed(*headers: tuple[str, str]) -> Edit:
    """With these headers, in the place of others of their names."""
    names = {name for name, _ in headers}

    def edit(request: Request) -> Request:
        kept = [pair for pair in request.headers if pair[0] not in names]
        return replace(request, headers=[*kept, *headers])

    return edit


def _untyped(request: Request) -> Request:
    return replace(request, headers=[p for p in request.headers if p[0] != "content-type"])


def _zipped(request: Request) -> Request:
    zipped = replace(request, body=gzip.compress(request.body, mtime=0))
    return _headed(("content-encoding", "gzip"))(zipped)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Odd:
    """An odd request, made of a good one. title: what the server does with it."""

    title: str
    edit: Edit
    source: str = _JSON


_SURVIVED: Mapping[str, _Odd] = {
    "huge-body": _Odd(
        title="A body of 33 MiB is answered or refused",
        edit=_with(lambda: b'"padding":"' + b"x" * _HUGE + b'"'),
        source=_RESOURCES,
    ),
    "deep-body": _Odd(
        title="JSON of 100,000 levels is answered or refused",
        edit=_with(lambda: b'"deep":' + b"[" * _DEEP + b"]" * _DEEP),
        source=_RESOURCES,
    ),
    "bad-utf8": _Odd(
        title="A body that is not UTF-8 is answered or refused",
        edit=_saying(b"Say \xff\xfe\xc3 yes."),
    ),
    "lone-surrogate": _Odd(
        title="Half of a pair of surrogates is answered or refused",
        edit=_saying(rb"Say \ud800 yes."),
    ),
    "control-characters": _Odd(
        title="Control characters, the zero among them, are answered or refused",
        edit=_saying(rb"Say \u0000\u0007\u007f\u200b\ufeff\uffff yes."),
    ),
    "not-a-number": _Odd(
        title="NaN and Infinity, which JSON does not have, are answered or refused",
        edit=_with(lambda: b'"temperature":NaN,"top_p":Infinity'),
    ),
    "huge-number": _Odd(
        title="Numbers that fit nowhere are answered or refused",
        edit=_with(lambda: b'"seed":' + b"9" * _DIGITS + b',"temperature":1e999'),
    ),
    "same-keys": _Odd(
        title="A key that comes twice is answered or refused",
        edit=_with(lambda: b'"padding":1,"padding":[]'),
    ),
    "byte-order-mark": _Odd(
        title="A body with a byte order mark is answered or refused",
        edit=_body(lambda body: b"\xef\xbb\xbf" + body),
    ),
    "zipped": _Odd(
        title="A body that is compressed is answered or refused", edit=_zipped, source=_HTTP
    ),
    "no-type": _Odd(
        title="A body of no media type is answered or refused", edit=_untyped, source=_HTTP
    ),
    "odd-charset": _Odd(
        title="A body in a charset that there is not is answered or refused",
        edit=_headed(("content-type", "application/json; charset=klingon")),
        source=_HTTP,
    ),
    "many-headers": _Odd(
        title="A request of 100 headers is answered or refused",
        edit=_headed(*((f"x-odd-{number}", "1") for number in range(100))),
        source=_HTTP,
    ),
    "long-header": _Odd(
        title="A header of 16 KiB is answered or refused",
        edit=_headed(("x-odd", "x" * 2**14)),
        source=_HTTP,
    ),
    "lower-case-method": _Odd(
        title="A method in lower case, which is another one, is answered or refused",
        edit=lambda request: replace(request, method=request.method.lower()),
        source=_HTTP,
    ),
    "trailing-slash": _Odd(
        title="A path with one more slash is answered or refused",
        edit=lambda request: replace(request, path=request.path + "/"),
        source=_HTTP,
    ),
    "head": _Odd(
        title="HEAD is answered or refused",
        edit=lambda request: replace(request, method="HEAD", body=b""),
        source=_HTTP,
    ),
    "cut-body": _Odd(
        title="A client that leaves in the middle of its body does no harm",
        edit=lambda request: replace(request, promised=1000),
        source=_HTTP1,
    ),
}


@dataclass(frozen=True, slots=True)
class _Shown:
    """What came of an odd request. dead: why the server does not answer afterwards, if so."""

    recording: Recording
    dead: str

    @property
    def closed(self) -> bool:
        """The connection was closed before the answer, or in the middle of it."""
        return bool(self.recording.fault) and not self.dead


def _good(probe: Probe, *, stream: bool = False) -> Request:
    """A request that has to be answered."""
    operation = probe.operation
    return Request(
        method=operation.method,
        path=probe.session.url(operation),
        headers=[("content-type", "application/json"), ("accept", "*/*")],
        body=dumps_bytes(probe.api.body(probe.model, brief(probe, stream=stream))),
    )


async def _show(probe: Probe, name: str) -> _Shown:
    """Send an odd request, once a run. Raises `Skip` if not even a good one is answered."""

    async def make() -> _Shown:
        await reachable(probe)
        request = _SURVIVED[name].edit(_good(probe))
        recording = await exchange(probe.target, request, timeout=_SECONDS)
        if request.promised:
            # There is no answer that tells when the server has seen it.
            await anyio.sleep(_NOTICED)
        return _Shown(recording, await alive(probe))

    await probe.answered(brief(probe))
    return await probe.once(f"odd {probe.operation.id} {name}", make)


def _survives(name: str) -> Callable[[Probe], Awaitable[None]]:
    async def judge(probe: Probe) -> None:
        shown = await _show(probe, name)
        recording, status = shown.recording, shown.recording.status
        if shown.dead:
            probe.found(f"after it, a plain question is not answered: {shown.dead}", recording)
        elif status is not None and status >= 500 and status not in _DECLINED:
            probe.found(probe.told(recording), recording)
        elif shown.closed and recording.ended >= _SECONDS:
            usual = (await probe.answered(brief(probe))).ended
            if usual > _SECONDS / 10:
                raise Skip(f"{recording.fault}, by a server that is slow")
            probe.found(recording.fault, recording)

    return judge


for _name, _odd in _SURVIVED.items():
    check(
        f"robustness.{_name}",
        _odd.title,
        alone=True,
        source=_odd.source,
        breaks=breaks("refused-with-500"),
    )(_survives(_name))


@check(
    "robustness.closing",
    "A request that is not taken is refused in words, not by closing the connection",
    severity=Severity.ADVICE,
    alone=True,
    source=_HTTP1,
)
async def closing(probe: Probe) -> None:
    for name in _SURVIVED:
        shown = await _show(probe, name)
        if shown.closed and shown.recording.ended < _SECONDS:
            probe.found(f"{name}: {shown.recording.fault}", shown.recording)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Usual:
    """A request that some clients send, and that is to be answered. declined: statuses that
    the standard has for who does not know such requests."""

    title: str
    edit: Edit
    declined: frozenset[int] = frozenset()
    severity: Severity = Severity.STRICT
    source: str = _HTTP


_ANSWERED: Mapping[str, _Usual] = {
    "charset": _Usual(
        title="A body whose media type has a charset of UTF-8 is read",
        edit=_headed(("content-type", "application/json; charset=utf-8")),
        severity=Severity.BREAKING,
    ),
    "accept": _Usual(
        title="What a client would rather have does not matter",
        edit=_headed(("accept", "text/event-stream, text/html;q=0.9")),
    ),
    "chunked-body": _Usual(
        title="A body in chunks is read",
        edit=lambda request: replace(request, chunked=True),
        declined=frozenset({411}),
        source=_HTTP1,
    ),
    "expect-continue": _Usual(
        title="A client that waits for leave to send its body is answered",
        edit=lambda request: replace(request, expects=True),
        declined=frozenset({417}),
    ),
    "http-1.0": _Usual(
        title="A client of HTTP/1.0, as proxies are, is answered",
        edit=lambda request: replace(request, version="1.0"),
        declined=frozenset({426, 505}),
        source=_HTTP1,
    ),
}


def _answers(name: str) -> Callable[[Probe], Awaitable[None]]:
    usual = _ANSWERED[name]

    async def judge(probe: Probe) -> None:
        for stream in (False, True):
            if ("stream" if stream else "whole") not in probe.api.knows:
                continue
            await probe.answered(brief(probe, stream=stream))
            await reachable(probe)
            request = usual.edit(_good(probe, stream=stream))
            recording = await exchange(probe.target, request, timeout=probe.target.timeout)
            if recording.status in usual.declined | BUSY:
                raise Skip(f"the server declines it: {probe.told(recording)}")
            if recording.status != 200 or recording.fault:
                probe.found(f"not answered: {probe.told(recording)}", recording)

    return judge


for _name, _usual in _ANSWERED.items():
    check(
        f"robustness.{_name}",
        _usual.title,
        severity=_usual.severity,
        alone=True,
        source=_usual.source,
    )(_answers(_name))


@check(
    "robustness.accept-json",
    "A stream that is asked for comes as one, although the client accepts JSON alone",
    alone=True,
    source="https://github.com/openai/openai-python",
    breaks=breaks("not-a-stream"),
)
async def accept_json(probe: Probe) -> None:
    if "stream" not in probe.api.knows:
        raise Inapplicable
    ask = brief(probe, stream=True)
    usual = await probe.answered(ask)
    operation = probe.operation
    recording = await probe.target.send(
        operation.method,
        probe.session.url(operation),
        probe.api.body(probe.model, ask),
        headers={"accept": "application/json"},
    )
    if recording.status in BUSY:
        raise Skip(f"the server has too much to do: {probe.told(recording)}")
    if recording.status != 200 or recording.fault:
        probe.found(f"not answered: {probe.told(recording)}", recording)
    elif essence(recording.media_type) != essence(usual.media_type):
        probe.found(f"it is {recording.media_type}, not {usual.media_type}", recording)
