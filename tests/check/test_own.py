"""Our own servers conform: no check finds anything, on either event loop."""

from __future__ import annotations

import pytest

from llmount.check.registry import CHECKS, Check
from llmount.check.verdict import Verdict
from llmount.contract import names

from .own import CALLING, OWN, checked, failed, told

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]


@pytest.mark.parametrize("contract", OWN)
async def test_nothing_is_found_in_our_own_servers(contract: str) -> None:
    results = await checked(OWN[contract](), contract, skip=("fuzz", "robustness"))
    assert failed(results) == [], told(results)
    assert not [result for result in results if result.crashed], told(results)


@pytest.mark.parametrize("contract", CALLING)
async def test_nothing_is_found_where_the_model_calls_what_it_is_offered(contract: str) -> None:
    results = await checked(CALLING[contract](), contract, "order", "features", "answers", "stream")
    assert failed(results) == [], told(results)
    calls = [result for result in results if result.check.startswith("features.tool-")]
    assert {result.verdict for result in calls} == {Verdict.PASS}, told(calls)


def test_there_is_a_server_of_ours_for_each_contract() -> None:
    assert set(OWN) == set(names())


# The requests of the others are made from the document, which says so itself.
SAID = [check for check in CHECKS.values() if check.area != "fuzz"]


@pytest.mark.parametrize("check", SAID, ids=[check.id for check in SAID])
def test_a_check_says_what_it_is_for_and_who_says_so(check: Check) -> None:
    assert check.title
    assert not check.title.endswith(".")
    assert check.source.startswith("https://")
    assert any(check.is_for(name) for name in names())
