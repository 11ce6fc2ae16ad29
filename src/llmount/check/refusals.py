"""Answers to generated requests that are no findings, by the table `refusals.yaml`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

__all__ = ["Allowed", "allowed", "says_unsupported", "shows_plain_text"]


@dataclass(frozen=True, slots=True)
class Allowed:
    """An answer that is right although the document alone says otherwise.

    check: the last part of the id of the check that would find it. why: what no schema can
    say. text: a pattern of the whole body. fault: one of what the document has against the
    request.
    """

    check: str
    why: str
    text: str = ".*"
    fault: str = ".*"

    def fits(self, check: str, body: str, fault: str = "") -> bool:
        return (
            check == self.check
            and re.fullmatch(self.text, body, re.DOTALL) is not None
            and re.fullmatch(self.fault, fault, re.DOTALL) is not None
        )


@cache
def allowed(contract: str) -> Sequence[Allowed]:
    """Those of a contract."""
    return tuple(Allowed(**row) for row in _table()["allowed"].get(contract, ()))


def says_unsupported(text: str) -> bool:
    """Whether a refusal says that the server lacks something."""
    return _words().search(text) is not None


def shows_plain_text(contract: str) -> bool:
    """Whether the clients of a contract show a refusal of plain text as it is."""
    return contract in _table()["plain_text"]


@cache
def _words() -> re.Pattern[str]:
    return re.compile("|".join(_table()["unsupported"]), re.IGNORECASE)


@cache
def _table() -> dict[str, Any]:
    text = files(__package__).joinpath("refusals.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found
