"""One run of Schemathesis against a server."""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

import anyio
from anyio import to_thread

from ..testing.schema_exchange import Exchange
from ..testing.schema_run import run
from .apis import apis_of
from .bounds import bounded
from .fuzz_document import labelled, placed, plain
from .fuzz_kinds import Explain, Fuzzed, Kinds
from .probe import Probe, Session
from .recording import Recording
from .registry import Skip
from .said import Ask
from .target import masked

__all__ = ["fuzzed"]

logger = logging.getLogger("llmount.check")

_SECONDS: Final = 35.0
"""For the whole run, if there is no less."""

_SHARE: Final = 0.4
"""Of the time that is left: others need some, too."""

_LEAST_SECONDS: Final = 2.0
_QUICK: Final = 0.3
"""Seconds for a plain question."""


async def fuzzed(session: Session, explain: Explain) -> Fuzzed:
    """Fuzz the server, once a run. Raises `Skip` if that is not possible."""
    outcome = await session.once("fuzz", lambda: _tried(session, explain))
    if isinstance(outcome, Skip):
        raise Skip(*outcome.args)
    return outcome


async def _tried(session: Session, explain: Explain) -> Fuzzed | Skip:
    """That it is not possible is found out once, too."""
    try:
        return await _fuzz(session, explain)
    except Skip as reason:
        return reason


async def _fuzz(session: Session, explain: Explain) -> Fuzzed:
    usual = await _plain_seconds(session)
    patience = min(15.0, max(3.0, 4 * usual + 2))
    left = anyio.current_effective_deadline() - anyio.current_time()
    seconds = min(_SECONDS, left * _SHARE, left * 0.8 - patience)
    if seconds < _LEAST_SECONDS:
        raise Skip("no time was left")
    operations, document = labelled(session), placed(session)
    documented = plain(session.contract.name, document, operations)
    kinds = Kinds(session, operations, frozenset(documented), explain)
    # Of a quick server always the same, so that the requests are the same, too.
    examples = session.examples
    if usual > _QUICK:
        examples = int(min(examples, max(3, seconds / usual / len(operations) / 4)))
    try:
        outcome = await to_thread.run_sync(
            partial(
                run,
                session.target.url,
                document,
                models=[session.model],
                headers=session.target.headers,
                max_examples=examples,
                seed=session.seed,
                seconds=seconds,
                patience=patience,
                bound=lambda label, body: bounded(session.contract.name, operations[label], body),
                seen=kinds.see,
            ),
            abandon_on_cancel=True,
        )
    except ImportError as error:
        raise Skip(f"Schemathesis is not installed: {error}") from error
    errors = [failure.message for failure in outcome.failures if failure.exchange is None]
    if not outcome.statuses:
        raise Skip(f"no request was answered: {next(iter(errors), 'none was sent')}")
    for message in errors:
        logger.warning("Schemathesis could not try all: %s", message)
    for failure in outcome.failures:
        kinds.add_failure(failure)
    return kinds.result(outcome, partial(_recording, secrets=frozenset(session.target.headers)))


async def _plain_seconds(session: Session) -> float:
    """How long the answer to a plain question takes, or what is usual."""
    for api in apis_of(session.contract.name)[:1]:
        recording = await Probe(session, "fuzz", api).ask(Ask(stream="whole" not in api.knows))
        if recording.status == 200 and not recording.fault:
            return max(0.01, recording.ended)
    return 1.0


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
