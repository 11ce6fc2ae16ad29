"""Operations that the document says are gone: a client is told so in words that it can read."""

from __future__ import annotations

from ...contract import Operation
from ..probe import Probe
from ..registry import Skip, check
from ..verdict import Severity

_SOURCE = "https://platform.openai.com/docs/deprecations"


def _gone(operation: Operation) -> bool:
    """Whether no answer is documented but refusals."""
    return not any(status.startswith("2") for status in operation.responses)


@check(
    "refusals.gone",
    "What was shut down is refused, with a text where clients look for it",
    severity=Severity.STRICT,
    contracts=("chat/ktransformers",),
    each=False,
    source=_SOURCE,
)
async def gone(probe: Probe) -> None:
    operations = [each for each in probe.contract.operations.values() if _gone(each)]
    answered = 0
    for operation in operations:
        recording = await probe.target.send(operation.method, probe.session.url(operation))
        if recording.status is not None and recording.status < 300:
            # A server may have it still.
            answered += 1
        elif recording.status is None or recording.status >= 500:
            probe.found(f"not refused: {probe.told(recording)}", recording)
        elif probe.reason(recording) is None:
            probe.found(f"its refusal has no message: {probe.told(recording)}", recording)
    if answered == len(operations):
        raise Skip("the server has all of it still")
