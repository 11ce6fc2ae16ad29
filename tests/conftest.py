"""What every test shares: the event loops, and that every answer is as its document says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .held import held


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "breaks_documents: an app is to answer what it must not")
    config.addinivalue_line("markers", "one_loop: takes long, and is the same on every event loop")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if not _is_repetition(item)]


def _is_repetition(item: pytest.Item) -> bool:
    loop = getattr(item, "callspec", None) and item.callspec.params.get("anyio_backend")
    return loop == "trio" and item.get_closest_marker("one_loop") is not None


@pytest.fixture(scope="session")
def _answers() -> Iterator[list[str]]:
    """What is wrong with the answers of the test that is running."""
    problems: list[str] = []
    with held(problems.append):
        yield problems


@pytest.fixture(autouse=True)
def every_answer_is_as_documented(
    request: pytest.FixtureRequest, _answers: list[str]
) -> Iterator[None]:
    """Fails the test in which an app, of this process, broke its document or the order of its
    stream; marked with `breaks_documents`, one may."""
    _answers.clear()
    yield
    if request.node.get_closest_marker("breaks_documents") is None:
        assert _answers == []


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Every async test runs on both event loops."""
    return str(request.param)
