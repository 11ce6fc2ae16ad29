"""Requests made from the document: what it allows is answered, what it does not is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..fuzzing import fuzzed
from ..probe import Probe
from ..registry import Unsupported, check
from ..verdict import Severity

_LOST = {
    "openai-python": "shows the status alone",
    "AI SDK": "shows the reason phrase alone",
}

# Id, what a good server does, what a finding is worth. Servers refuse values that the
# document allows, and let pass what it forbids, without any client noticing.
_CHECKS: tuple[tuple[str, str, Severity], ...] = (
    ("crashes", "No valid request makes the server fail", Severity.BREAKING),
    ("faults", "No invalid request makes the server fail", Severity.STRICT),
    ("statuses", "Every status is one that the document has", Severity.STRICT),
    ("media-types", "Every answer has a media type that the document has", Severity.STRICT),
    ("headers", "Every answer has the headers that the document demands", Severity.STRICT),
    ("answers", "Every answer, and every refusal, has what its clients read", Severity.STRICT),
    ("refuses", "A request that the document forbids is refused", Severity.STRICT),
    ("accepts", "A request that the document allows is answered", Severity.ADVICE),
    (
        "required-headers",
        "A request without a header that the document demands is refused",
        Severity.STRICT,
    ),
    ("methods", "A method that a path does not have is answered with 405", Severity.STRICT),
    ("keys", "A request without a good key is refused", Severity.BREAKING),
)


def _judge(name: str) -> Callable[[Probe], Any]:
    async def judge(probe: Probe) -> None:
        outcome = await fuzzed(probe.session)
        probe.measured.update(outcome.measured)
        probe.findings += outcome.findings.get(name, ())
        if name == "accepts" and not probe.findings:
            _tell_what_is_lacking(outcome.lacking, outcome.unsupported)

    return judge


def _tell_what_is_lacking(operations: tuple[str, ...], refusals: Mapping[str, int]) -> None:
    told = [f"there is no {operation}" for operation in operations]
    told += [f"{text} ({count} times)" for text, count in refusals.items()]
    if told:
        raise Unsupported("; ".join(told))


for _id, _title, _severity in _CHECKS:
    check(f"fuzz.{_id}", _title, severity=_severity, each=False)(_judge(_id))

check(
    "fuzz.envelope",
    "The text of a refusal is where clients read it",
    contracts=("chat/*",),
    each=False,
    breaks=_LOST,
)(_judge("envelope"))

check(
    "fuzz.refusals",
    "The text of a refusal is where clients read it",
    contracts=("generate/*", "ai/*"),
    each=False,
)(_judge("envelope"))
