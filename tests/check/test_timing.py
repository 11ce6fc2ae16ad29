"""The checks of timing find streams that are kept back, and nothing where they are not."""

from __future__ import annotations

import pytest

from llmount.check.verdict import Verdict

from .own import OWN, checked, told
from .slow import gathering, slow

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

STEP = 0.025


@pytest.mark.parametrize("contract", ["chat/openai", "generate/ollama", "ai/geenii"])
async def test_a_server_may_be_too_fast_to_tell(contract: str) -> None:
    results = await checked(OWN[contract](), contract, "timing")
    assert results
    assert {r.verdict for r in results} == {Verdict.SKIP}, told(results)


async def test_a_stream_that_is_sent_as_it_is_written_is_right_and_measured() -> None:
    results = await checked(slow(step=STEP), "chat/responses", "timing")
    assert [r.verdict for r in results] == [Verdict.PASS] * len(results), told(results)
    for result in results:
        assert 0 < result.measured["first item"] < result.measured["whole stream"]
        assert 10 < result.measured["tokens per second"] < 60
        assert result.measured["longest pause"] < 1


async def test_a_stream_that_is_kept_back_is_found() -> None:
    results = await checked(gathering(slow(step=STEP)), "chat/responses", "timing")
    verdicts = {result.check: result.verdict for result in results}
    assert verdicts == {"timing.first-item": Verdict.WARN, "timing.lump": Verdict.FAIL}
    [finding] = results[-1].findings
    assert finding.recording is not None
    assert len(finding.recording.items) > 8
    assert finding.item == 0


async def test_an_answer_that_is_too_short_tells_nothing() -> None:
    results = await checked(gathering(slow("openai", tokens=1)), "chat/openai", "timing")
    assert {r.verdict for r in results} == {Verdict.SKIP}, told(results)
