"""The table of what defects do to clients."""

from __future__ import annotations

from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Any

import pytest
import yaml

from llmount.check import checks  # noqa: F401  (fills the table)
from llmount.check.clients import breaks, speaking
from llmount.check.registry import CHECKS
from llmount.contract import names

TABLE: Any = yaml.safe_load(files("llmount.check").joinpath("clients.yaml").read_text("utf-8"))


def test_every_client_speaks_contracts_that_there_are() -> None:
    for client, patterns in TABLE["clients"].items():
        for pattern in patterns:
            assert any(fnmatchcase(name, pattern) for name in names()), (client, pattern)


def test_every_client_that_a_defect_breaks_is_listed() -> None:
    broken = {client for clients in TABLE["defects"].values() for client in clients}
    assert broken <= TABLE["clients"].keys()


def test_every_defect_is_looked_for() -> None:
    known = [dict(check.breaks) for check in CHECKS.values()]
    assert [name for name, clients in TABLE["defects"].items() if clients not in known] == []


def test_only_clients_of_a_contract_are_told() -> None:
    broken = breaks("answer-form")
    assert "openai-python" in speaking("chat/openai", broken)
    assert "ollama-python" not in speaking("chat/openai", broken)
    assert "ollama-python" in speaking("generate/ollama", broken)


def test_a_defect_that_is_not_listed_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        breaks("nothing")
