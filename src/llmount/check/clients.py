"""Which clients a defect breaks, from `clients.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

__all__ = ["breaks", "speaking"]


@cache
def _table() -> Mapping[str, Mapping[str, Any]]:
    text = files(__package__).joinpath("clients.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Mapping[str, Any]] = yaml.safe_load(text)
    return found


def breaks(defect: str) -> Mapping[str, str]:
    """By the client that a defect breaks, what it then does. Raises KeyError for a defect
    that is not listed."""
    found: Mapping[str, str] = _table()["defects"][defect]
    return found


def speaking(contract: str, broken: Mapping[str, str]) -> dict[str, str]:
    """Those of the clients that speak a contract."""
    return {
        client: what
        for client, what in broken.items()
        if any(fnmatchcase(contract, pattern) for pattern in _table()["clients"][client])
    }
