"""What is told of a run while it goes on."""

from __future__ import annotations

import io

import pytest

from llmount.check.detect import Found
from llmount.check.registry import CHECKS
from llmount.check.run import Task
from llmount.check.verdict import Result, Verdict
from llmount.check.watch import Watch


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def watched(stream: io.StringIO) -> str:
    tasks = [Task(check, None) for check in list(CHECKS.values())[:20]]
    watch = Watch(stream)
    watch.contract(Found("chat/openai", "/v1"), "m\x1b[2J", len(tasks))
    for number, task in enumerate(tasks):
        watch.begun(task)
        verdict = Verdict.FAIL if number == 3 else Verdict.PASS
        watch.done(task, Result(check=task.check.id, verdict=verdict) if number else None)
    watch.close()
    return stream.getvalue()


def test_a_terminal_sees_a_bar_that_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")

    text = watched(_Terminal())

    frames = text.split("\r\x1b[K")
    assert "20/20" in frames[-2]
    assert frames[-1] == ""
    assert all(len(frame) < 60 for frame in frames[2:])
    assert "1 failed" in frames[-2]
    assert "\x1b[2J" not in text


def test_a_log_gets_a_plain_line_for_each_tenth() -> None:
    lines = watched(io.StringIO()).splitlines()

    assert lines[0] == r"Checking chat/openai at /v1 with the model m\x1b[2J: 20 checks"
    assert lines[1] == "  2/20"
    assert lines[-1] == "  20/20, 1 failed"
    assert len(lines) == 11
