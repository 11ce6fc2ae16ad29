"""Keys: whoever has none, or a wrong one, is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..clients import breaks
from ..probe import Inapplicable, Probe
from ..recording import Recording
from ..registry import Skip, check
from ..verdict import Severity
from .brief import BUSY, brief

_SOURCE = "https://www.rfc-editor.org/rfc/rfc9110#name-authentication-exchange"
_WRONG = "wrong-key-c0ffee"
_REFUSED = frozenset({401, 403})


def _keyed(probe: Probe) -> list[str]:
    """The headers of the target that have its key. Raises `Inapplicable` without any."""
    names = {*probe.operation.key_headers, "authorization", "x-api-key", "api-key"}
    found = [name for name in probe.target.headers if name.lower() in names]
    if not found:
        raise Inapplicable
    return found


async def _sent(probe: Probe, key: str | None) -> Recording:
    """A brief question with another key, or with none. Raises `Skip` if not even the right one
    is answered, and `Inapplicable` without any."""
    keyed = _keyed(probe)
    await probe.answered(brief(probe))
    operation, own = probe.operation, probe.target.headers
    recording = await probe.once(
        f"keys {operation.id} {key}",
        lambda: probe.target.send(
            operation.method,
            probe.session.url(operation),
            probe.api.body(probe.model, brief(probe)),
            headers={} if key is None else {name: _replaced(own[name], key) for name in keyed},
            keyless=key is None,
        ),
    )
    if recording.status is None or recording.status in BUSY:
        raise Skip(probe.told(recording))
    return recording


def _replaced(value: str, key: str) -> str:
    scheme, space, _ = value.rpartition(" ")
    return scheme + space + key


@check("robustness.no-key", "A request without a key is refused", source=_SOURCE)
async def no_key(probe: Probe) -> None:
    recording = await _sent(probe, None)
    if _accepted(probe, recording):
        if not probe.operation.secured:
            raise Inapplicable
        probe.found(f"it is not: {probe.told(recording)}", recording)


@check("robustness.wrong-key", "A request with a wrong key is refused", source=_SOURCE)
async def wrong_key(probe: Probe) -> None:
    recording = await _sent(probe, _WRONG)
    if not _accepted(probe, recording):
        return
    # Whoever gives a key to a server that wants none has done nothing wrong.
    if _accepted(probe, await _sent(probe, None)) and not probe.operation.secured:
        raise Inapplicable
    probe.found(f"it is not: {probe.told(recording)}", recording)


def _accepted(probe: Probe, recording: Recording) -> bool:
    return recording.status is not None and recording.status < 400 and not probe.reason(recording)


async def _refusals(probe: Probe) -> list[Recording]:
    """The refusals of no key, and of a wrong one. Raises `Inapplicable` without any."""
    found = [await _sent(probe, key) for key in (None, _WRONG)]
    if not (refusals := [each for each in found if not _accepted(probe, each)]):
        raise Inapplicable
    return refusals


@check(
    "robustness.key-status",
    "The refusal of a key has status 401 or 403",
    severity=Severity.STRICT,
    source=_SOURCE,
)
async def key_status(probe: Probe) -> None:
    for recording in await _refusals(probe):
        if recording.status not in _REFUSED:
            probe.found(f"it is {probe.told(recording)}", recording)


def _never(first: int, last: int) -> Callable[[Probe], Awaitable[None]]:
    async def judge(probe: Probe) -> None:
        for recording in await _refusals(probe):
            if first <= (recording.status or 0) <= last:
                probe.found(f"it is {probe.told(recording)}", recording)

    return judge


check(
    "robustness.key-fault",
    "The refusal of a key is no failure of the server",
    source=_SOURCE,
    breaks=breaks("refused-with-500"),
)(_never(500, 599))

check(
    "robustness.key-success",
    "The refusal of a key is no success",
    source=_SOURCE,
    breaks=breaks("refused-with-200"),
)(_never(200, 299))


@check(
    "robustness.key-envelope",
    "The refusal of a key tells its reason where clients look for it",
    source=_SOURCE,
    breaks=breaks("envelope"),
)
async def key_envelope(probe: Probe) -> None:
    for recording in await _refusals(probe):
        if not probe.reason(recording):
            probe.found(f"there is no message: {probe.told(recording)}", recording)
