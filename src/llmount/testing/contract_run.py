"""The checks of a contract, made one by one by whoever wants them one by one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any

import anyio.from_thread

from .. import __version__
from ..check.excerpt import excerpt, rewriting, secrets_of
from ..check.inspection import Options, opened
from ..check.probe import Session
from ..check.reproduce import USUAL, curl
from ..check.run import Task, make
from ..check.served import load, served
from ..check.target import Target
from ..check.verdict import Finding, Report, Result

__all__ = ["ContractRun", "told"]


class ContractRun:
    """One run of the checks against one server, from threads that have no event loop.

    target: a URL, `module:app`, or an ASGI app, which is served for as long as the run is open.
    Use as `with ContractRun(…) as run`; entering raises `CannotRun`, `AppNotFound` or
    RuntimeError if there is nothing to check.
    """

    def __init__(self, target: Any, contract: str, options: Options) -> None:
        self._what = target
        self._contract = contract
        self._options = options
        self._stack = ExitStack()
        self._session: Session

    def __enter__(self) -> ContractRun:
        with ExitStack() as stack:
            url = self._what
            if not (isinstance(url, str) and "://" in url):
                app = load(url) if isinstance(url, str) else url
                url = stack.enter_context(served(app))
            self._portal = stack.enter_context(anyio.from_thread.start_blocking_portal())
            target = Target(url, headers=self._options.headers, timeout=self._options.timeout)
            stack.enter_context(self._portal.wrap_async_context_manager(target))
            self._session = self._portal.call(opened, target, self._contract, self._options)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def make(self, task: Task) -> Result | None:
        """The result of a check, fit to be shown; None if it does not apply."""
        results = self._portal.call(partial(make, self._session, [task]))
        return self._shown(results[0]) if results else None

    def _shown(self, result: Result) -> Result:
        url = self._session.target.url
        places = {} if url == self._what else {url: USUAL}
        report = Report(
            target=url,
            contract=self._contract,
            profile=self._options.profile,
            model=self._session.model,
            version=__version__,
            results=[result],
        )
        rewrite = rewriting(secrets_of(url, self._options.headers), places)
        (shown,) = excerpt(report, rewrite).results
        accepted = self._options.baseline.accepted.get(self._contract, frozenset())
        return replace(shown, accepted=shown.key in accepted)


def told(result: Result, title: str, breaks: Mapping[str, str]) -> str:
    """What a check found, and what makes it happen again."""
    lines = [f"{result.key}: {title}"]
    lines += [f"  breaks {client}: {how}" for client, how in breaks.items()]
    for finding in result.findings:
        where = "" if finding.item is None else f" (item {finding.item})"
        lines.append(f"- {finding.message}{where}")
        lines += _reproduced(finding)
    if result.findings_left_out:
        lines.append(f"- and {result.findings_left_out} more")
    return "\n".join(lines)


def _reproduced(finding: Finding) -> list[str]:
    command = finding.recording and curl(finding.recording)
    return [f"  {line}" for line in command.splitlines()] if command else []
