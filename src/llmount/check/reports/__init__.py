"""A report in the forms that people and programs read: a renderer for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ..verdict import Report
from . import html, json, junit, markdown, sarif

__all__ = ["FORMATS"]

FORMATS: Final[Mapping[str, Callable[[Sequence[Report]], str]]] = {
    "html": html.render,
    "json": json.render,
    "junit": junit.render,
    "md": markdown.render,
    "sarif": sarif.render,
}
"""By the names that `--report` takes: what makes a text of the reports of one run."""
