"""Go's templates, held to what Go's own package made of each."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmount.dialects.go_template import Template, TemplateError
from llmount.dialects.ollama_request import generate_prompt

MEASURED: list[Mapping[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("go_templates.yaml").read_text("utf-8")
)


def prompt(row: Mapping[str, Any]) -> str:
    """The text to continue, of a request with these fields."""
    body = {
        "model": "m",
        "prompt": row.get("prompt", ""),
        "system": row.get("system", ""),
        "suffix": row.get("suffix", ""),
        # An empty one is none.
        "template": row["template"] or "{{ .Prompt }}",
        "think": row.get("think"),
        "raw": False,
        "logprobs": False,
        "top_logprobs": 0,
    }
    text = generate_prompt(body).text
    assert text is not None
    return text


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: repr(row["template"])[:60])
def test_a_template_makes_what_go_makes_of_it(row: Mapping[str, Any]) -> None:
    if row["template"] == "":
        assert Template("").prompt({"Response": ""}) == row["out"]
        return
    expected = row.get("here", row)
    if "error" in expected:
        with pytest.raises(TemplateError) as caught:
            prompt(row)
        assert caught.value.message == expected["error"]
    else:
        assert prompt(row) == expected["out"]


@pytest.mark.parametrize(
    "template",
    [
        "{{ range 1000000000 }}x{{ end }}",
        "{{ range 1000 }}{{ range 1000 }}{{ end }}{{ end }}",
        '{{ $x := "ab" }}{{ range 60 }}{{ $x = printf "%s%s" $x $x }}{{ end }}{{ $x }}',
        "{{ if 1 }}" * 5000,
        "{{ " + "(" * 5000 + " }}",
        "{{ " + "9" * 5000 + " }}",
        "{{ 1e999 }}",
        "{{ 09 }}",
        "{{ 'ab' }}",
        '{{ "\\x41" }}',
        "{{" * 1000,
        '{{ printf "%999999999d" 1 5 | len | slice "a" }}',
    ],
    ids=lambda template: template[:20],
)
def test_a_template_that_does_too_much_or_is_odd_is_refused(template: str) -> None:
    with pytest.raises(TemplateError):
        prompt({"template": template, "prompt": "Hi"})


@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        (
            "{{ range $k, $v := .M }}{{ $k }}={{ $v }};{{ end }}",
            {"M": {"b": 2, "a": 1}},
            "a=1;b=2;",
        ),
        ("{{ toTypeScriptType .T }}", {"T": {"type": ["string", "null"]}}, "string | null"),
        ("{{ toTypeScriptType .T }}", {"T": {"anyOf": [{"type": "array"}, {}]}}, "any[] | any"),
        ("{{ json .T }}", {"T": {"a": "<"}}, '{"a":"\\u003c"}'),
        ("{{ .T }}", {"T": {"a": [1, None]}}, "map[a:[1 <nil>]]"),
        ("{{ currentDate }}", {}, datetime.date.today().isoformat()),
        ('{{ index .M "a" 1 }}', {"M": {"a": [1, 2]}}, "2"),
        ("{{ 1e21 }} {{ 1e-7 }} {{ 1.5 }}", {}, "1e+21 1e-07 1.5"),
    ],
)
def test_values_of_other_kinds(template: str, values: Any, expected: str) -> None:
    assert Template(template).render({**values, "Response": ""}) == expected
