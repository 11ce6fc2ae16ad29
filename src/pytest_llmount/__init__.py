"""The pytest plugin of llmount: a server for tests of clients, and a contract as tests.

Fixtures: `llmount_server` on a port and `llmount_app` in process, `llmount_env` that leads
clients there, `llmount_record` for a real server on a cassette, `llmount_verdict` on the
client. `llmount_contract` makes tests of the checks of a server.

All that is imported at the start is this file, so that it costs nothing where it is not used.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from llmount.testing.contract_run import ContractRun
    from llmount.testing.reference.client_verdict import ClientVerdict
    from llmount.testing.reference.connections import Port
    from llmount.testing.reference.server import ReferenceServer

__all__ = ["ContractWarning", "llmount_contract"]


class ContractWarning(UserWarning):
    """A check found something that no known client minds."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("llmount")
    group.addoption(
        "--llmount-record",
        choices=("none", "once", "all"),
        default="none",
        help="what llmount_record does: replay cassettes only (none, the default), record those "
        "that are missing (once), or record all again (all)",
    )


def pytest_configure(config: pytest.Config) -> None:
    # It tells something, and fails nothing, whatever a project has made of its warnings.
    config.addinivalue_line("filterwarnings", "always::pytest_llmount.ContractWarning")


# The reference server


@pytest.fixture(scope="session")
def _llmount_port() -> Iterator[Port]:
    """One port for all tests, since starting a server takes longer than most of them."""
    from llmount.testing.reference.connections import Port
    from llmount.testing.reference.server import ReferenceServer

    with Port(ReferenceServer().app) as port:
        yield port


@pytest.fixture
def llmount_server(_llmount_port: Port) -> Iterator[ReferenceServer]:
    """A server on a port of this machine, for one test: a `ReferenceServer`."""
    from llmount.testing.reference.server import ReferenceServer

    yield from _quiet(ReferenceServer(_llmount_port))


@pytest.fixture
def llmount_app() -> Iterator[ReferenceServer]:
    """A server without a port, for one test: a `ReferenceServer` whose `app` is to be asked."""
    from llmount.testing.reference.server import ReferenceServer

    yield from _quiet(ReferenceServer())


def _quiet(server: ReferenceServer) -> Iterator[ReferenceServer]:
    """The server, whose log does not tell of what was planned."""
    logger = logging.getLogger("llmount")
    logger.addFilter(server.unplanned)
    try:
        yield server
    finally:
        logger.removeFilter(server.unplanned)


@pytest.fixture
def llmount_env(
    llmount_server: ReferenceServer, monkeypatch: pytest.MonkeyPatch
) -> ReferenceServer:
    """The server, to which the variables of the environment lead the clients of OpenAI and
    Ollama."""
    for name, value in llmount_server.environment.items():
        monkeypatch.setenv(name, value)
    return llmount_server


@pytest.fixture
def llmount_verdict(llmount_server: ReferenceServer) -> Callable[..., ClientVerdict]:
    """A function that gives the verdict on the client of `llmount_server`; with `strict=True`
    it fails the test for any finding. Other arguments as for `ReferenceServer.verdict`."""

    def verdict(*, strict: bool = False, **expected: Any) -> ClientVerdict:
        found = llmount_server.verdict(**expected)
        if strict and not found.ok:
            pytest.fail(str(found), pytrace=False)
        return found

    return verdict


# Record and replay


