"""What the official clients do on each fault is what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("openai")
pytest.importorskip("ollama")

from tests.plugin.client_faults import FAULTS, rows, title

PAGE = Path(__file__).parents[2] / "docs" / "pytest.md"


@pytest.fixture(scope="module")
def measured() -> dict[str, str]:
    return rows()


@pytest.mark.parametrize("fault", FAULTS)
def test_the_table_tells_what_the_clients_do(fault: str, measured: dict[str, str]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    if title() not in page:
        pytest.skip(f"the page is of other versions than {title()}")

    assert f"{measured[fault]}\n" in page
