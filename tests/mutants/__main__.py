"""`python -m tests.mutants`: break our servers, one way after another, and see who notices."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import partial

import anyio

from llmount.check.verdict import Verdict

from .measure import inspect_app, measure, skipped
from .mutant import Mutant
from .origins import standing
from .record import FILE, Caught, Own, Record
from .table import MUTANTS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 if all that is broken is caught and our own servers are clean."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument(
        "patterns", nargs="*", metavar="PATTERN", help="of names, or `own` for ours; default: all"
    )
    parser.add_argument(
        "--write", action="store_true", help="keep the results in measured.json and docs/trust.md"
    )
    options = parser.parse_args(arguments)
    # What the broken apps raise is meant.
    logging.getLogger("uvicorn.error").addFilter(lambda record: False)
    mutants = [mutant for mutant in MUTANTS.values() if _wanted(mutant.name, options.patterns)]
    caught = {mutant.name: _told(mutant) for mutant in mutants}
    own = _own() if _wanted("own", options.patterns) else {}
    if options.write:
        _write(Record(caught, own))
    missed = [mutant for mutant in mutants if not caught[mutant.name].enough(mutant.due)]
    print(
        f"{len(mutants) - len(missed)} of {len(mutants)} are caught{'; not so:' if missed else ''}"
    )
    for mutant in missed:
        print(f"  {mutant.name}: {mutant.breaks}")
    return 1 if missed or any(each.findings for each in own.values()) else 0


def _write(measured: Record) -> None:
    """Renew what is recorded by what was measured."""
    before = Record.read() if FILE.exists() else Record()
    caught = {**before.mutants, **measured.mutants}
    # In the order of the tables, and without those that are no more.
    record = Record(
        {name: caught[name] for name in MUTANTS if name in caught}, {**before.own, **measured.own}
    )
    record.write()
    if len(record.mutants) == len(MUTANTS):
        record.into_docs()


def _wanted(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _told(mutant: Mutant) -> Caught:
    measured = anyio.run(measure, mutant)
    failed = measured.failed or (["refused to run"] if measured.refused else [])
    found = Caught(failed=failed, warned=[] if failed else measured.warned)
    mark = "   " if found.enough(mutant.due) else ">>>"
    note = "" if measured.touched else " (nothing was changed)"
    said = ", ".join(found.failed) or ("warned: " + ", ".join(found.warned))
    print(f"{mark} {mutant.name}{note}: {said} ({measured.seconds:.1f} s)", flush=True)
    return found


def _own() -> dict[str, Own]:
    """Each of ours that mutants are made of: the plain ones by all checks, the others by those
    that their mutants are asked."""
    found = {}
    kinds = {(mutant.contract, mutant.origin): mutant for mutant in MUTANTS.values()}
    kinds |= {(contract, "plain"): mutant for (contract, _), mutant in kinds.items()}
    for (contract, kind), mutant in sorted(kinds.items(), key=lambda each: each[0]):
        skip = [] if kind == "plain" else skipped(mutant)
        app = standing(contract, kind)
        report = anyio.run(partial(inspect_app, app, contract, kind, skip=skip))
        wrong = [
            result.key
            for result in report.results
            if result.verdict in (Verdict.FAIL, Verdict.WARN) or result.crashed
        ]
        name = contract if kind == "plain" else f"{contract}, {kind}"
        found[name] = Own(
            checks=len(report.results), findings=wrong, seconds=round(report.seconds, 1)
        )
        print(f"    {name} as it is: {', '.join(wrong) or 'nothing'}", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
