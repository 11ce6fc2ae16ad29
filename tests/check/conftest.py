"""The command, run within the tests' process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmount.check.reproduce import KEY_VARIABLE
from llmount.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command; its status, and what it wrote to standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            status = main([*arguments])
        except SystemExit as error:
            status = int(str(error.code))
        out, err = capsys.readouterr()
        return status, out, err

    return run
