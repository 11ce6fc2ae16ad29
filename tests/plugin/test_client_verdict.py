"""What is said of a client, from the requests that it sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmount.testing.reference.client_verdict import RULES, ClientVerdict, Expected, judge_client
from llmount.testing.reference.journal import Asked
from llmount.testing.reference.server import ReferenceServer

PAGE = Path(__file__).parents[2] / "docs" / "pytest.md"


def tried(at: float, status: int | None = 200, **others: object) -> Asked:
    """A try of one request that took a hundredth of a second."""
    end = "complete" if status else "cut"
    asked = {"method": "POST", "path": "/v1/chat/completions", "body": b"{}", "end": end}
    return Asked(at=at, ended=at + 0.01, status=status, **{**asked, **others})  # type: ignore[arg-type]


def judged(
    *requests: Asked, accepted: bool | None = None, patience: float = 30, most_tries: int = 6
) -> ClientVerdict:
    expected = Expected(accepted=accepted, patience=patience, most_tries=most_tries)
    return judge_client(requests, expected)


LIMITED = {"retry_after": 2.0}

FOUND = {
    "retry_after_ignored": [tried(0, 429, **LIMITED), tried(1.5)],
    "retry_storm": [tried(at * 0.05, 503) for at in range(4)],
    "gave_up_too_early": [tried(0, 503)],
    "hopeless_retry": [tried(0, 401), tried(1, 401)],
    "asked_again_after_success": [tried(0, 503), tried(1), tried(1.1)],
    "unbounded_wait": [tried(0, waited=31.0)],
    "truncated_stream_accepted": [tried(0, fault="truncate", spoiled=True, end="truncated")],
    "malformed_item_accepted": [tried(0, fault="malformed", spoiled=True)],
    "duplicate_item_accepted": [tried(0, fault="duplicate", spoiled=True)],
    "broken_tool_call_accepted": [tried(0, fault="broken_tool_call", spoiled=True)],
    "wrong_content_type_accepted": [tried(0, fault="wrong_content_type", spoiled=True)],
    "error_in_band_ignored": [tried(0, fault="error_in_band", spoiled=True)],
}

FINE = {
    "one answer": [tried(0)],
    "the same question twice": [tried(0), tried(0.02)],
    "a wait as long as it was told": [tried(0, 429, **LIMITED), tried(2.01)],
    "a wait that is a tick too short for a coarse clock": [tried(0, 429, **LIMITED), tried(1.98)],
    "two tries with a pause": [tried(0, 503), tried(0.5, 503), tried(1.6)],
    "an error of the client's own": [tried(0, 400)],
    "another question after a refusal": [tried(0, 400), tried(0.1, body=b"[]")],
    "an answer that it left": [tried(0, end="left")],
    "a new connection for a lost one": [tried(0, None), tried(0.5)],
}


@pytest.mark.parametrize("id", FOUND)
def test_what_is_wrong_is_found_and_nothing_else(id: str) -> None:
    verdict = judged(*FOUND[id], accepted=True)

    assert verdict.ids == [id]
    assert not verdict.ok
    assert id in str(verdict)


@pytest.mark.parametrize("requests", FINE.values(), ids=FINE)
def test_what_is_fine_is_not_found_wrong(requests: list[Asked]) -> None:
    verdict = judged(*requests, accepted=True)

    assert verdict.ok, str(verdict)


def test_there_is_a_case_for_every_rule_and_the_page_tells_of_it() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert list(FOUND) == list(RULES)
    assert all(f"| `{id}` |" in page for id in RULES)


@pytest.mark.parametrize("accepted", [False, None])
@pytest.mark.parametrize("id", [id for id in FOUND if "accepted" in id or "band" in id])
def test_a_client_that_noticed_or_may_have_is_not_blamed(id: str, accepted: bool | None) -> None:
    assert judged(*FOUND[id], accepted=accepted).ok


def test_too_many_tries_are_a_storm_however_slow() -> None:
    tries = [tried(at * 5.0, 503) for at in range(4)]

    assert judged(*tries, most_tries=4).ok
    assert judged(*tries, most_tries=3).ids == ["retry_storm"]


def test_a_lost_connection_that_nobody_asked_for_again_was_given_up() -> None:
    assert judged(tried(0, None)).ids == ["gave_up_too_early"]


def test_what_is_ignored_is_not_found() -> None:
    expected = Expected(accepted=None, patience=30, most_tries=6)

    assert judge_client([tried(0, 503)], expected, ignore=["gave_up_too_early"]).ok
    with pytest.raises(ValueError, match="no finding gave_up; there are retry_after"):
        judge_client([], expected, ignore=["gave_up"])


def test_a_report_points_at_the_requests() -> None:
    assert str(judged(*FOUND["retry_after_ignored"])).splitlines() == [
        "2 requests:",
        "  #1   0.000 s  POST /v1/chat/completions  429",
        "  #2   1.500 s  POST /v1/chat/completions  200",
        "The client:",
        "  retry_after_ignored: it was told to wait 2 s, and waited 1.49 s (#1, #2)",
    ]


def test_an_expected_error_tells_that_the_answer_was_not_taken() -> None:
    server = ReferenceServer()

    with server.expect_error(ValueError):
        raise ValueError
    with pytest.raises(KeyError), server.expect_error(ValueError):
        raise KeyError
    with pytest.raises(AssertionError, match="raised nothing"), server.expect_error():
        pass
