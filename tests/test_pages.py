"""How pages of the documentation are read: what they quote has to be there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import blocks_of, run_page


def page_of(tmp_path: Path, text: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


def test_a_part_of_a_file_may_be_quoted(tmp_path: Path) -> None:
    page = page_of(tmp_path, "```python\n# examples/tgi/tgi.py\nclass TGI:\n```\n")

    [block] = blocks_of(page)

    assert (block.quoted, block.file) == ("examples/tgi/tgi.py", None)
    run_page(page, tmp_path)


@pytest.mark.parametrize("language", ["python", "yaml"])
def test_what_is_quoted_otherwise_than_it_is_is_found_out(language: str, tmp_path: Path) -> None:
    page = page_of(tmp_path, f"```{language}\n# examples/tgi/tgi.py\nclass Tgi:\n```\n")

    with pytest.raises(AssertionError, match=r"line 1: not in examples/tgi/tgi\.py"):
        run_page(page, tmp_path)
