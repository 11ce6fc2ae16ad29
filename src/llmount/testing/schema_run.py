"""Schemathesis over a document: every operation, with what it allows and what it does not.

This file and the one beside it import schemathesis, which takes most of a second, only when
a run begins.
"""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from llmount.contract import resolve
from llmount.framing import FramingError, framing_of
from llmount.testing.schema_exchange import Bound, Exchange, PatientTransport, exchange
from llmount.types import JSON

__all__ = ["MODEL_PARAMETERS", "Failure", "SchemaRun", "run"]

MODEL_PARAMETERS: Final = ("model", "deployment")
"""The parameters of paths that name a model."""

_PATIENCE: Final = 20.0
_MOST_FAILURES: Final = 5000

# Of its share of the time, what a phase takes that was not stopped.
_NEARLY: Final = 0.95

# Of an answer that was cut, the whole cannot be judged.
_OF_WHOLE_ANSWERS: Final = frozenset({"response_schema_conformance"})


@dataclass(frozen=True, slots=True)
class Failure:
    """What Schemathesis found: the operation ("POST /chat"), the check, the exchange (none if
    nothing was sent), and a command that shows it."""

    operation: str
    check: str
    message: str
    exchange: Exchange | None = None
    code_sample: str = ""

    @property
    def response(self) -> str:
        """The beginning of the response's body."""
        return self.exchange.text if self.exchange else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaRun:
    """What a run found.

    statuses: how many requests were answered with which. unanswered: how many were not.
    cut: of how many the rest of the answer was not waited for. finished: all was tried that
    was meant to be.
    """

    failures: tuple[Failure, ...]
    statuses: Mapping[int, int]
    unanswered: int = 0
    cut: int = 0
    finished: bool = True


def run(
    target: Any,
    document: Mapping[str, JSON],
    *,
    prefix: str = "",
    models: Sequence[str] = (),
    stream: bool | None = None,
    headers: Mapping[str, str] | None = None,
    max_examples: int = 25,
    seed: int = 1,
    skip_checks: Iterable[str] = (),
    seconds: float | None = None,
    patience: float = _PATIENCE,
    bound: Bound | None = None,
    seen: Callable[[Exchange], None] = lambda exchange: None,
) -> SchemaRun:
    """Fuzz `target`, an ASGI app or the URL of a server, by an OpenAPI document.

    prefix: where the document's paths stand below the target. models: names for the
    fields and path parameters called `model`, so that most requests get past it.
    stream: force that value of the field of this name, with valid data only. headers: sent
    with every request, such as a key. max_examples: for each operation and phase. seed: the
    requests follow from it alone, unless time runs out. skip_checks: the names of
    Schemathesis's checks to leave out. seconds: for the whole run; each operation gets its
    share, and leaves to later ones what it does not need. Of a server only, patience: seconds
    to wait for one answer; bound: see `Bound`.
    seen: told of every exchange, in the thread that calls this.

    Raises RuntimeError if the run itself broke down.
    """
    import schemathesis
    from schemathesis.config import SchemathesisConfig
    from schemathesis.engine import events, from_schema

    _register()
    described = _prepared(document, stream, models)
    in_process = not isinstance(target, str)
    base = "http://localhost" if in_process else target.rstrip("/")
    # Without `security` nothing says that a key is needed, and without a key none is dropped.
    skipped = (*skip_checks, *(() if described.get("security") and headers else ("ignored_auth",)))
    # What was answered before must not change what is sent next.
    phase = {"extra-data-sources": {"responses": False}, "operation-ordering": "none"}
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "continue-on-failure": True,
            **({"max-time": max(1, math.ceil(seconds))} if seconds is not None else {}),
            "max-stream-events": 100_000,
            "request-timeout": patience,
            "base-url": base + prefix,
            "headers": _as_declared(described, headers or {}),
            "generation": {
                "max-examples": max_examples,
                "database": "none",
                # What is forced is in the schema, so null would count as a violation.
                "mode": "all" if stream is None else "positive",
                "with-security-parameters": bool(headers),
            },
            "phases": {
                "examples": phase,
                "coverage": phase,
                "fuzzing": {**phase, "error-feedback": {"enabled": False}},
                # It follows the links of a document, and these APIs have none: no request
                # needs anything that an earlier answer told.
                "stateful": {"enabled": False},
            },
            "checks": {name: {"enabled": False} for name in skipped},
            **(
                {
                    "dictionaries": {"models": {"values": list(models)}},
                    "parameters": {
                        name: {"dictionary": "models", "probability": 0.95}
                        for name in ("body.model", *(f"path.{each}" for each in MODEL_PARAMETERS))
                    },
                }
                if models
                else {}
            ),
        }
    )
    schema = schemathesis.openapi.from_dict(described, config=config)
    transport = None
    if in_process:
        schema.app = target
    else:
        transport = PatientTransport(schema.transport, patience, bound)
        _send_through(schema, transport)
    failures: dict[tuple[str, str, str], Failure] = {}
    statuses: dict[int, int] = {}
    unanswered = cut = 0
    finished = True
    begun = phase_began = time.monotonic()
    running = from_schema(schema).execute()
    for event in running:
        if isinstance(event, events.FatalError):
            raise RuntimeError(f"the run broke down: {event.exception}") from event.exception
        if isinstance(event, events.NonFatalError):
            error = Failure(event.label, "error", str(event.value))
            failures[error.operation, error.check, error.message] = error
        if isinstance(event, events.PhaseStarted):
            phase_began = time.monotonic()
        if isinstance(event, events.PhaseFinished) and seconds is not None:
            last = event.phase.name.value == "fuzzing"
            # As much as there is for the other phases is left for the last.
            share = (begun + seconds - phase_began) / (1 if last else 2)
            finished = finished and time.monotonic() - phase_began < share * _NEARLY
            if last:
                # It would begin again for as long as there is some time.
                running.stop()
        if not isinstance(event, events.ScenarioFinished):
            continue
        recorder = event.recorder
        for case_id, interaction in recorder.interactions.items():
            made = exchange(recorder.label, recorder.cases[case_id].value, interaction, transport)
            seen(made)
            cut += made.cut
            if made.status is None:
                unanswered += 1
                continue
            statuses[made.status] = statuses.get(made.status, 0) + 1
            for check in recorder.checks.get(case_id, ()):
                if check.failure_info is None or (made.cut and check.name in _OF_WHOLE_ANSWERS):
                    continue
                found = check.failure_info
                failure = Failure(
                    recorder.label,
                    check.name,
                    f"{found.failure.title}: {found.failure.message}",
                    made,
                    found.code_sample or "",
                )
                key = (failure.operation, failure.check, failure.message + failure.response)
                if len(failures) < _MOST_FAILURES:
                    failures.setdefault(key, failure)
    return SchemaRun(
        failures=tuple(failures.values()),
        statuses=statuses,
        unanswered=unanswered,
        cut=cut,
        finished=finished,
    )


