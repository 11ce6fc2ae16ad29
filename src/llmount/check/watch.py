"""How far a run is, told while it goes on."""

from __future__ import annotations

import shutil
from typing import Final, TextIO

from .detect import Found
from .reports.wording import printable
from .run import Task
from .verdict import Result, Verdict

__all__ = ["Watch"]

_BAR: Final = 24


class Watch:
    """Tells how far a run is: a line that moves on a terminal, a line each tenth elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._moves = stream.isatty()
        self._total = self._done = self._failed = 0
        self._told = 0

    def contract(self, found: Found, model: str, count: int) -> None:
        self._clear()
        self._total, self._done, self._failed, self._told = count, 0, 0, 0
        where = found.mount or "/"
        told = f"Checking {found.contract} at {where} with the model {model}: {count} checks"
        print(printable(told), file=self._stream, flush=True)

    def begun(self, task: Task) -> None:
        if self._moves:
            self._bar(task.check.id)

    def done(self, task: Task, result: Result | None) -> None:
        self._done += 1
        self._failed += result is not None and result.verdict is Verdict.FAIL
        if self._moves:
            self._bar(task.check.id)
            return
        tenth = 10 * self._done // max(self._total, 1)
        if tenth > self._told:
            self._told = tenth
            failed = f", {self._failed} failed" if self._failed else ""
            print(f"  {self._done}/{self._total}{failed}", file=self._stream, flush=True)

    def close(self) -> None:
        self._clear()

    def _bar(self, doing: str) -> None:
        width = shutil.get_terminal_size().columns
        blocks = "█" * (_BAR * self._done // max(self._total, 1))
        failed = f"{self._failed} failed  " if self._failed else ""
        line = f"  {blocks:░<{_BAR}} {self._done}/{self._total}  {failed}{doing}"
        self._stream.write(f"\r\x1b[K{line[: width - 1]}")
        self._stream.flush()

    def _clear(self) -> None:
        if self._moves:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
