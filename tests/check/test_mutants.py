"""Servers that are broken on purpose: what docs/trust.md says of them is so."""

from __future__ import annotations

from collections import Counter

import anyio
import pytest

from llmount.check.registry import CHECKS
from llmount.check.verdict import Verdict
from tests.mutants.measure import LONG_AREAS, measure
from tests.mutants.mutant import Mutant
from tests.mutants.record import DOCS, Record, chosen
from tests.mutants.table import MUTANTS

RECORD = Record.read()


def test_the_page_tells_what_was_measured() -> None:
    assert RECORD.tables() in DOCS.read_text(encoding="utf-8"), (
        "run `python -m tests.mutants --write`"
    )


def test_all_broken_servers_were_measured_and_none_that_is_no_more() -> None:
    assert list(RECORD.mutants) == list(MUTANTS), "run `python -m tests.mutants --write`"


def test_what_was_measured_names_checks_that_there_are() -> None:
    named = {check for each in RECORD.mutants.values() for check in (*each.failed, *each.warned)}

    assert named <= CHECKS.keys() | {"refused to run"}


def test_there_are_many_broken_servers_of_every_family() -> None:
    families = Counter(mutant.contract.partition("/")[0] for mutant in MUTANTS.values())

    assert len(MUTANTS) >= 110
    assert all(families[family] >= 20 for family in ("generate", "chat", "ai"))


def test_of_a_hundred_broken_servers_at_least_ninety_five_are_caught() -> None:
    broken = [mutant for mutant in MUTANTS.values() if mutant.due is Verdict.FAIL]
    caught = [mutant for mutant in broken if RECORD.mutants[mutant.name].failed]

    assert len(caught) / len(broken) >= 0.95


def test_nothing_is_found_on_servers_that_are_not_broken() -> None:
    assert {name: own.findings for name, own in RECORD.own.items() if own.findings} == {}


def _samples() -> dict[str, Mutant]:
    """For each check that takes no time the first broken server that it tells most of."""
    found: dict[str, Mutant] = {}
    for name, check in chosen(RECORD).items():
        if check in CHECKS and CHECKS[check].area not in LONG_AREAS:
            found.setdefault(check, MUTANTS[name])
    return found


SAMPLES = _samples()


@pytest.mark.parametrize("check", SAMPLES)
def test_a_check_finds_its_defect_again(check: str) -> None:
    async def measured() -> None:
        with anyio.fail_after(30):
            found = await measure(SAMPLES[check], only=[check])
        assert found.touched
        assert check in (*found.failed, *found.warned)

    anyio.run(measured)