@pytest.fixture
def llmount_record(request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """A function that gives the address of a server which answers as the real one at a URL.

    By default from a cassette: `cassettes/<module>/<test>.jsonl` beside the test, unless
    `cassette` is the path of another. `speed` is how much faster it plays, 0 (the default) for
    at once, 1 for the time that it took. `--llmount-record` has it ask the real server. A
    request that is not on the cassette fails the test.
    """
    from llmount.testing.cassettes import Cassettes

    mode = request.config.getoption("--llmount-record")
    with Cassettes(mode) as cassettes:

        def record(url: str, *, cassette: Path | str | None = None, speed: float = 0.0) -> str:
            file = _cassette(request) if cassette is None else request.path.parent / cassette
            return cassettes.open(url, file, speed)

        yield record
    if cassettes.misses:
        pytest.fail("\n".join(cassettes.misses), pytrace=False)


def _cassette(request: pytest.FixtureRequest) -> Path:
    name = "".join(each if each.isalnum() or each in "-_." else "-" for each in request.node.name)
    return request.path.parent / "cassettes" / request.path.stem / f"{name}.jsonl"


# A contract as tests


def llmount_contract(
    target: Any,
    *,
    contract: str,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    baseline: Path | str | None = None,
    **options: Any,
) -> Callable[..., None]:
    """A test for each check of a contract and each operation, to be named `test_…`.

    target: a URL, `module:app`, or an ASGI app; it is not asked before the first test runs, and
    all of a module share one run. contract: such as `chat/openai`. only, skip: patterns of
    checks, such as `stream.*`. baseline: a file of accepted failures, which are expected to
    fail. options: `model`, `headers`, `profile`, `seed`, `examples`, `timeout`, as for
    `llmount.check.inspection.Options`.

    FAIL fails with the findings and a curl command for each; WARN is a `ContractWarning`;
    UNSUPPORTED and SKIP are skipped, with the reason. Raises `UnknownCheck` and `CannotRun` for
    names that there are not.
    """
    from llmount.check.baseline import Baseline
    from llmount.check.inspection import Options, named
    from llmount.check.run import select
    from llmount.check.verdict import Profile

    name = named(contract)
    asked = Options(
        only=only,
        skip=skip,
        baseline=Baseline() if baseline is None else Baseline.read(Path(baseline)),
        **{**options, "profile": Profile(options.get("profile", "compat"))},
    )
    tasks = select(name, only, skip)
    ids = [f"{each.check.id}@{each.operation}".removesuffix("@") for each in tasks]

    @pytest.mark.parametrize("llmount_task", tasks, ids=ids)
    def test(llmount_task: Any, _llmount_runs: _Runs) -> None:
        __tracebackhide__ = True
        run = _llmount_runs.run(test, target, name, asked)
        _tell(run.make(llmount_task), llmount_task)

    made: Callable[..., None] = test
    return made


def _tell(result: Any, task: Any) -> None:
    """Pass, fail, warn or skip as the result says."""
    from llmount.check.verdict import Verdict
    from llmount.testing.contract_run import told

    __tracebackhide__ = True
    if result is None:
        pytest.skip("the operation has no word for this")
    if result.crashed:
        pytest.fail(result.reason, pytrace=False)
    text = told(result, task.check.title, task.check.breaks)
    match result.verdict:
        case Verdict.FAIL if result.accepted:
            pytest.xfail(f"accepted by the baseline: {text}")
        case Verdict.FAIL:
            pytest.fail(text, pytrace=False)
        case Verdict.WARN:
            warnings.warn(ContractWarning(text), stacklevel=1)
        case Verdict.SKIP | Verdict.UNSUPPORTED:
            pytest.skip(result.reason)
        case Verdict.PASS if result.accepted:
            pytest.fail(f"{result.key} passes, but the baseline accepts its failure", pytrace=False)


class _Runs:
    """The runs of a module, each begun when its first test wants it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._known: dict[Any, ContractRun | str] = {}

    def run(self, key: Any, target: Any, contract: str, options: Any) -> ContractRun:
        """Fails the test if the run cannot begin."""
        from llmount.check.inspection import CannotRun
        from llmount.check.served import AppNotFound
        from llmount.testing.contract_run import ContractRun

        __tracebackhide__ = True
        if key not in self._known:
            try:
                run = ContractRun(target, contract, options)
                self._known[key] = self._stack.enter_context(run)
            except (CannotRun, AppNotFound, RuntimeError) as error:
                # Once is enough to wait for a server that is not there.
                self._known[key] = str(error)
        found = self._known[key]
        if isinstance(found, str):
            pytest.fail(found, pytrace=False)
        return found

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def _llmount_runs() -> Iterator[_Runs]:
    runs = _Runs()
    yield runs
    runs.close()
