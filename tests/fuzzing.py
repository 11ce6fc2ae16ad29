"""Schemathesis over a document, in process, against the app of that document.

The test-suite runs it briefly. A long run of one document, such as before a release:

    python -m tests.fuzzing generate/ollama --cases 10000

It says how many requests had which status, what was found, and which rules were of use.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from llmount import App, EchoBackend
from llmount.check.refusals import Allowed, allowed
from llmount.contract import Contract, names, read
from llmount.testing.schema_run import Failure, run
from llmount.types import Capability, Model

from . import documented

__all__ = ["KEY", "Findings", "fuzz", "shown"]

KEY = "a-key-for-the-tests"

_CHECKS: Mapping[str, str] = {
    "positive_data_acceptance": "accepts",
    "negative_data_rejection": "refuses",
}
"""Schemathesis's names of checks, and those of `llmount check`."""


# Running


@dataclass(slots=True)
class Findings:
    """failures: those that are not allowed. rules: how often each rule allowed one."""

    failures: list[Failure] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    rules: Counter[Allowed] = field(default_factory=Counter)

    @property
    def cases(self) -> int:
        """Requests sent."""
        return self.statuses.total()


def fuzz(name: str, app: App | None = None, **options: Any) -> Findings:
    """One run over a document's own app, or over `app`; options as for `schema_run.run`."""
    key = _wants_key(name)
    result = run(
        app or _app(name),
        read(name),
        models=_models(name),
        headers={"Authorization": f"Bearer {KEY}"} if key else None,
        **options,
    )
    findings = Findings(statuses=Counter(result.statuses))
    for failure in result.failures:
        rule = next((rule for rule in allowed(name) if _allows(rule, failure)), None)
        if rule is None:
            findings.failures.append(failure)
        else:
            findings.rules[rule] += 1
    return findings


def _models(name: str) -> Sequence[str]:
    return documented.MODELS[name.partition("/")[0]] if name in documented.SERVED else ["echo"]


def _app(name: str) -> App:
    """With models that can do everything, so that no request is refused for what they lack."""
    able = frozenset(get_args(Capability)) - {"image"}
    backend = EchoBackend(
        models=[Model(name=each, capabilities=able) for each in documented.named(name)]
    )
    options = {"keys": [KEY]} if _wants_key(name) else {}
    return documented.app(name, backend, check_answers=True, **options)


def _wants_key(name: str) -> bool:
    return bool(read(name).get("security"))


def _allows(rule: Allowed, failure: Failure) -> bool:
    return rule.fits(_CHECKS.get(failure.check, ""), failure.response)


def shown(failures: Iterable[Failure]) -> str:
    return "\n".join(
        f"{each.operation} {each.check}: {each.message[:300]}\n  {each.response}\n"
        f"  {each.code_sample[:1000]}"
        for each in failures
    )


def _at_least(cases: int, name: str, stream: bool | None) -> Findings:
    """Runs with seeds of their own, until so many requests were sent."""
    operations = Contract.load(name).operations.values()
    each = -(-cases // sum(operation.body is not None for operation in operations))
    total, seed = Findings(), 1
    while total.cases < cases:
        findings = fuzz(name, stream=stream, max_examples=each, seed=seed)
        total.failures += findings.failures
        total.statuses += findings.statuses
        total.rules += findings.rules
        seed += 1
    return total


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing")
    parser.add_argument("document", choices=names())
    parser.add_argument("--cases", type=int, default=10_000, help="requests, at the least")
    asked = parser.parse_args()
    failed = 0
    for stream in (None, True):
        started = time.monotonic()
        total = _at_least(asked.cases, asked.document, stream)
        print(
            f"{asked.document}, stream={stream}: {total.cases} requests in "
            f"{time.monotonic() - started:.0f} s, {len(total.failures)} failures, "
            f"statuses {dict(sorted(total.statuses.items()))}"
        )
        for rule in allowed(asked.document):
            print(f"  allowed {total.rules[rule]} times: {rule.check} {rule.text}")
        print(shown(total.failures))
        failed += len(total.failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
