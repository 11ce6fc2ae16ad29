"""`llmount check` and `llmount compare`, as a user runs them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from llmount import EchoBackend, chat_app
from llmount.check.baseline import Baseline
from llmount.check.registry import CHECKS, Check
from llmount.check.reports import FORMATS
from llmount.check.reproduce import KEY_VARIABLE
from llmount.check.served import served
from llmount.check.verdict import Finding, Result, Verdict

from .conftest import Run
from .own import OWN, edited
from .reported import plain

SECRET = "sk-secret-4711"


@pytest.fixture(scope="module")
def good() -> Iterator[str]:
    with served(chat_app(EchoBackend())) as url:
        yield url


@pytest.fixture(scope="module")
def bad() -> Iterator[str]:
    """A server whose messages have no role."""
    with served(edited(chat_app(EchoBackend()), lambda body: body.replace(b'"role"', b'"r"'))) as u:
        yield u


ONLY = ("--only", "answers.*")

# Exit statuses, and what is told


def test_a_server_that_conforms_is_0_and_the_last_words_say_so(run: Run, good: str) -> None:
    status, out, err = run("check", good, *ONLY)

    assert status == 0
    assert f"{good} conforms to chat/openai.\n" in out
    assert re.search(r"^  answers +PASS", out, re.MULTILINE)
    assert "openai-python" in out
    assert err.startswith("Checking chat/openai at / with the model echo: ")


def test_findings_are_1_with_the_first_of_each_and_the_clients_that_break(
    run: Run, bad: str
) -> None:
    status, out, _ = run("check", bad, *ONLY)

    assert status == 1
    assert re.search(r"^FAIL answers\.\S+ \(createChatCompletion\)\n     \S", out, re.MULTILINE)
    assert re.search(r"^  openai-python: breaks on answers\.", out, re.MULTILINE)
    assert "breaks chat/openai in " in out
    assert "Next: --report html=report.html" in out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "say what to check"),
        (("nowhere",), "'nowhere' is neither a URL"),
        (("ftp://h/x",), "'ftp://h/x' is neither a URL"),
        (("http://127.0.0.1:1",), "http://127.0.0.1:1 cannot be reached"),
        (("no_such_module:app",), "cannot import no_such_module"),
        (("json:nothing",), "json has no nothing"),
        (("GOOD", "--contract", "nope"), "no contract 'nope'; there are ai/geenii"),
        (("GOOD", "--contract", "ktransformers"), "may be chat/ktransformers or generate/"),
        (("GOOD", "--contract", "geenii"), "answers nothing of ai/geenii"),
        (("GOOD", "--only", "nope.*"), "no check fits 'nope.*'; the areas are answers, "),
        (("GOOD", "--header", SECRET), "--header wants NAME:VALUE"),
        (("GOOD", "--report", "pdf=a.pdf"), "one of html, json, junit, md, sarif"),
        (("GOOD", "--report", "html=no/such/a.html"), "cannot write no/such/a.html"),
        (("GOOD", "--report", "json=-,md=-"), "only one report can go to the standard output"),
        (("GOOD", "--baseline", "none.json"), "cannot read the baseline none.json"),
        (("GOOD", "--write-baseline", "."), "cannot write ."),
        (("GOOD", "--max-time", "0"), "'0' is not a number of seconds above 0"),
        (("GOOD", "--workers", "none"), "'none' is not a number above 0"),
    ],
)
def test_what_cannot_be_run_is_2_and_says_why(
    arguments: tuple[str, ...], why: str, run: Run, good: str
) -> None:
    status, out, err = run("check", *(word.replace("GOOD", good) for word in arguments))

    assert (status, out) == (2, "")
    assert why in err
    assert SECRET not in err
    assert "Traceback" not in err


def test_a_check_that_goes_wrong_itself_is_2_and_says_where_to_report_it(
    run: Run, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def judge(probe: Any) -> None:
        raise KeyError("oh")

    monkeypatch.setitem(CHECKS, "odd.one", Check(id="odd.one", title="Odd", judge=judge))

    status, out, _ = run("check", good, "--only", "odd.one", *ONLY)

    assert status == 2
    assert "CRASH odd.one" in out
    assert "Please report it to llmount" in out


def test_a_run_that_goes_wrong_itself_is_not_taken_for_findings(
    run: Run, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmount.check.reports.FORMATS", {})

    status, _, err = run("check", good, *ONLY, "--report", "md=a.md")

    assert status == 2
    assert "Traceback" in err
    assert "says nothing of the server" in err


def test_an_app_that_raises_when_it_is_imported_is_2(run: Run, tmp_path: Path) -> None:
    (tmp_path / "raising_app.py").write_text("1 / 0\n")

    status, _, err = run("check", "raising_app:app")

    assert status == 2
    assert "cannot import raising_app: ZeroDivisionError" in err


def test_without_the_extra_it_is_2_and_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['httpx'] = None\n"
        "from llmount.cli import main; sys.exit(main(['check', 'http://127.0.0.1:1']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 2
    assert 'pip install "llmount[check]"' in done.stderr
    assert "Traceback" not in done.stderr


# What is checked


def test_an_app_is_served_for_the_run_and_reports_call_it_by_its_name(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "own_chat.py").write_text(
        "from llmount import EchoBackend, chat_app\napp = chat_app(EchoBackend())\n"
    )

    status, out, _ = run("check", "own_chat:app", *ONLY, "--report", "json=a.json")

    assert status == 0
    assert "own_chat:app conforms to chat/openai." in out
    (report,) = json.loads((tmp_path / "a.json").read_text())["reports"]
    assert (report["target"], report["url"]) == ("own_chat:app", "http://127.0.0.1:8000")


def test_contracts_are_named_in_short_where_only_one_has_the_name(run: Run) -> None:
    with served(OWN["generate/ollama"]()) as url:
        status, out, _ = run("check", url, "--contract", "ollama", *ONLY)

    assert status == 0
    assert f"{url} conforms to generate/ollama." in out


def test_the_others_that_a_server_speaks_are_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "two_apis.py").write_text(
        "from starlette.applications import Starlette\n"
        "from starlette.routing import Mount\n"
        "from llmount import EchoBackend, chat_app, generate_app\n"
        "app = Starlette(routes=[\n"
        "    Mount('/api', generate_app(EchoBackend())), Mount('/v1', chat_app(EchoBackend()))\n"
        "])\n"
    )

    status, out, _ = run("check", "two_apis:app", *ONLY)

    assert status == 0
    assert "conforms to generate/ollama." in out
    assert "It also speaks chat/openai: name them with --contract." in out

    status, out, _ = run(
        "check", "two_apis:app", "--contract", "ollama", "--contract", "openai", *ONLY
    )
    assert status == 0
    assert "conforms to generate/ollama." in out
    assert "conforms to chat/openai." in out


def test_only_and_skip_choose_the_checks_and_list_shows_them(run: Run, good: str) -> None:
    chosen = ("--only", "answers,order", "--skip", "answers.pl*,order.*")
    run("check", good, *chosen, "--report", "json=a.json")
    made = {
        result["check"]
        for result in json.loads(Path("a.json").read_text())["reports"][0]["results"]
    }
    _, out, _ = run("check", "--list")

    listed = {line.split()[0] for line in out.splitlines()}
    assert made
    assert made <= {id for id in listed if id.startswith("answers.")} - {"answers.plain"}
    assert listed == set(CHECKS)


def test_what_breaks_no_client_fails_in_the_strict_profile_alone(run: Run) -> None:
    app = edited(
        chat_app(EchoBackend()), lambda body: body.replace(b'"choices"', b'"x": 1, "choices"', 1)
    )
    with served(app) as url:
        compat = run("check", url, "--only", "answers.exact")
        strict = run("check", url, "--only", "answers.exact", "--profile", "strict")

    assert (compat[0], strict[0]) == (0, 1)
    assert "WARN answers.exact" in compat[1]
    assert "FAIL answers.exact" in strict[1]


def test_what_is_not_done_in_time_is_skipped_and_says_so(run: Run, good: str) -> None:
    status, out, _ = run("check", good, *ONLY, "--max-time", "0.000001", "--report", "junit=-")

    assert status == 0
    root = Xml.fromstring(out)
    assert root.get("skipped") == root.get("tests") != "0"
    assert "no time was left" in out


# The page about it

PAGE = (Path(__file__).parents[2] / "docs" / "check.md").read_text(encoding="utf-8")


def test_the_page_names_every_option_area_format_and_verdict_and_no_check_that_is_not(
    run: Run,
) -> None:
    _, out, _ = run("check", "--help")
    options = set(re.findall(r"^  (--[a-z-]+)", out, re.MULTILINE))
    areas = {check.area for check in CHECKS.values()}
    tables = set(re.findall(r"^\| `?([\w-]+)`? \|", PAGE, re.MULTILINE))

    assert {*areas, *FORMATS, *Verdict} <= tables
    assert {option for option in options if f"`{option}" not in PAGE} == set()
    ids = set(re.findall(rf"\b(?:{'|'.join(areas)})\.[a-z][\w-]*", PAGE))
    assert ids - set(CHECKS) == set()


# Secrets


@pytest.mark.parametrize("way", ["an option", "the environment", "a header"])
def test_a_key_is_sent_and_is_in_no_report(
    way: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"an option": ["--key", SECRET], "a header": ["--header", f"X-Api-Key: {SECRET}"]}
    if way == "the environment":
        monkeypatch.setenv(KEY_VARIABLE, SECRET)
    seen: list[str] = []
    whole = chat_app(EchoBackend())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            seen.append(headers.get("x-api-key" if way == "a header" else "authorization", ""))
        await telling(scope, receive, send)

    # It tells the key in its answers, as a careless server does.
    telling = edited(
        whole, lambda body: body.replace(b'"role":"assistant"', f'"rule":"{SECRET}"'.encode())
    )
    files = {name: tmp_path / f"report.{name}" for name in FORMATS}
    reports = ",".join(f"{name}={file}" for name, file in files.items())
    with served(app) as url:
        status, out, err = run("check", url, *ONLY, "--report", reports, *arguments.get(way, []))

    assert status == 1
    assert SECRET in (seen[-1].removeprefix("Bearer "),)
    for text in (out, err, *(file.read_text() for file in files.values())):
        assert SECRET not in text
    assert '"rule":"…"' in files["json"].read_text().replace("\\", "").replace("u2026", "…")


# Reports


def test_a_report_on_the_standard_output_is_alone_there(run: Run, good: str) -> None:
    status, out, err = run("check", good, *ONLY, "--report", "json=-", "--report", "md=a.md")

    assert status == 0
    assert json.loads(out)["reports"][0]["conforms"] is True
    assert "conforms to chat/openai." in err
    assert "The md report is in a.md." in err
    assert Path("a.md").read_text().startswith("## ✅")


# Baselines


def test_accepted_failures_are_no_findings_until_there_are_new_ones(run: Run, bad: str) -> None:
    status, out, _ = run("check", bad, *ONLY, "--write-baseline", "known.json")
    assert status == 0
    assert "What failed is accepted in known.json." in out

    status, out, _ = run("check", bad, *ONLY, "--baseline", "known.json")
    assert status == 0
    assert re.search(r"\d+ accepted by the baseline", out)

    (accepted,) = json.loads(Path("known.json").read_text()).values()
    Path("known.json").write_text(json.dumps({"chat/openai": accepted[1:]}))
    status, out, _ = run("check", bad, *ONLY, "--baseline", "known.json")
    assert status == 1
    assert f"FAIL {accepted[0].partition('@')[0]}" in out


def test_an_entry_that_is_true_no_more_is_a_finding_until_the_baseline_is_written_anew(
    run: Run, good: str
) -> None:
    stale = ["answers.plain@createChatCompletion", "no.such-check"]
    kept = [next(id for id in CHECKS if id.startswith("stream.")) + "@createChatCompletion"]
    Path("known.json").write_text(json.dumps({"chat/openai": stale + kept, "ai/geenii": ["a.b"]}))

    status, out, _ = run("check", good, *ONLY, "--baseline", "known.json")
    assert status == 1
    for key in stale:
        assert f"STALE {key}" in out

    status, _, _ = run(
        "check", good, *ONLY, "--baseline", "known.json", "--write-baseline", "known.json"
    )
    assert status == 0
    assert json.loads(Path("known.json").read_text()) == {
        "ai/geenii": ["a.b"],
        "chat/openai": kept,
    }


@pytest.mark.parametrize("text", ["[]", "{", '{"chat/openai": "all"}', '{"chat/openai": [1]}'])
def test_a_file_that_is_no_baseline_is_refused(text: str, run: Run, good: str) -> None:
    Path("odd.json").write_text(text)

    status, _, err = run("check", good, "--baseline", "odd.json")

    assert status == 2
    assert "odd.json" in err


def test_a_check_that_was_not_made_leaves_its_entry_alone() -> None:
    known = Baseline({"chat/openai": frozenset({"answers.plain", "answers.schema"})})
    report = known.applied(
        plain(
            Result(check="answers.plain", verdict=Verdict.SKIP, reason="no time was left"),
            Result(check="answers.schema", verdict=Verdict.FAIL, findings=[Finding("odd")]),
        )
    )

    assert report.stale == []
    assert report.conforms
    assert known.updated([report]).accepted == known.accepted
