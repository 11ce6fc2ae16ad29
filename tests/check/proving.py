"""That a check finds what is wrong, and nothing where nothing is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmount.check.registry import CHECKS
from llmount.check.verdict import Severity, Verdict

from .breaking import Edit, altered
from .own import OWN, App, checked, told

__all__ = ["proves"]


async def proves(
    check: str,
    contract: str,
    edit: Edit,
    *,
    own: Mapping[str, Callable[[], App]] = OWN,
) -> None:
    """The check finds something in our own app of the contract after the edit."""
    results = await checked(altered(own[contract](), edit), contract, check)
    severe = CHECKS[check].severity is Severity.BREAKING
    wanted = Verdict.FAIL if severe else Verdict.WARN
    assert wanted in [result.verdict for result in results], told(results)
    assert not any(result.crashed for result in results)
