"""The page of servers that were checked names checks, contracts and options that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llmount.check import checks  # noqa: F401  (fills the table)
from llmount.check.registry import CHECKS
from llmount.check.verdict import Verdict
from llmount.contract import names

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "compatibility.md").read_text(encoding="utf-8")
FAILED = PAGE.partition("\n## Ollama\n")[2].partition("\n## What this does not tell\n")[0]
MATRIX = re.findall(
    r"^\| [^|]* \| `([a-z]+/[a-z]+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|",
    PAGE,
    re.MULTILINE,
)


def named(text: str) -> set[str]:
    """The checks that a text names."""
    areas = "|".join({check.area for check in CHECKS.values()})
    return set(re.findall(rf"`((?:{areas})\.[a-z][\w.-]*)`", text))


def test_every_check_that_the_page_names_there_is() -> None:
    assert len(named(FAILED)) > 20
    assert named(PAGE) - set(CHECKS) == set()


def test_the_matrix_has_a_column_for_each_verdict() -> None:
    assert f"| server | API | {' | '.join(Verdict)} |" in PAGE


def test_every_contract_of_ours_is_in_the_matrix_and_none_of_them_fails() -> None:
    own = PAGE.partition("| our own |")[2].partition("\n\n")[0]
    found = re.findall(r"`([a-z]+/[a-z]+)` \| \d+ \| (\d+) \| (\d+) \|", own)
    assert {contract for contract, _, _ in found} == set(names())
    assert {(failed, warned) for _, failed, warned in found} == {("0", "0")}


@pytest.mark.parametrize("row", MATRIX, ids=lambda row: " ".join(row))
def test_a_row_of_the_matrix_is_of_a_contract_that_there_is(row: tuple[str, ...]) -> None:
    contract, *counts = row
    assert contract in names()
    assert sum(map(int, counts)) > 0


def test_the_page_is_in_the_navigation_after_the_one_on_trust() -> None:
    nav = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    after = nav.partition(": trust.md\n")[2]
    assert after.startswith("  - Servers that were checked: compatibility.md\n")
