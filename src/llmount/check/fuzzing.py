"""One run of Schemathesis against a server, and what is worth telling of it."""

from __future__ import annotations

import contextlib
import copy
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio import to_thread

from ..contract import Contract, Operation, essence, resolve
from ..jsontext import loads
from .apis import apis_of
from .bounds import bounded
from .probe import Probe, Session
from .recording import Recording
from .refusals import allowed, says_unsupported, shows_plain_text
from .registry import Skip
from .said import Ask
from .target import masked
from .verdict import Finding

if TYPE_CHECKING:
    from ..testing.schema_exchange import Exchange
    from ..testing.schema_run import Failure, SchemaRun

__all__ = ["SCHEMATHESIS", "Fuzzed", "fuzzed"]

SCHEMATHESIS: Final[Mapping[str, str]] = {
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
"""Its checks, and the last part of the ids of those here that tell what it found."""

MOST: Final = 10
"""Findings of one check."""

_SECONDS: Final = 35.0
"""For the whole run, if there is no less."""

_LEAST_SECONDS: Final = 2.0
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


@dataclass(slots=True)
class _Kind:
    """Findings that have an operation and a cause in common: the first of them."""

    operation: str
    message: str
    exchange: Exchange | None
    count: int = 0


async def fuzzed(session: Session) -> Fuzzed:
    """Fuzz the server, once a run. Raises `Skip` if that is not possible."""
    return await session.once("fuzz", lambda: _fuzz(session))


async def _fuzz(session: Session) -> Fuzzed:
    try:
        from ..testing.schema_run import run
    except ImportError as error:
        raise Skip(f"Schemathesis is not installed: {error}") from error
    plain = await _plain_seconds(session)
    patience = min(15.0, max(3.0, 4 * plain + 2))
    left = anyio.current_effective_deadline() - anyio.current_time()
    seconds = min(_SECONDS, left * 0.8 - patience)
    if seconds < _LEAST_SECONDS:
        raise Skip("no time was left")
    operations = {
        f"{operation.method} {_placed_path(session, operation.path, operation.absolute)}": operation
        for operation in session.contract.operations.values()
    }
    gathering = _Gathering(session.contract, operations)
    requests = seconds / plain / len(operations)
    try:
        outcome = await to_thread.run_sync(
            partial(
                run,
                session.target.url,
                _placed(session.tolerant.document, session),
                models=[session.model],
                headers=session.target.headers,
                max_examples=int(min(session.examples, max(3, requests / 4))),
                seed=session.seed,
                seconds=seconds,
                patience=patience,
                bound=lambda label, body: bounded(session.contract.name, operations[label], body),
                seen=gathering.see,
            ),
            abandon_on_cancel=True,
        )
    except ImportError as error:
        raise Skip(f"Schemathesis is not installed: {error}") from error
    if not outcome.statuses:
        broken = next((f.message for f in outcome.failures if f.check == "error"), "no answer")
        raise Skip(f"no request was answered: {broken}")
    for failure in outcome.failures:
        gathering.add_failure(failure)
    return gathering.result(outcome, partial(_recording, secrets=frozenset(session.target.headers)))


async def _plain_seconds(session: Session) -> float:
    """How long the answer to a plain question takes, or what is usual."""
    for api in apis_of(session.contract.name)[:1]:
        recording = await Probe(session, "fuzz", api).ask(Ask())
        if recording.status == 200 and not recording.fault:
            return max(0.01, recording.ended)
    return 1.0


def _placed(document: Mapping[str, Any], session: Session) -> dict[str, Any]:
    """The document with its paths below the target, those at the root where they are, and
    with examples of the model that is there."""
    placed = copy.deepcopy(dict(document))
    for item in placed["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict):
                _exemplify(placed, operation, session.model)
    placed["paths"] = {
        _placed_path(session, path, item.get("servers") == [{"url": "/"}]): item
        for path, item in placed["paths"].items()
    }
    return placed


def _placed_path(session: Session, path: str, absolute: bool) -> str:
    return path if absolute else session.mount + path


def _exemplify(document: Mapping[str, Any], operation: dict[str, Any], model: str) -> None:
    for parameter in operation.get("parameters", ()):
        if parameter.get("name") == "model":
            for example in parameter.get("examples", {}).values():
                example["value"] = model
    for media in resolve(document, operation.get("requestBody", {})).get("content", {}).values():
        for name, example in media.get("examples", {}).items():
            told = copy.deepcopy(resolve(document, example))
            if isinstance(told.get("value"), dict) and told["value"].get("model"):
                told["value"]["model"] = model
            media["examples"][name] = told


class _Gathering:
    """Sorts what a run shows into kinds, so that each is told once."""

    def __init__(self, contract: Contract, operations: Mapping[str, Operation]) -> None:
        self._name = contract.name
        self._operations = operations
        self._allowed = allowed(contract.name)
        self._error = next((api.error for api in apis_of(contract.name)), None)
        self._kinds: dict[str, dict[tuple[str, str], _Kind]] = defaultdict(dict)
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
            check = "crashes" if exchange.valid else "faults"
            if not self._is_no_finding(check, exchange):
                self._add(check, exchange, self._told(exchange), self._told(exchange))
        if status is not None and 400 <= status < 500 and operation.body is not None:
            told = self._lost(exchange)
            if told:
                self._add("envelope", exchange, told, f"{told}: {self._told(exchange)}")

    def add_failure(self, failure: Failure) -> None:
        """Add what Schemathesis found."""
        check, exchange = SCHEMATHESIS.get(failure.check), failure.exchange
        if check is None or exchange is None or self._is_no_finding(check, exchange):
            return
        # What is wrong with these is told by `crashes` and `faults`.
        if exchange.status is not None and exchange.status >= 500 and check != "keys":
            return
        cause = message = _first_part(failure.message)
        if check == "accepts":
            cause = message = f"refused, though it is valid: {self._told(exchange)}"
        elif check == "refuses" and (fault := self._fault(exchange)):
            cause, message = _skeleton(fault), f"accepted, though {fault}"
        elif check == "statuses":
            cause = message = f"the status {exchange.status} is not in the document"
        self._add(check, exchange, cause, message)

    def result(self, outcome: SchemaRun, recorded: Callable[[Exchange], Recording]) -> Fuzzed:
        """recorded: makes the recording of an exchange."""
        lacking = {
            label: self._operations[label].id
            for label, statuses in self._statuses.items()
            if statuses and statuses <= _NOT_THERE
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
                "stopped for lack of time": int(not outcome.finished),
            },
        )

    def _add(self, check: str, exchange: Exchange, cause: str, message: str) -> None:
        key = (exchange.operation, _skeleton(cause))
        kind = self._kinds[check].setdefault(key, _Kind(exchange.operation, message, exchange))
        kind.count += 1

    def _is_no_finding(self, check: str, exchange: Exchange) -> bool:
        if any(each.fits(check, exchange.text) for each in self._allowed):
            return True
        refused = exchange.status is not None and exchange.status >= 400
        if refused and exchange.valid and says_unsupported(exchange.text):
            if check in ("accepts", "crashes"):
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
        text = exchange.text
        with contextlib.suppress(ValueError):
            text = (self._error and self._error(loads(exchange.content.decode()))) or text
        words = f"{exchange.status} {' '.join(text.split())[:_SHOWN]}"
        return f"{words} ({exchange.fault})" if exchange.fault else words


def _is_well_formed(exchange: Exchange, operation: Operation) -> bool:
    """Whether it is a request of the operation, and not one that HTTP itself may refuse."""
    if exchange.method != operation.method:
        return False
    media = next((value for name, value in exchange.headers if name == "content-type"), "")
    return exchange.body is None or essence(media) == "application/json"


def _first_part(message: str) -> str:
    """What Schemathesis says, without the schema and the value that it shows."""
    told = re.split(r"\n\s*(?:Schema|Value|Reproduce with)\b", message)[0]
    return " ".join(told.split())[:_SHOWN]


def _skeleton(text: str) -> str:
    """The text without what differs from one request to the next."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"|`[^`]*`", "…", text)
    return re.sub(r"-?\d+(\.\d+)?", "N", text)[:_SHOWN]


def _told_of(kind: _Kind) -> str:
    times = f" ({kind.count} times)" if kind.count > 1 else ""
    return f"{kind.operation}: {kind.message}{times}"


def _recording(exchange: Exchange, secrets: frozenset[str]) -> Recording:
    names = {name.lower() for name in secrets}
    return Recording(
        method=exchange.method,
        url=exchange.url,
        headers=[
            (name, masked(value) if name in names else value) for name, value in exchange.headers
        ],
        body=exchange.body,
        status=exchange.status,
        response_headers=exchange.response_headers,
        content=exchange.content,
        fault=exchange.fault,
        ended=exchange.seconds,
    )
