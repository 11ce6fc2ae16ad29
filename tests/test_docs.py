"""The documentation does what it says: its programs run, its commands answer as shown.

How blocks are written is told in `tests/pages.py`.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import llmount
from llmount import EchoBackend, errors
from llmount.contract import Contract
from llmount.dialects import DIALECTS
from llmount.dialects.protocol import Dialect
from llmount.errors import ApiError, Violation
from tests.pages import blocks_of, run_page, run_python, values_of

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
LANGUAGES = {"python", "console", "json", "yaml", "toml", "nginx", "text"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_shows_is_what_happens(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_its_language_so_that_none_escapes(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert {block.language for block in blocks_of(page)} <= LANGUAGES
    assert len(re.findall("```", text)) == 2 * len(blocks_of(page))
    for block in blocks_of(page):
        if block.language == "console":
            assert block.text.startswith("$ "), f"line {block.line}"
        elif block.language == "json":
            values_of(block.text)


# Errors

DRAWING = {
    "Ollama": DIALECTS["generate"]["ollama"](EchoBackend()),
    "OpenAI": DIALECTS["chat"]["openai"](EchoBackend()),
    "geenii": DIALECTS["ai"]["geenii"]({"echo": EchoBackend()}),
}

RAISED: Sequence[ApiError] = (
    errors.BadRequest("the prompt is empty", param="prompt"),
    errors.MalformedBody("Expecting value at character 9", position=9, found="}"),
    errors.InvalidRequest(
        Violation(("model",), "type", "must be a string", expected="string", value=7)
    ),
    errors.UnknownFields(["top_k"]),
    errors.ContextTooLong(5000, 4096),
    errors.Unsupported("tools", model="tiny", param="tools"),
    errors.Unauthenticated("Incorrect API key provided."),
    errors.Forbidden("this key may not use tiny"),
    errors.NotFound("nothing is here"),
    errors.RouteNotFound("GET", "/nowhere"),
    errors.ModelNotFound("tiny"),
    errors.MethodNotAllowed("DELETE", ("POST",)),
    errors.BodyTooLarge(33_554_432),
    errors.UnsupportedMediaType("text/plain", ("application/json",)),
    errors.RateLimited(retry_after=2),
    errors.InternalError(),
    errors.BackendError(),
    errors.BackendUnavailable(),
    errors.Overloaded(retry_after=2),
    errors.BackendTimeout(),
)


def table_of(dialect: Dialect) -> str:
    """What each error becomes, as a table."""
    operation = next(iter(Contract.load(dialect.contract).operations.values()))
    rows = ["| raised | status | body | header |", "|---|---|---|---|"]
    for error in RAISED:
        unreached = isinstance(error, errors.RouteNotFound | errors.MethodNotAllowed)
        drawing = dialect.draw(error, None if unreached else operation)
        content = drawing.content
        body = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        headers = "".join(f"`{name}: {value}`" for name, value in drawing.headers)
        ticks = "``" if "`" in body else "`"
        space = " " if ticks == "``" else ""
        rows.append(
            f"| `{type(error).__name__}` | {drawing.status} "
            f"| {ticks}{space}{body}{space}{ticks} | {headers} |"
        )
    return "\n".join(rows)


def test_every_error_is_among_those_that_are_drawn() -> None:
    declared = {getattr(errors, name) for name in errors.__all__} - {ApiError, Violation}

    assert {type(error) for error in RAISED} == declared


@pytest.mark.parametrize("name", DRAWING)
def test_the_tables_of_errors_are_what_the_dialects_draw(name: str) -> None:
    assert table_of(DRAWING[name]) in (DOCS / "errors.md").read_text(encoding="utf-8")


def test_the_tree_of_errors_is_the_one_in_the_code() -> None:
    tree = re.search(r"^\* ApiError\n(?:  .*\n)+", errors.__doc__ or "", re.MULTILINE)

    assert tree is not None
    assert tree[0] in (DOCS / "errors.md").read_text(encoding="utf-8")


def test_every_dialect_is_told_of() -> None:
    page = (DOCS / "mounting.md").read_text(encoding="utf-8")
    told: dict[str, list[str]] = {}
    for app, dialect in re.findall(r'^\| (?:`(\w+)_app` )?\| `"(\w+)"` \|', page, re.MULTILINE):
        told.setdefault(app or list(told)[-1], []).append(dialect)

    assert told == {family: list(dialects) for family, dialects in DIALECTS.items()}


def test_the_layers_are_those_that_are_held() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    held = [layer.replace("llmount.", "") for layer in linter["contracts"][0]["layers"]]
    drawing = next(block for block in blocks_of(DOCS / "architecture.md") if "types " in block.text)

    assert [line.partition("  ")[0] for line in drawing.text.splitlines()] == held


def test_every_option_of_serve_is_explained() -> None:
    told = run_python(["-m", "llmount", "serve", "--help"], ROOT).stdout
    page = (DOCS / "serve.md").read_text(encoding="utf-8")

    for option in sorted(set(re.findall(r"--[a-z-]+", told)) - {"--help"}):
        assert f"`{option}" in page, option


def referred() -> set[int]:
    """What the reference shows, by identity."""
    page = (DOCS / "reference.md").read_text(encoding="utf-8")
    shown = set()
    for found in re.finditer(r"^::: ([\w.]+)\n(?:    .*\n)*", page, re.MULTILINE):
        module = importlib.import_module(found[1])
        members = re.search(r"members: \[(.*)\]", found[0])
        names = members[1].split(", ") if members else module.__all__
        shown |= {id(getattr(module, name)) for name in names}
    return shown


def imported() -> Iterator[tuple[str, str]]:
    """The modules and names that the package offers, or that pages and examples import."""
    yield from (("llmount", name) for name in llmount.__all__ if name != "__version__")
    texts = [
        block.text for page in PAGES for block in blocks_of(page) if block.language == "python"
    ]
    texts += [file.read_text("utf-8") for file in (ROOT / "examples").rglob("*.py")]
    for node in itertools.chain.from_iterable(ast.walk(ast.parse(text)) for text in texts):
        if isinstance(node, ast.ImportFrom) and re.match(r"(pytest_)?llmount\b", node.module or ""):
            yield from ((str(node.module), alias.name) for alias in node.names)


def test_the_reference_has_every_name_that_is_offered_or_shown() -> None:
    shown = referred()

    lacking = {
        f"{module}.{name}"
        for module, name in imported()
        if id(getattr(importlib.import_module(module), name)) not in shown
    }
    assert not lacking


def main() -> None:
    """Print the tables of errors.md."""
    for name, dialect in DRAWING.items():
        print(f"### {name}\n\n{table_of(dialect)}\n")


if __name__ == "__main__":
    main()
