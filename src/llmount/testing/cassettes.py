"""Real servers recorded or replayed on ports of this machine."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Literal, TypeAlias

from .cassette import Cassette
from .recorder import Recorder
from .reference.connections import Port
from .replay import Player

__all__ = ["Cassettes", "Mode"]

Mode: TypeAlias = Literal["none", "once", "all"]
"""Replay only; record where there is no cassette; record all."""


class Cassettes:
    """The cassettes of one test. Use as `with Cassettes(mode) as cassettes`.

    What was recorded is written at the end. misses: what was asked in vain.
    """

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._stack = ExitStack()
        self._players: list[Player] = []

    def __enter__(self) -> Cassettes:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def misses(self) -> list[str]:
        return [miss for player in self._players for miss in player.misses]

    def open(self, url: str, file: Path, speed: float = 0.0) -> str:
        """The address of a server that answers as the one at `url`, from the file or for it.

        Raises `CassetteError` for a file that is none, and for one that there is not if nothing
        is to be recorded.
        """
        if self._mode == "all" or (self._mode == "once" and not file.exists()):
            return self._recorded(url, file)
        player = Player(Cassette.read(file), speed=speed)
        self._players.append(player)
        return self._served(player)

    def _recorded(self, url: str, file: Path) -> str:
        cassette = Cassette()
        # Before the port, so that it is written after the last exchange has ended.
        self._stack.callback(cassette.write, file)
        return self._served(Recorder(url, cassette.exchanges.append))

    def _served(self, app: Player | Recorder) -> str:
        port = self._stack.enter_context(Port(app))
        app.hang_up = port.hang_up
        return port.url
