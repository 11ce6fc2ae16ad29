"""The plugin in a project of its own: fixtures, options, the contract as tests."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import httpcore  # noqa: F401
import pytest

import llmount

# `pytester` forgets what a project imports; half of a package must not be forgotten, and
# neither must what httpx looks up when it is first used.
import llmount.testing.cassettes
import llmount.testing.contract_run
import llmount.testing.reference.server
import pytest_llmount

# Plugins of this environment that cost a second, and are not what is tested.
QUIET = ("-p", "no:schemathesis", "-p", "no:langsmith_plugin", "-p", "no:cacheprovider")

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.skipif(
    not entry_points(group="pytest11", name="llmount"), reason="the plugin is not installed"
)


@dataclass(frozen=True)
class Ran:
    code: int
    told: str

    @property
    def count(self) -> str:
        """The last line: how many passed, failed, …"""
        return self.told.splitlines()[-1]


class Project:
    """A project with one test module, in which a warning is an error."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester
        self.folder = pytester.path
        pytester.makeini("[pytest]\nfilterwarnings = error\n")

    def run(self, code: str, *arguments: str) -> Ran:
        self._pytester.makepyfile(test_it=code)
        # In this process, because another would take a second to begin.
        done = self._pytester.runpytest_inprocess("-rA", *QUIET, *arguments)
        return Ran(int(done.ret), "\n".join([*done.errlines, *done.outlines]))

    def passes(self, code: str, *arguments: str, count: str = "1 passed") -> str:
        ran = self.run(code, *arguments)
        assert ran.code == 0, ran.told
        assert count in ran.count, ran.told
        return ran.told

    def fails(self, code: str, *arguments: str, count: str = "1 failed") -> str:
        ran = self.run(code, *arguments)
        assert ran.code == 1, ran.told
        assert count in ran.count, ran.told
        return ran.told


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    return Project(pytester)


def test_the_plugin_is_entered_where_pytest_looks_for_it() -> None:
    (entry,) = entry_points(group="pytest11", name="llmount")

    assert entry.load() is pytest_llmount


def test_the_plugin_loads_nothing_but_itself() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import pytest_llmount; "
        "print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded - {*sys.stdlib_module_names} == {"pytest_llmount"}


def test_it_stands_beside_the_package_that_it_needs() -> None:
    assert Path(pytest_llmount.__file__).parents[1] == Path(llmount.__file__).parents[1]


FIXTURES = """
    import logging
    import os

    import httpx

    QUESTION = {"model": "m", "prompt": "Hello", "stream": False}

    def ask(url, path="/api/generate"):
        return httpx.post(url + path, json=QUESTION)

    def test_environment(llmount_env, llmount_server):
        assert llmount_env is llmount_server
        assert os.environ["OPENAI_BASE_URL"] == llmount_env.openai_url
        assert os.environ["OLLAMA_HOST"] == llmount_env.ollama_url

    def test_the_environment_is_as_before():
        assert "OLLAMA_HOST" not in os.environ

    def test_one(llmount_server):
        llmount_server.say("One.")
        llmount_server.fault.outage(skip=1)
        assert ask(llmount_server.url).json()["response"] == "One."

    def test_nothing_is_left_of_another_test(llmount_server):
        assert not llmount_server.requests
        assert ask(llmount_server.url).json()["response"] == "Hello"

    def test_what_was_planned_is_not_logged(llmount_server, caplog):
        llmount_server.fault.outage()
        assert ask(llmount_server.url).status_code == 503
        assert not caplog.records
        assert not logging.getLogger("llmount").level

    def test_verdict(llmount_server, llmount_verdict):
        llmount_server.fault.outage()
        ask(llmount_server.url)
        assert llmount_verdict().ids == ["gave_up_too_early"]
        llmount_verdict(strict=True, ignore=["gave_up_too_early"])
"""


@pytest.mark.parametrize("without", [(), ("-p", "no:anyio"), ("-p", "no:logging")])
def test_the_fixtures_are_there_for_every_test(project: Project, without: tuple[str, ...]) -> None:
    if "no:logging" in without:
        code = FIXTURES.replace(", caplog", "").replace("assert not caplog.records", "pass")
        project.passes(code, *without, count="6 passed")
    else:
        project.passes(FIXTURES, *without, count="6 passed")


def test_a_strict_verdict_fails_with_the_report_alone(project: Project) -> None:
    told = project.fails(
        """
        import httpx

        def test_client(llmount_server, llmount_verdict):
            llmount_server.fault.outage()
            httpx.post(llmount_server.url + "/api/generate", json={"model": "m", "prompt": "p"})
            llmount_verdict(strict=True)
        """
    )

    assert "gave_up_too_early: it was answered 503, which passes" in told
    assert "Traceback" not in told


