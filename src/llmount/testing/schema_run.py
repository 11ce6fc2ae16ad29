"""Schemathesis over a document: every operation, with what it allows and what it does not.

The only file that imports schemathesis, which takes most of a second.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmount.contract import resolve
from llmount.framing import FramingError, framing_of
from llmount.types import JSON

__all__ = ["Failure", "SchemaRun", "run"]


_SHOWN = 500
"""Bytes of a response."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What Schemathesis found: the operation ("POST /chat"), the check, the beginning of the
    response's body, and a command that shows it."""

    operation: str
    check: str
    message: str
    response: str = ""
    code_sample: str = ""


@dataclass(frozen=True, slots=True)
class SchemaRun:
    """What a run found, and how many requests of which status it took."""

    failures: tuple[Failure, ...]
    statuses: Mapping[int, int]


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
) -> SchemaRun:
    """Fuzz `target`, an ASGI app or the URL of a server, by an OpenAPI document.

    prefix: where the document's paths stand below the target. models: names for the
    fields and path parameters called `model`, so that most requests get past it.
    stream: force that value of the field of this name, with valid data only. headers: sent
    with every request, such as a key. max_examples: for each operation and phase. skip_checks: the
    names of Schemathesis's checks to leave out.

    Raises RuntimeError if the run itself broke down.
    """
    import schemathesis
    from schemathesis.config import SchemathesisConfig
    from schemathesis.engine import events, from_schema

    _register()
    described = _prepared(document, stream)
    in_process = not isinstance(target, str)
    base = "http://localhost" if in_process else target.rstrip("/")
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "continue-on-failure": True,
            "max-stream-events": 100_000,
            "request-timeout": 20,
            "base-url": base + prefix,
            "headers": dict(headers or {}),
            "generation": {
                "max-examples": max_examples,
                "database": "none",
                # What is forced is in the schema, so null would count as a violation.
                "mode": "all" if stream is None else "positive",
                "with-security-parameters": bool(headers),
            },
            "phases": {"stateful": {"enabled": False}},
            "checks": {name: {"enabled": False} for name in ("ignored_auth", *skip_checks)},
            **(
                {
                    "dictionaries": {"models": {"values": list(models)}},
                    "parameters": {
                        name: {"dictionary": "models", "probability": 0.95}
                        for name in ("body.model", "path.model")
                    },
                }
                if models
                else {}
            ),
        }
    )
    schema = schemathesis.openapi.from_dict(described, config=config)
    if in_process:
        schema.app = target
    failures: dict[tuple[str, str, str], Failure] = {}
    statuses: dict[int, int] = {}
    for event in from_schema(schema).execute():
        if isinstance(event, events.FatalError):
            raise RuntimeError(f"the run broke down: {event.exception}") from event.exception
        if isinstance(event, events.NonFatalError):
            error = Failure(event.label, "error", str(event.value))
            failures[error.operation, error.check, error.message] = error
        if not isinstance(event, events.ScenarioFinished):
            continue
        recorder = event.recorder
        for case_id, interaction in recorder.interactions.items():
            if interaction.response is not None:
                status = interaction.response.status_code
                statuses[status] = statuses.get(status, 0) + 1
            for check in recorder.checks.get(case_id, ()):
                if check.failure_info is None:
                    continue
                found, response = check.failure_info, interaction.response
                failure = Failure(
                    recorder.label,
                    check.name,
                    f"{found.failure.title}: {found.failure.message}",
                    response.content[:_SHOWN].decode("utf-8", "replace") if response else "",
                    found.code_sample or "",
                )
                failures.setdefault((failure.operation, failure.check, failure.response), failure)
    return SchemaRun(tuple(failures.values()), statuses)


def _prepared(document: Mapping[str, JSON], stream: bool | None) -> dict[str, JSON]:
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
            if stream is not None:
                for media in content.values():
                    media["schema"] = _forced(described, media["schema"], stream)
    return described


def _forced(document: Mapping[str, JSON], schema: JSON, stream: bool) -> JSON:
    resolved = resolve(document, schema)
    if "stream" not in resolved.get("properties", {}):
        return schema
    properties = {**resolved["properties"], "stream": {"const": stream}}
    required = [*resolved.get("required", ()), "stream"]
    return {**resolved, "properties": properties, "required": required}


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
