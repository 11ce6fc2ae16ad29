"""What changed between two runs, and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from llmount.check.compare import Kind, compare
from llmount.check.reports.json import render
from llmount.check.verdict import Finding, Profile, Result, Verdict

from .conftest import Run
from .reported import plain

PASS, FAIL, WARN = Verdict.PASS, Verdict.FAIL, Verdict.WARN
SKIP, UNSUPPORTED = Verdict.SKIP, Verdict.UNSUPPORTED


def result(verdict: Verdict, message: str = "", **measured: float) -> Result:
    findings = [Finding(message)] if message else []
    return Result(
        check="a.b", operation="ask", verdict=verdict, findings=findings, measured=measured
    )


def told(before: Sequence[Result], after: Sequence[Result]) -> list[tuple[Kind, str, str]]:
    changes = compare([plain(*before)], [plain(*after)])
    return [(change.kind, change.key, change.text) for change in changes]


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (PASS, FAIL, Kind.WORSE),
        (PASS, WARN, Kind.WORSE),
        (PASS, UNSUPPORTED, Kind.WORSE),
        (UNSUPPORTED, FAIL, Kind.WORSE),
        (WARN, FAIL, Kind.WORSE),
        (SKIP, FAIL, Kind.WORSE),
        (FAIL, PASS, Kind.BETTER),
        (FAIL, WARN, Kind.BETTER),
        (UNSUPPORTED, PASS, Kind.BETTER),
        (PASS, SKIP, Kind.OTHER),
        (FAIL, SKIP, Kind.OTHER),
        (SKIP, PASS, Kind.OTHER),
    ],
)
def test_a_verdict_that_changed_is_better_or_worse_or_nobody_can_tell(
    before: Verdict, after: Verdict, kind: Kind
) -> None:
    assert told([result(before)], [result(after)]) == [(kind, "a.b@ask", f"{before}, now {after}")]


def test_nothing_is_told_of_what_stayed() -> None:
    same = [result(FAIL, "no role", first=1.0), replace(result(PASS), check="a.c")]

    assert told(same, same) == []


def test_a_failure_that_now_has_another_reason_is_told() -> None:
    assert told([result(FAIL, "no role")], [result(FAIL, "no usage")]) == [
        (Kind.OTHER, "a.b@ask", "FAIL as before, for another reason")
    ]


def test_a_new_failure_is_worse_and_says_what_it_is_but_a_new_check_that_passes_is_not() -> None:
    assert told([], [result(FAIL, "no role")]) == [(Kind.WORSE, "a.b@ask", "new: FAIL: no role")]
    assert told([], [result(PASS)]) == []
    assert told([result(PASS)], []) == [(Kind.OTHER, "a.b@ask", "PASS, now not checked")]


@pytest.mark.parametrize(
    ("before", "after", "notable"),
    [(1.0, 2.0, True), (2.0, 1.0, True), (1.0, 1.9, False), (0.01, 0.09, False), (0.0, 5.0, True)],
)
def test_a_time_is_told_if_it_changed_by_much(before: float, after: float, notable: bool) -> None:
    changes = told([result(PASS, first=before)], [result(PASS, first=after)])

    assert changes == (
        [(Kind.OTHER, "a.b@ask", f"first: {before:.3g}, now {after:.3g}")] if notable else []
    )


def test_the_worse_comes_before_the_better() -> None:
    other = [replace(result(verdict), check="a.c") for verdict in (PASS, FAIL)]

    kinds = [kind for kind, *_ in told([result(FAIL), other[0]], [result(PASS), other[1]])]
    assert kinds == [Kind.WORSE, Kind.BETTER]


def test_runs_that_differ_in_how_they_asked_say_so() -> None:
    before = plain(result(PASS))
    after = replace(before, profile=Profile.STRICT, model="other")

    assert [change.text for change in compare([before], [after])] == [
        "profile: compat, now strict",
        "model: m, now other",
    ]


def test_contracts_are_compared_with_themselves() -> None:
    chat, generate = (
        plain(result(PASS), contract="chat/openai"),
        plain(result(FAIL, "no"), contract="generate/ollama"),
    )

    assert compare([chat, generate], [generate, chat]) == []
    (gone,) = compare([chat, generate], [chat])
    assert (gone.kind, gone.contract, gone.text) == (
        Kind.OTHER,
        "generate/ollama",
        "is no longer checked",
    )
    (come,) = compare([chat], [chat, generate])
    assert come.kind is Kind.WORSE


# The command


@pytest.fixture
def runs(tmp_path: Path) -> tuple[str, str]:
    """Files of a run in which all passed, and of one that failed."""
    passed = plain(Result(check="a.b", operation="ask", verdict=Verdict.PASS))
    failed = plain(
        Result(
            check="a.b",
            operation="ask",
            verdict=Verdict.FAIL,
            findings=[Finding("no \x1b[31mrole")],
        )
    )
    files = tmp_path / "passed.json", tmp_path / "failed.json"
    for file, report in zip(files, (passed, failed), strict=True):
        file.write_text(render([report]))
    return str(files[0]), str(files[1])


def test_compare_is_1_only_if_something_got_worse(run: Run, runs: tuple[str, str]) -> None:
    passed, failed = runs

    status, out, _ = run("compare", passed, failed)
    assert status == 1
    assert out == (
        "worse    chat/openai a.b@ask: PASS, now FAIL: no \\x1b[31mrole\n"
        "1 worse, 0 better, 0 changed\n"
    )
    status, out, _ = run("compare", failed, passed)
    assert status == 0
    assert out.startswith("better   chat/openai a.b@ask: FAIL, now PASS\n")
    assert run("compare", failed, failed) == (0, "Nothing changed.\n", "")


@pytest.mark.parametrize("text", [None, "{}", "odd", "\udcff"])
def test_compare_cannot_run_without_two_reports(
    text: str | None, run: Run, runs: tuple[str, str]
) -> None:
    odd = Path("odd.json")
    if text is not None:
        odd.write_bytes(text.encode(errors="surrogateescape"))

    status, out, err = run("compare", runs[0], "odd.json")

    assert (status, out) == (2, "")
    assert "cannot read odd.json" in err
