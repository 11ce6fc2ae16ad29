"""What the contract tester says of a mutant, and of our servers as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmount.check.inspection import CannotRun, Options, inspect
from llmount.check.registry import CHECKS
from llmount.check.served import served
from llmount.check.verdict import Report, Verdict

from .exchange import ASGI, Stage
from .mutant import Mutant
from .origins import KEY, keyed, model_of, mount_of, standing

__all__ = ["LONG_AREAS", "Measured", "inspect_app", "measure", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of a mutant. failed, warned: ids of the checks that found something. touched:
    whether an exchange was changed at all. refused: why the tester did not begin."""

    name: str
    failed: Sequence[str] = ()
    warned: Sequence[str] = ()
    touched: bool = False
    refused: str = ""
    seconds: float = 0.0

    @property
    def caught(self) -> bool:
        return bool(self.failed or self.refused)

    @property
    def noticed(self) -> bool:
        return self.caught or bool(self.warned)

    def enough(self, due: Verdict) -> bool:
        """Whether the tester says of it what it ought to."""
        return self.caught if due is Verdict.FAIL else self.noticed


LONG_AREAS = frozenset({"fuzz", "robustness", "timing"})
"""What takes long, and is made only for the mutants that need it."""


def skipped(mutant: Mutant) -> list[str]:
    """The areas that are not asked about a mutant."""
    areas = {check.area for check in CHECKS.values()}
    if mutant.fuzz:
        return sorted(areas - {"fuzz"})
    if mutant.origin == "slow":
        return sorted(areas - {"robustness", "timing"})
    if mutant.group.endswith(("-robust", "-keys")):
        return sorted(areas - {"robustness", "refusals"})
    return sorted(areas & LONG_AREAS)


async def measure(mutant: Mutant, only: Sequence[str] = ()) -> Measured:
    """Serve a mutant and check it. only: these checks, instead of all that may catch it.

    Raises what its change raises, since a server that fails by mistake would be caught.
    """
    stage = Stage(standing(mutant.contract, mutant.origin), mount_of(mutant.contract), mutant.on)
    skip = () if only else skipped(mutant)
    try:
        report = await inspect_app(
            mutant.change(stage), mutant.contract, mutant.origin, only=only, skip=skip
        )
    except CannotRun as error:
        return Measured(name=mutant.name, touched=stage.touched, refused=str(error))
    if stage.errors:
        raise stage.errors[0]
    return Measured(
        name=mutant.name,
        failed=_ids(report, Verdict.FAIL),
        warned=_ids(report, Verdict.WARN),
        touched=stage.touched,
        seconds=report.seconds,
    )


async def inspect_app(
    app: ASGI, contract: str, kind: str, *, only: Sequence[str] = (), skip: Sequence[str] = ()
) -> Report:
    """Serve an app and check it. Raises as `inspect`."""
    key = {"authorization": f"Bearer {KEY}"} if keyed(contract, kind) else {}
    options = Options(
        contracts=[contract],
        model=model_of(contract),
        headers=key,
        only=only,
        skip=skip,
        timeout=15.0,
    )
    with served(app) as url:
        [report] = await inspect(url, options)
    return report


def _ids(report: Report, verdict: Verdict) -> list[str]:
    return sorted({result.check for result in report.of(verdict)})
