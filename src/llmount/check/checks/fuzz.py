"""Schemathesis over the document: what it allows is accepted, what it does not is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from anyio import to_thread

from ...testing.schema_run import Failure, SchemaRun
from ..probe import Probe
from ..registry import Skip, check
from ..verdict import Severity

# Schemathesis's own checks, and what a finding of each is worth: servers refuse values that
# the document allows, and let pass what it forbids, without any client noticing.
_CHECKS = {
    "not_a_server_error": (
        "crashes",
        "No request makes the server fail with a 5xx",
        Severity.BREAKING,
    ),
    "status_code_conformance": (
        "statuses",
        "Every status is one that the document has",
        Severity.STRICT,
    ),
    "content_type_conformance": (
        "media-types",
        "Every answer has a media type that the document has",
        Severity.STRICT,
    ),
    "response_headers_conformance": (
        "headers",
        "Every answer has the headers that the document demands",
        Severity.STRICT,
    ),
    "response_schema_conformance": (
        "answers",
        "Every answer, and every refusal, has what its clients read",
        Severity.STRICT,
    ),
    "negative_data_rejection": (
        "refuses",
        "A request that the document forbids is refused",
        Severity.STRICT,
    ),
    "positive_data_acceptance": (
        "accepts",
        "A request that the document allows is answered",
        Severity.STRICT,
    ),
    "missing_required_header": (
        "required-headers",
        "A request without a header that the document demands is refused",
        Severity.STRICT,
    ),
    "unsupported_method": (
        "methods",
        "A method that a path does not have is answered with 405",
        Severity.STRICT,
    ),
    "ignored_auth": ("keys", "A request without a good key is refused", Severity.BREAKING),
}


async def _run(probe: Probe) -> SchemaRun:
    from ...testing.schema_run import run

    session = probe.session
    try:
        outcome = await to_thread.run_sync(
            partial(
                run,
                session.target.url,
                _where(session.tolerant.document, session.mount),
                models=[session.model],
                headers=session.target.headers,
                max_examples=session.examples,
                seed=session.seed,
            ),
            abandon_on_cancel=True,
        )
    except ImportError as error:
        raise Skip(f"Schemathesis is not installed: {error}") from error
    if not outcome.statuses:
        broken = next((f.message for f in outcome.failures if f.check == "error"), "no answer")
        raise Skip(f"no request was answered: {broken}")
    return outcome


def _where(document: Mapping[str, Any], mount: str) -> dict[str, Any]:
    """The document with its paths below the target, those at the root where they are."""
    placed = copy.deepcopy(dict(document))
    placed["paths"] = {
        path if item.get("servers") == [{"url": "/"}] else mount + path: item
        for path, item in placed["paths"].items()
    }
    return placed


def _judge(name: str) -> Callable[[Probe], Any]:
    async def judge(probe: Probe) -> None:
        outcome = await probe.once("fuzz", lambda: _run(probe))
        for failure in outcome.failures:
            if failure.check == name:
                probe.found(_told(failure))

    return judge


def _told(failure: Failure) -> str:
    return f"{failure.operation}: {failure.message}"


for _name, (_id, _title, _severity) in _CHECKS.items():
    check(f"fuzz.{_id}", _title, severity=_severity, each=False)(_judge(_name))
