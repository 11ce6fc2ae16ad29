"""What is wrong with a configuration, and where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path as FilePath

from ..validation import show
from .locating import Path

__all__ = ["ConfigError", "Place", "Problem", "Problems", "nearest"]


@dataclass(frozen=True, slots=True)
class Place:
    """A value in a file. line: from 1; 0 where the file as a whole is meant."""

    file: FilePath
    line: int = 0
    path: Path = ()

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}" if self.line else f"{self.file}"
        return f"{text}: {show(self.path)}" if self.path else text


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; its text is for whoever wrote the file, and has no secret."""

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class ConfigError(ValueError):
    """A configuration that cannot be used. `problems` has all that was found; the text has
    a line for each, such as `llmount.toml:12: providers.cloud.key: …`."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(slots=True)
class Problems:
    """Collects what is wrong with a file. lines: as `locate` gives them."""

    file: FilePath
    lines: Mapping[Path, int] = field(default_factory=dict)
    found: list[Problem] = field(default_factory=list)

    def place(self, path: Path) -> Place:
        """Where a value stands, or what it should be in."""
        known = next(
            (path[:end] for end in range(len(path), -1, -1) if path[:end] in self.lines), ()
        )
        return Place(self.file, self.lines.get(known, 0), path)

    def add(self, path: Path, text: str) -> None:
        self.found.append(Problem(self.place(path), text))

    def sorted(self) -> list[Problem]:
        """In the order of the file."""
        return sorted(self.found, key=lambda problem: problem.place.line)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the known name that was probably meant; "" if there is none."""
    listed = {each.casefold(): each for each in known}
    close = get_close_matches(name.casefold(), listed, n=1)
    return f"; did you mean {listed[close[0]]!r}?" if close else ""
