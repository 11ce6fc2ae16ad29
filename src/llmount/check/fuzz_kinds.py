"""What is worth telling of the exchanges of a fuzzing run: each kind once."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ..contract import Operation, essence
from ..jsontext import loads
from ..testing.schema_exchange import Exchange
from ..testing.schema_run import Failure, SchemaRun
from .apis import apis_of
from .fuzz_document import shape
from .probe import Session
from .recording import Recording
from .refusals import allowed, says_unsupported, shows_plain_text
from .verdict import Finding

__all__ = ["Explain", "Fuzzed", "Kinds"]

Explain: TypeAlias = Callable[[Exchange, Operation], str]
"""What is wrong with the form of an answer; "" if that is not known."""

_CHECKS: Final[Mapping[str, str]] = {
    "status_code_conformance": "statuses",
    "content_type_conformance": "media-types",
    "response_headers_conformance": "headers",
    "response_schema_conformance": "answers",
    "negative_data_rejection": "refuses",
    "positive_data_acceptance": "accepts",
    "missing_required_header": "required-headers",
    "unsupported_method": "methods",
    "ignored_auth": "keys",
}
"""Schemathesis's checks, and the last part of the ids of those that tell what it found."""

MOST: Final = 10
"""Findings of one check."""

_SHOWN: Final = 200

# A server says by these that it does not do something, or cannot just now.
_NO_CRASH: Final = frozenset({501, 502, 503, 504})
_NOT_THERE: Final = frozenset({404, 405, 501})


@dataclass(slots=True)
class Fuzzed:
    """What came of a run.

    findings: by the last part of the check's id, one for each kind. unsupported: by what a
    server says that it lacks, how often. lacking: the operations that are not there.
    measured: as of a `Result`.
    """

    findings: Mapping[str, list[Finding]] = field(default_factory=dict)
    unsupported: Mapping[str, int] = field(default_factory=dict)
    lacking: tuple[str, ...] = ()
    measured: Mapping[str, float] = field(default_factory=dict)


_Key: TypeAlias = tuple[str, int | None, str]
"""The operation, the status, and the cause without what differs."""


@dataclass(slots=True)
class _Kind:
    """Findings that have a key in common: the first of them."""

    operation: str
    message: str
    exchange: Exchange | None
    count: int = 0


