"""What a run measured, as a file and as the tables of docs/trust.md."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from llmount.check.verdict import Verdict

from .mutant import Mutant
from .table import MUTANTS

__all__ = ["DOCS", "FILE", "Caught", "Own", "Record", "chosen"]

FILE: Final = Path(__file__).with_name("measured.json")
DOCS: Final = Path(__file__).parents[2] / "docs" / "trust.md"

_BEGIN, _END = "<!-- measured -->\n", "<!-- end of measured -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """What the tester said of a mutant: the checks that failed; those that warned, if none
    failed."""

    failed: Sequence[str] = ()
    warned: Sequence[str] = ()

    def enough(self, due: Verdict) -> bool:
        """Whether it is what it ought to have said."""
        return bool(self.failed or (due is Verdict.WARN and self.warned))


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What it said of one of our servers as it is."""

    checks: int
    findings: Sequence[str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Record:
    """A run over all mutants, by their names, and over our servers, by their contracts."""

    mutants: Mapping[str, Caught] = field(default_factory=dict)
    own: Mapping[str, Own] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path = FILE) -> Record:
        found = json.loads(file.read_text(encoding="utf-8"))
        return cls(
            {name: Caught(**each) for name, each in found["mutants"].items()},
            {name: Own(**each) for name, each in found["own"].items()},
        )

    def write(self, file: Path = FILE) -> None:
        found = {
            "mutants": {name: asdict(each) for name, each in self.mutants.items()},
            "own": {name: asdict(each) for name, each in self.own.items()},
        }
        file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def survivors(self) -> list[Mutant]:
        """Those of which the tester did not say what it ought to."""
        return [each for each in MUTANTS.values() if not self.mutants[each.name].enough(each.due)]

    def tables(self) -> str:
        """The measured part of docs/trust.md."""
        parts = [_shares(self), _survivors(self), _own(self), _mutants(self)]
        return "\n".join(line for part in parts for line in part) + "\n"

    def into_docs(self, file: Path = DOCS) -> None:
        """Replace the measured part of the page."""
        before, _, rest = file.read_text(encoding="utf-8").partition(_BEGIN)
        after = rest.partition(_END)[2]
        file.write_text(f"{before}{_BEGIN}\n{self.tables()}\n{_END}{after}", encoding="utf-8")


def chosen(record: Record) -> dict[str, str]:
    """For each mutant that is caught the check that says most of it: of those that found
    something, the one that finds something in the fewest mutants."""
    counts = Counter(check for each in record.mutants.values() for check in _found(each))
    return {
        name: min(_found(each), key=lambda check: (counts[check], check))
        for name, each in record.mutants.items()
        if _found(each)
    }


def _found(caught: Caught) -> Sequence[str]:
    return caught.failed or caught.warned


def _shares(record: Record) -> Iterator[str]:
    yield "| API | broken servers | caught | share | minor defects | noticed |"
    yield "|---|---|---|---|---|---|"
    contracts = list(dict.fromkeys(mutant.contract for mutant in MUTANTS.values()))
    for contract in contracts:
        of = [mutant for mutant in MUTANTS.values() if mutant.contract == contract]
        yield f"| `{contract}` | {_share(record, of)} |"
    yield f"| all | {_share(record, MUTANTS.values())} |"


def _share(record: Record, mutants: Iterable[Mutant]) -> str:
    by_due: dict[Verdict, list[bool]] = {Verdict.FAIL: [], Verdict.WARN: []}
    for mutant in mutants:
        by_due[mutant.due].append(record.mutants[mutant.name].enough(mutant.due))
    broken, minor = by_due[Verdict.FAIL], by_due[Verdict.WARN]
    share = f"{100 * sum(broken) / len(broken):.1f} %" if broken else ""
    return f"{len(broken)} | {sum(broken)} | {share} | {len(minor)} | {sum(minor)}"


def _survivors(record: Record) -> Iterator[str]:
    yield "\n## Survivors\n"
    survivors = record.survivors()
    if not survivors:
        yield "There are none."
        return
    yield "| name | what it does | what the tester says |"
    yield "|---|---|---|"
    for mutant in survivors:
        warned = record.mutants[mutant.name].warned
        said = "WARN: " + ", ".join(f"`{check}`" for check in warned) if warned else "nothing"
        yield f"| `{mutant.name}` | {_cell(mutant.breaks)} | {said} |"


def _own(record: Record) -> Iterator[str]:
    yield "\n## Our own servers\n"
    yield "| server | checks | findings | seconds |"
    yield "|---|---|---|---|"
    for contract, own in record.own.items():
        findings = ", ".join(f"`{each}`" for each in own.findings) or "none"
        yield f"| `{contract}` | {own.checks} | {findings} | {own.seconds:.0f} |"


def _mutants(record: Record) -> Iterator[str]:
    best = chosen(record)
    yield "\n## All of them"
    for group in dict.fromkeys(mutant.group for mutant in MUTANTS.values()):
        of = [mutant for mutant in MUTANTS.values() if mutant.group == group]
        yield f"\n### {group}\n"
        yield f"Of `{of[0].contract}`.\n"
        yield "| name | what it does | caught by |"
        yield "|---|---|---|"
        for mutant in of:
            name = mutant.name.partition(".")[2]
            yield f"| {name} | {_cell(mutant.breaks)} | {_by(record, mutant, best)} |"


def _by(record: Record, mutant: Mutant, best: Mapping[str, str]) -> str:
    if mutant.name not in best:
        return "**nothing**"
    caught = record.mutants[mutant.name]
    told = f"`{best[mutant.name]}`"
    others = len(_found(caught)) - 1
    if others:
        told += f" and {others} more"
    return told if caught.failed else f"{told}, as a warning"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
