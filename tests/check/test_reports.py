"""Reports: each form has all that was found, and what a server says stays text in it."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as Xml

import jsonschema
import pytest

from llmount.check.readiness import State, capabilities, clients
from llmount.check.reports import FORMATS
from llmount.check.reports import json as as_json
from llmount.check.reports.terminal import painting, summary
from llmount.check.verdict import Report, Result, Verdict

from .reported import EVIL, REPORT, plain

CRASHED = replace(
    REPORT,
    results=[
        *REPORT.results,
        Result(check="models.new", verdict=Verdict.SKIP, reason="KeyError('x')", crashed=True),
    ],
)


@pytest.mark.parametrize("name", FORMATS)
def test_every_form_can_tell_of_nothing_and_of_several_contracts(name: str) -> None:
    other = replace(REPORT, contract="generate/ollama")

    assert FORMATS[name]([]).count("stream.role") == 0
    text = FORMATS[name]([plain(), REPORT, other])
    assert "generate/ollama" in text
    assert "stream.role" in text


# JSON


def test_json_has_the_whole_report_so_that_reading_it_gives_it_back() -> None:
    text = as_json.render([REPORT, CRASHED])

    found, crashed = as_json.read(text)

    assert as_json.render([found, crashed]) == text
    assert found.results[1] == replace(REPORT.results[1], findings=found.results[1].findings)
    assert list(found.results[1].findings) == list(REPORT.results[1].findings)
    assert found.streams == REPORT.streams
    assert found.abouts == REPORT.abouts
    assert [result.check for result in crashed.crashed] == ["models.new"]
    assert replace(found, results=(), also=(), stale=()) == replace(
        REPORT, results=(), also=(), stale=()
    )


def test_an_exchange_that_several_findings_share_is_written_once_and_stays_shared() -> None:
    text = as_json.render([REPORT])

    assert len(json.loads(text)["reports"][0]["exchanges"]) == 2
    (found,) = as_json.read(text)
    first, second, _ = found.results[1].findings
    assert first.recording is second.recording is found.streams["ask"]


def test_json_is_as_its_schema_says() -> None:
    schema = as_json.document()

    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(
        json.loads(as_json.render([REPORT, CRASHED, plain()])),
        schema,
        cls=jsonschema.Draft202012Validator,
    )


def test_every_field_that_is_written_is_described() -> None:
    described = as_json.document()["$defs"]
    written = json.loads(as_json.render([REPORT]))["reports"][0]

    def undescribed(name: str, value: Any) -> set[str]:
        return set(value) - set(described[name]["properties"])

    assert not undescribed("Report", written)
    assert not undescribed("Check", written["checks"]["stream.role"])
    assert not undescribed("Result", written["results"][1])
    assert not undescribed("Finding", written["results"][1]["findings"][0])
    assert not undescribed("Exchange", written["exchanges"][0])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "it is not JSON"),
        ("[]", "must be of type object"),
        ('{"version": 2, "reports": []}', "version 2 of the format, not 1"),
        ('{"version": 1, "reports": [{}]}', "is required"),
        (
            as_json.render([REPORT]).replace('"exchange": 0', '"exchange": 9'),
            "an exchange that it does not have",
        ),
        (as_json.render([REPORT]).replace('"base64": "', '"base64": "!'), "base64"),
    ],
    ids=["no JSON", "a list", "a later version", "no report", "no such exchange", "bad base64"],
)
def test_what_is_no_report_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(as_json.NoReport) as caught:
        as_json.read(text)

    assert why in str(caught.value)


# JUnit


def test_junit_has_a_suite_for_each_area_and_counts_what_is_in_it() -> None:
    root = Xml.fromstring(FORMATS["junit"]([CRASHED]))

    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == [
        "chat/openai answers",
        "chat/openai models",
        "chat/openai semantics",
        "chat/openai stream",
        "chat/openai baseline",
    ]
    for parent in (root, *root):
        for attribute, tag in (
            ("tests", "testcase"),
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ):
            assert parent.get(attribute) == str(len(list(parent.iter(tag)))), attribute
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("9", "2", "1")


def test_junit_says_why_a_check_was_skipped_and_what_failed() -> None:
    root = Xml.fromstring(FORMATS["junit"]([REPORT]))
    cases = {case.get("name"): case for case in root.iter("testcase")}

    def told(name: str, tag: str) -> str:
        child = cases[name].find(tag)
        assert child is not None
        return f"{child.get('message', '')} {child.text or ''}"

    assert "no time was left" in told("semantics.seed", "skipped")
    assert "m has no tools" in told("semantics.tools", "skipped")
    assert "accepted by the baseline: still there" in told("models.known", "skipped")
    assert "no role: </pre><script>" in told("stream.role (ask)", "failure")
    assert "curl -i" in told("stream.role (ask)", "failure")
    assert "usage is missing" in told("stream.usage (ask)", "system-out")


# SARIF


def test_sarif_has_a_rule_for_each_check_with_a_link_that_is_an_address() -> None:
    (run,) = json.loads(FORMATS["sarif"]([REPORT]))["runs"]

    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(REPORT.abouts)
    assert rules[0]["helpUri"] == "https://example.org/a%20b"
    assert "helpUri" not in rules[2]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    assert [(r["ruleId"], r["level"]) for r in run["results"]] == [
        *[("stream.role", "error")] * 3,
        ("stream.usage", "warning"),
        ("models.known", "error"),
    ]
    assert [bool(r.get("suppressions")) for r in run["results"]] == [False] * 4 + [True]


def test_sarif_knows_a_finding_again_and_tells_a_crash_from_a_finding() -> None:
    (first,) = json.loads(FORMATS["sarif"]([REPORT]))["runs"]
    (again,) = json.loads(FORMATS["sarif"]([replace(CRASHED, started=0.0, seed=1)]))["runs"]

    prints = [[r["partialFingerprints"] for r in run["results"]] for run in (first, again)]
    assert prints[0] == prints[1]
    assert len({json.dumps(each) for each in prints[0]}) == 5
    assert first["invocations"][0]["executionSuccessful"] is True
    assert again["invocations"][0]["executionSuccessful"] is False
    assert "KeyError" in json.dumps(again["invocations"])


# Markdown


def test_markdown_says_the_verdict_first_and_nothing_of_a_server_is_markup_in_it() -> None:
    text = FORMATS["md"]([REPORT])

    assert text.startswith("## ❌ http")
    assert "breaks chat/openai in 1 check" in text.splitlines()[0]
    outside = re.sub(r"^(`{3,})sh\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert "<script" not in outside
    assert "@you" not in outside
    assert "#1" not in re.sub(r"&#\d+;", "", outside)
    assert "\x1b" not in text
    assert "- no role in another item either" in text
    assert "| good-client | ❌ breaks | `stream.role` |" in text
    assert "`answers.gone@ask` is stale" in text


# What it means


def test_the_state_of_a_client_is_that_of_the_worst_check_that_it_minds() -> None:
    found = {each.client: (each.state, each.causes) for each in clients(REPORT)}

    assert found == {
        "good-client": (State.BREAKS, ["stream.role"]),
        "other-client": (State.BREAKS, ["stream.role"]),
        "third-client": (State.DEGRADED, ["stream.usage"]),
        "unsure-client": (State.UNKNOWN, []),
        "fine-client": (State.OK, []),
    }
    assert [each.state for each in clients(REPORT)] == [
        State.BREAKS,
        State.BREAKS,
        State.DEGRADED,
        State.UNKNOWN,
        State.OK,
    ]


def test_a_client_that_breaks_is_not_said_to_break_on_what_it_only_minds() -> None:
    about = replace(REPORT.abouts["stream.usage"], breaks={"good-client": "counts wrong"})
    report = replace(REPORT, abouts={**REPORT.abouts, "stream.usage": about})

    (good,) = [each for each in clients(report) if each.client == "good-client"]
    assert good.causes == ["stream.role"]
    assert len(good.troubles) == 2


def test_a_capability_is_worth_what_its_worst_check_is() -> None:
    found = {each.area: each.verdict for each in capabilities(REPORT)}

    assert found == {
        "answers": Verdict.PASS,
        "stream": Verdict.FAIL,
        "models": Verdict.FAIL,
        "semantics": Verdict.UNSUPPORTED,
    }


# The terminal


def told(report: Report) -> str:
    return summary([report], lambda colour, text: text)


def test_the_summary_has_each_failure_with_its_first_finding_and_the_clients() -> None:
    text = told(REPORT)

    assert "FAIL stream.role (ask)\n     no role: </pre>" in text
    assert "(and 6 more)" in " ".join(text.split())
    assert "     breaks good-client: raises `TypeError`" in text
    assert "     may trouble third-client: counts wrong" in text
    assert "STALE answers.gone@ask" in text
    assert "UNSUPPORTED semantics.tools\n     m has no tools\n" in text
    assert "SKIP semantics.seed\n     no time was left\n" in text
    assert "  good-client: breaks on stream.role\n" in text
    assert "  fine-client: OK\n" in text
    assert "  unsure-client: not all could be checked\n" in text
    assert "models.known" not in text
    assert "http://127.0.0.1:9 breaks chat/openai in 1 check." in text
    assert "1 accepted by the baseline" in text
    assert "It also speaks generate/ollama" in text


def test_what_a_server_says_cannot_steer_the_terminal() -> None:
    text = summary([REPORT], painting(io.StringIO(), {}))

    assert "\x1b" in EVIL
    assert all(character.isprintable() or character == "\n" for character in text)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": ""}, False), ({"TERM": "dumb"}, False)],
    ids=["a terminal", "NO_COLOR", "a dumb terminal"],
)
def test_colours_are_for_terminals_whose_users_want_them(
    environment: dict[str, str], coloured: bool
) -> None:
    paint = painting(_Terminal(), environment)

    assert (paint("red", "FAIL") != "FAIL") is coloured
    assert painting(io.StringIO(), {})("red", "FAIL") == "FAIL"


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (plain(Result(check="a.b", verdict=Verdict.PASS)), "conforms to chat/openai."),
        (plain(Result(check="a.b", verdict=Verdict.SKIP)), "was not checked: nothing could be."),
        (
            plain(Result(check="a.b", verdict=Verdict.PASS), stale=("a.c",)),
            "conforms, but the baseline has entries that are stale.",
        ),
        (
            plain(Result(check="a.b", verdict=Verdict.FAIL, accepted=True)),
            "breaks chat/openai in 1 check that the baseline accepts.",
        ),
        (CRASHED, "1 check of the tester itself went wrong."),
    ],
    ids=["conforms", "nothing checked", "stale", "accepted", "crashed"],
)
def test_the_last_sentence_is_the_verdict(report: Report, sentence: str) -> None:
    assert sentence in told(report)
