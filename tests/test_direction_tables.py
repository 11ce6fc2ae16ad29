"""The tables of directions: each cell is what happens, and the documentation has them.

The data is `tests/directions.yaml`. Of an upstream, "carried" means that it is sent; that it
arrives as it was meant is in `tests/test_directions_requests.py` and, for answers, in
`tests/test_directions.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmount.contract import Contract
from llmount.types import Prompt, Sampling
from tests.direction_answers import ANSWERED, told_by_engine, told_by_upstream
from tests.direction_evidence import UPSTREAMS, of_engine, of_upstream
from tests.direction_fronts import BY_HAND, GATEWAY, can_be_asked
from tests.direction_models import ENGINES
from tests.direction_prompts import ASKED
from tests.documented import resolve

TABLES: Mapping[str, Any] = yaml.safe_load(
    (Path(__file__).parent / "directions.yaml").read_text("utf-8")
)
PAGE = Path(__file__).parents[1] / "docs" / "directions.md"
TITLES = {
    "ollama": "Ollama",
    "openai": "chat completions",
    "hosted": "OpenAI's own",
    "responses": "responses",
    "llamacpp": "llama.cpp",
    "ctransformers": "ctransformers",
    "geenii": "gateway of providers",
}


def rows_of(table: str) -> Mapping[str, list[str]]:
    return {row: cells for row, cells in TABLES[table].items() if row != "columns"}


def cells_of(table: str) -> list[Any]:
    """Each cell as row, column and verdict."""
    return [
        pytest.param(row, column, verdict, id=f"{row}-{column}".replace("`", ""))
        for row, verdicts in rows_of(table).items()
        for column, verdict in zip(TABLES[table]["columns"], verdicts, strict=True)
    ]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def need(engine: str) -> None:
    pytest.importorskip(ENGINES[engine][0])


# What is asked


@pytest.mark.parametrize(("row", "column", "verdict"), cells_of("asked"))
def test_what_is_asked_of_it(row: str, column: str, verdict: str, models: Path) -> None:
    if column in UPSTREAMS:
        found = of_upstream(column, ASKED[row])
    else:
        need(column)
        found = of_engine(column, ASKED[row], models)

    assert found == verdict


def test_all_that_a_prompt_can_ask_has_a_row() -> None:
    assert list(rows_of("asked")) == list(rows_of("fronts")) == list(ASKED)

    asked = {name for each in ASKED.values() for name in each.fields}
    assert asked | {"model", "sampling"} == {field.name for field in dataclasses.fields(Prompt)}
    settings = {name for each in ASKED.values() for name in each.sampling}
    assert settings == {field.name for field in dataclasses.fields(Sampling)}


# What is heard


@cache
def heard_from(column: str, models: Path) -> list[Any]:
    if column in UPSTREAMS:
        return [event for answer in told_by_upstream(column) for event in answer]
    return [event for answer in told_by_engine(column, models) for event in answer]


@pytest.mark.parametrize(("row", "column", "verdict"), cells_of("answered"))
def test_what_is_heard_of_it(row: str, column: str, verdict: str, models: Path) -> None:
    if column in ENGINES:
        need(column)

    heard = any(ANSWERED[row](event) for event in heard_from(column, models))

    assert heard == (verdict == "carried")


def test_all_that_an_answer_can_tell_has_a_row() -> None:
    assert list(rows_of("answered")) == list(ANSWERED)
    assert {cell for cells in rows_of("answered").values() for cell in cells} == {
        "carried",
        "dropped",
    }


# What can be asked


@pytest.mark.anyio
@pytest.mark.parametrize(("row", "column", "verdict"), cells_of("fronts"))
async def test_what_can_be_asked_of_it(row: str, column: str, verdict: str) -> None:
    assert await can_be_asked(column, row, ASKED[row]) == (verdict == "yes")


def test_nothing_else_can_be_asked_of_the_gateway_of_providers() -> None:
    contract = Contract.load("ai/geenii")
    described = contract.document["paths"]["/completion"]["post"]["requestBody"]
    schema = resolve(contract, described["content"]["application/json"]["schema"])

    assert GATEWAY.endswith("/completion")
    assert {"model", "prompt", "stream"} | {
        name for asked in BY_HAND["geenii"].values() for name in asked
    } == set(schema["properties"])


# The page


def drawn(table: str) -> str:
    titles = [TITLES[column] for column in TABLES[table]["columns"]]
    lines = [["", *titles], ["---"] * (len(titles) + 1)]
    lines += [[row, *cells] for row, cells in rows_of(table).items()]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


@pytest.mark.parametrize("table", TABLES)
def test_the_page_has_the_table(table: str) -> None:
    assert drawn(table) in PAGE.read_text("utf-8")


def main() -> None:
    """Print the tables of the page."""
    for table in TABLES:
        print(drawn(table))


if __name__ == "__main__":
    main()