RECORDED = """
    import httpx
    import pytest

    def test_it(llmount_record, llmount_server):
        url = llmount_record(llmount_server.url)
        body = {"model": "m", "prompt": "Hello", "stream": False}
        assert httpx.post(url + "/api/generate", json=body).json()["response"] == "Hello"
        assert len(llmount_server.requests) == ASKED
"""


def test_the_option_records_once_and_replays_from_then_on(project: Project) -> None:
    cassette = project.folder / "cassettes" / "test_it" / "test_it.jsonl"

    missing = project.fails(RECORDED.replace("ASKED", "0"))
    assert "test_it.jsonl" in missing
    project.passes(RECORDED.replace("ASKED", "1"), "--llmount-record=once")
    assert cassette.is_file()
    project.passes(RECORDED.replace("ASKED", "0"), "--llmount-record=once")
    project.passes(RECORDED.replace("ASKED", "0"))
    project.passes(RECORDED.replace("ASKED", "1"), "--llmount-record=all")


def test_a_request_that_is_not_on_the_cassette_fails_the_test(project: Project) -> None:
    project.passes(RECORDED.replace("ASKED", "1"), "--llmount-record=once")

    told = project.run(
        """
        import httpx

        def test_it(llmount_record):
            httpx.get(llmount_record("http://127.0.0.1:9") + "/api/tags")
        """
    ).told

    assert "GET /api/tags is not on the cassette, which has POST /api/generate" in told
    assert "1 error" in told


CONTRACT = """
    from llmount import EchoBackend, chat_app
    from pytest_llmount import llmount_contract

    async def broken(scope, receive, send):
        async def forward(message):
            if message["type"] == "http.response.body":
                body = message.get("body", b"").replace(b"data: [DONE]", b"data: [OVER]")
                message = {**message, "body": body}
            await send(message)
        await app(scope, receive, forward)

    app = chat_app(EchoBackend())
    test_contract = llmount_contract(TARGET, contract="chat/openai", only=["stream.*"])
"""


def test_a_contract_is_a_test_for_each_check_and_operation(project: Project) -> None:
    told = project.passes(CONTRACT.replace("TARGET", "app"), count="passed")

    assert "test_contract[stream.asked-schema@createCompletion]" in told
    assert "failed" not in told.splitlines()[-1]


def test_a_check_that_fails_tells_what_is_wrong_and_how_to_see_it(project: Project) -> None:
    told = project.run(CONTRACT.replace("TARGET", "broken")).told

    assert "failed" in told.splitlines()[-1]
    assert "curl" in told
    assert "@createChatCompletion" in told
    assert "Traceback" not in told


def test_a_contract_is_collected_without_its_server(project: Project) -> None:
    code = CONTRACT.replace("TARGET", '"http://127.0.0.1:9"')

    collected = project.run(code, "--collect-only", "-q")
    assert collected.code == 0, collected.told
    told = project.fails(code, count="failed")
    assert "127.0.0.1:9" in told
    assert "passed" not in told.splitlines()[-1]


def test_an_accepted_failure_is_expected_and_a_stale_one_is_told(project: Project) -> None:
    failed = project.run(CONTRACT.replace("TARGET", "broken")).told
    keys = [
        line.partition("[")[2].partition("]")[0]
        for line in failed.splitlines()
        if line.startswith("FAILED")
    ]
    listed = ", ".join(f'"{key}"' for key in keys)
    (project.folder / "known.json").write_text(f'{{"chat/openai": [{listed}]}}')
    code = CONTRACT.replace('only=["stream.*"]', 'only=["stream.*"], baseline="known.json"')

    accepted = project.run(code.replace("TARGET", "broken"))
    assert keys
    assert accepted.code == 0, accepted.told
    assert f"{len(keys)} xfailed" in accepted.count
    stale = project.run(code.replace("TARGET", "app"))
    assert f"{len(keys)} failed" in stale.count
    assert "the baseline accepts its failure" in stale.told


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ('llmount_contract("a:b", contract="nope")', "no contract 'nope'"),
        ('llmount_contract("a:b", contract="chat/openai", only=["nope.*"])', "nope"),
    ],
)
def test_names_that_there_are_not_are_told_when_tests_are_collected(
    project: Project, call: str, told: str
) -> None:
    done = project.run(f"from pytest_llmount import llmount_contract\ntest_it = {call}\n")

    assert done.code == 2
    assert told in done.told


def test_a_warning_fails_nothing_even_where_warnings_are_errors(project: Project) -> None:
    told = project.passes(
        """
        import warnings
        from pytest_llmount import ContractWarning

        def test_it():
            warnings.warn(ContractWarning("a small matter"))
        """
    )

    assert "a small matter" in told
