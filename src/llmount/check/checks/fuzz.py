"""Requests made from the document: what it allows is answered, what it does not is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ...contract import Media, Operation, essence
from ...framing import FramingError, framing_of
from ...jsontext import dumps, loads
from ...testing.schema_exchange import Exchange
from ...types import JSON
from ..fuzzing import fuzzed
from ..probe import Probe
from ..registry import Unsupported, check
from ..verdict import Severity
from .answers import violations
from .streams import carried

_SHOWN: Final = 60

_LOST = {
    "openai-python": "shows the status alone",
    "AI SDK": "shows the reason phrase alone",
}

# Id, what a good server does, what a finding is worth. Servers refuse values that the
# document allows, and let pass what it forbids, without any client noticing.
_CHECKS: tuple[tuple[str, str, Severity], ...] = (
    ("crashes", "No documented request fails, and none breaks the server", Severity.BREAKING),
    ("faults", "What the server cannot do is refused with a 4xx, not a 5xx", Severity.STRICT),
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
        outcome = await fuzzed(probe.session, _explain)
        probe.measured.update(outcome.measured)
        probe.findings += outcome.findings.get(name, ())
        if name == "accepts":
            _tell_what_is_lacking(outcome.lacking, outcome.unsupported)

    return judge


def _explain(exchange: Exchange, operation: Operation) -> str:
    """The first thing that the document has against an answer."""
    media = operation.media(exchange.status or 0)
    if exchange.status == 200 and operation.stream is not None:
        sent = next((v for k, v in exchange.response_headers if k == "content-type"), "")
        if essence(sent) == essence(operation.stream.name):
            return _of_stream(exchange, operation.stream)
    try:
        value = loads(exchange.content.decode())
    except ValueError as error:
        return f"it is not JSON: {error}"
    return next(iter(violations(media.schema if media else None, value)), "")


def _of_stream(exchange: Exchange, media: Media) -> str:
    decoder = framing_of(media.framing).decoder()
    try:
        for item in [*decoder.feed(exchange.content), *decoder.close()]:
            value = carried(item)
            if problems := violations(media.carried, value):
                return f"an item of the stream, `{_shown(value)}`: {problems[0]}"
    except (FramingError, ValueError) as error:
        return f"the stream: {error}"
    return ""


def _shown(item: JSON) -> str:
    """The beginning of an item, or of what an event carries."""
    carries = isinstance(item, dict) and "data" in item
    return dumps(item["data"] if carries else item)[:_SHOWN]


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