class Kinds:
    """Sorts what a run shows into kinds, so that each is told once.

    operations: by "POST /chat". plain: requests that a server has to answer, as `shape` has
    them. explain: see `Explain`.
    """

    def __init__(
        self,
        session: Session,
        operations: Mapping[str, Operation],
        plain: frozenset[tuple[str, str]],
        explain: Explain,
    ) -> None:
        self._name = session.contract.name
        self._tolerant = session.tolerant.operations
        self._operations = operations
        self._explain = explain
        self._plain = plain
        self._allowed = allowed(self._name)
        self._error = next((api.error for api in apis_of(self._name)), None)
        self._kinds: dict[str, dict[_Key, _Kind]] = defaultdict(dict)
        self._statuses: dict[str, set[int]] = defaultdict(set)
        self._unsupported: Counter[str] = Counter()
        self._lacks: dict[str, str] = {}

    def see(self, exchange: Exchange) -> None:
        """Look at an exchange for what Schemathesis has no check for."""
        operation, status = self._operations[exchange.operation], exchange.status
        if not _is_well_formed(exchange, operation):
            return
        if status is not None:
            self._statuses[exchange.operation].add(status)
        if exchange.fault or (status is not None and status >= 500 and status not in _NO_CRASH):
            check = "crashes" if self._is_crash(exchange) else "faults"
            if not self._is_no_finding(check, exchange):
                self._add(check, exchange, self._told(exchange), self._told(exchange))
        if status is not None and 400 <= status < 500 and operation.body is not None:
            told = self._lost(exchange)
            if told:
                self._add("envelope", exchange, told, f"{told}: {self._told(exchange)}")

    def add_failure(self, failure: Failure) -> None:
        """Add what Schemathesis found."""
        check, exchange = _CHECKS.get(failure.check), failure.exchange
        if check is None or exchange is None:
            return
        fault = self._fault(exchange) if check == "refuses" else ""
        if self._is_no_finding(check, exchange, fault):
            return
        # What is wrong with these is told by `crashes` and `faults`.
        if exchange.status is not None and exchange.status >= 500 and check != "keys":
            return
        cause = message = _first_part(failure.message)
        if check == "accepts":
            cause = message = f"refused, though it is valid: {self._told(exchange)}"
        elif fault:
            cause, message = fault, f"accepted, though {fault}"
        elif check == "answers":
            operation = self._tolerant[self._operations[exchange.operation].id]
            if told := self._explain(exchange, operation):
                cause = message = f"{exchange.status}: {told}"
        elif check == "statuses":
            cause = message = f"the status {exchange.status} is not in the document"
        elif check == "methods":
            message = f"{exchange.method} is answered with {exchange.status}, not 405"
            cause = "methods"
        elif check == "headers":
            cause = message = _headers(message)
        elif check == "refuses":
            cause = message = _component(failure.message) or message
        self._add(check, exchange, cause, message)

    def result(self, outcome: SchemaRun, recorded: Callable[[Exchange], Recording]) -> Fuzzed:
        """recorded: makes the recording of an exchange."""
        lacking = {
            label: self._operations[label].id
            for label, statuses in self._statuses.items()
            if statuses and statuses <= _NOT_THERE and _is_ever_answered(self._operations[label])
        }
        findings = {}
        for check, kinds in self._kinds.items():
            there = [kind for kind in kinds.values() if kind.operation not in lacking]
            there.sort(key=lambda kind: -kind.count)
            findings[check] = [
                Finding(_told_of(kind), recorded(kind.exchange) if kind.exchange else None)
                for kind in there[:MOST]
            ]
        return Fuzzed(
            findings,
            dict(self._unsupported),
            tuple(sorted(lacking.values())),
            {
                "requests": sum(outcome.statuses.values()) + outcome.unanswered,
                "requests not answered in time": outcome.unanswered,
                "answers cut short": outcome.cut,
                "errors of Schemathesis": sum(each.exchange is None for each in outcome.failures),
                "stopped for lack of time": int(not outcome.finished),
            },
        )

    def _add(self, check: str, exchange: Exchange, cause: str, message: str) -> None:
        key = (exchange.operation, exchange.status, _skeleton(cause))
        kind = self._kinds[check].setdefault(key, _Kind(exchange.operation, message, exchange))
        kind.count += 1

    def _is_crash(self, exchange: Exchange) -> bool:
        """Whether it is worse than a refusal with the wrong status."""
        if exchange.fault:
            return True
        if not exchange.valid:
            return False
        return bool(self._lost(exchange)) or shape(exchange.operation, exchange.body) in self._plain

    def _is_no_finding(self, check: str, exchange: Exchange, fault: str = "") -> bool:
        if any(each.fits(check, exchange.text, fault) for each in self._allowed):
            return True
        refused = exchange.status is not None and exchange.status >= 400
        judged = exchange.valid or check == "faults"
        if refused and judged and says_unsupported(exchange.text):
            if exchange.valid and check in ("accepts", "crashes", "faults"):
                told = self._told(exchange)
                self._unsupported[self._lacks.setdefault(_skeleton(told), told)] += 1
            return True
        return False

    def _lost(self, exchange: Exchange) -> str:
        """Why a client cannot show the text of a refusal; "" if it can."""
        try:
            body = loads(exchange.content.decode())
        except ValueError:
            return "" if shows_plain_text(self._name) else "the refusal is not JSON"
        if self._error is None or self._error(body) is not None:
            return ""
        return "the text of the refusal is not where clients read it"

    def _fault(self, exchange: Exchange) -> str:
        """What the document has against the body of a request."""
        operation = self._operations[exchange.operation]
        if operation.body is None or exchange.body is None:
            return ""
        try:
            fault = operation.fault(loads(exchange.body.decode()))
        except ValueError:
            return ""
        return fault.message if fault else ""

    def _told(self, exchange: Exchange) -> str:
        """The answer in a few words."""
        if exchange.status is None:
            return f"the connection failed: {exchange.fault}"
        try:
            error = self._error and self._error(loads(exchange.content.decode()))
        except ValueError:
            error = None
        text = error or exchange.text
        words = f"{exchange.status} {' '.join(text.split())[:_SHOWN]}"
        return f"{words} ({exchange.fault})" if exchange.fault else words


def _is_well_formed(exchange: Exchange, operation: Operation) -> bool:
    """Whether it is a request of the operation, and not one that HTTP itself may refuse."""
    if exchange.method != operation.method:
        return False
    media = next((value for name, value in exchange.headers if name == "content-type"), "")
    return exchange.body is None or essence(media) == "application/json"


def _is_ever_answered(operation: Operation) -> bool:
    """Some only say that they are gone."""
    return any(status.startswith("2") for status in operation.responses)


def _first_part(message: str) -> str:
    """What Schemathesis says, without the schema and the value that it shows."""
    told = re.split(r"\n\s*(?:Schema|Value|Reproduce with)\b", message)[0]
    return " ".join(told.split())[:_SHOWN]


# What servers quote, numbers, and the types and constants of JSON.
_VARYING: Final = (
    (re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|\{.*\}"), "…"),
    (re.compile(r"-?\d+(\.\d+)?|\b(null|true|false)\b"), "N"),
    (re.compile(r"\b(object|array|boolean|number|integer|string)\b"), "N"),
)


def _skeleton(text: str) -> str:
    """The text without what differs from one request to the next."""
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return text[:_SHOWN]


def _headers(message: str) -> str:
    """Schemathesis's message, if it is that headers are missing, in fewer words."""
    if not message.startswith("Missing required response headers"):
        return message
    return f"without the header {', '.join(re.findall(r'`([^`]+)`', message))}"


def _component(message: str) -> str:
    """What Schemathesis made invalid, if its message says so."""
    found = re.search(r"Invalid component: (.+)", message)
    return f"accepted, though invalid: {found[1]}" if found else ""


def _told_of(kind: _Kind) -> str:
    times = f" ({kind.count} times)" if kind.count > 1 else ""
    return f"{kind.operation}: {kind.message}{times}"