def _as_declared(document: Mapping[str, JSON], headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, those of keys written as the document has them: by that name they are taken
    away to see whether a key is needed."""
    schemes = document.get("components", {}).get("securitySchemes", {}).values()
    names = [resolve(document, scheme).get("name", "Authorization") for scheme in schemes]
    declared = {name.lower(): name for name in names}
    return {declared.get(name.lower(), name): value for name, value in headers.items()}


def _send_through(schema: Any, transport: PatientTransport) -> None:
    """Let a schema send by this transport: it has a property for that, and no setting."""
    kind = type(schema)
    schema.__class__ = type(kind.__name__, (kind,), {"transport": property(lambda _: transport)})


def _prepared(
    document: Mapping[str, JSON], stream: bool | None, models: Sequence[str]
) -> dict[str, JSON]:
    described = copy.deepcopy(dict(document))
    # Requests go where the caller says.
    described.pop("servers", None)
    for path_item in described["paths"].values():
        path_item.pop("servers", None)
        for operation in path_item.values():
            if not isinstance(operation, dict):
                continue
            content = operation.get("requestBody", {}).get("content", {})
            # Any type may be declared there, but what is meant is JSON.
            content.pop("*/*", None)
            for media in content.values():
                schema = media.get("schema", {})
                if stream is not None:
                    schema = _forced(described, schema, stream)
                media["schema"] = _named(described, schema, models) if models else schema
    return described


def _forced(document: Mapping[str, JSON], schema: JSON, stream: bool) -> JSON:
    resolved = resolve(document, schema)
    if "stream" not in resolved.get("properties", {}):
        return schema
    properties = {**resolved["properties"], "stream": {"const": stream}}
    required = [*resolved.get("required", ()), "stream"]
    return {**resolved, "properties": properties, "required": required}


def _named(document: Mapping[str, JSON], schema: JSON, models: Sequence[str]) -> JSON:
    """With `models` as the examples of the field `model`: where Schemathesis varies the other
    fields it takes the first of these, or else the default, which names no model."""
    resolved = resolve(document, schema)
    if "model" not in resolved.get("properties", {}):
        return schema
    model = {**resolve(document, resolved["properties"]["model"]), "examples": list(models)}
    model.pop("default", None)
    return {**resolved, "properties": {**resolved["properties"], "model": model}}


_registering = threading.Lock()
_registered = False


def _register() -> None:
    """Teach Schemathesis to read NDJSON, once a process."""
    global _registered
    import schemathesis

    with _registering:
        if _registered:
            return
        _registered = True

    @schemathesis.deserializer("application/x-ndjson")
    def ndjson(context: Any, response: Any) -> JSON:
        decoder = framing_of("application/x-ndjson").decoder()
        try:
            return decoder.feed(response.content) + decoder.close()
        except FramingError as error:
            raise ValueError(str(error)) from error
