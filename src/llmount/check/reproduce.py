"""What makes a finding happen again: a command for a shell, a test for pytest.

Secrets are variables of the environment in both.
"""

from __future__ import annotations

import re
import shlex
from typing import Final
from urllib.parse import urlsplit

from .recording import Recording
from .verdict import Finding, Report, Result

__all__ = ["KEY_VARIABLE", "USUAL", "curl", "preparation", "snippet"]

KEY_VARIABLE: Final = "LLMOUNT_CHECK_KEY"
"""The variable of the environment that has the key."""

USUAL: Final = "http://127.0.0.1:8000"
"""Where reports say that an app is which was served only for the run."""

_HIDDEN: Final = "…"
_IMPLIED: Final = frozenset({"content-length", "host"})


def preparation(report: Report) -> str:
    """The command that has to run beforehand; "" unless the target is an app."""
    if "://" in report.target:
        return ""
    return f"uvicorn {shlex.quote(report.target)} --port {urlsplit(USUAL).port}"


# For a shell


def curl(recording: Recording) -> str:
    """The request as a command for a POSIX shell; "" if a report keeps only a part of it."""
    if "body" in recording.left_out:
        return ""
    body = recording.body
    parts = [f"curl -i {'-N' if recording.method != 'HEAD' else '--head'}"]
    if recording.method not in ("HEAD", "GET" if body is None else "POST"):
        parts[0] += f" -X {shlex.quote(recording.method)}"
    if re.search(r"[][{}]|/\.", recording.url):
        parts[0] += " --globoff --path-as-is"
    parts[0] += f" {shlex.quote(recording.url)}"
    names = {name for name, _ in recording.headers}
    parts += [
        f"-H {_header(name, value)}" for name, value in recording.headers if name not in _IMPLIED
    ]
    if body is None:
        return " \\\n  ".join(parts)
    if "content-type" not in names:
        # Otherwise curl says that it is a form.
        parts.append("-H 'content-type:'")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        return f"printf '{_octal(body)}' |\n  " + " \\\n  ".join([*parts, "--data-binary @-"])
    return " \\\n  ".join([*parts, f"--data-raw {shlex.quote(text)}"])


def _header(name: str, value: str) -> str:
    if not value:
        return shlex.quote(f"{name};")
    shown, hidden, _ = value.partition(_HIDDEN)
    if not hidden:
        return shlex.quote(f"{name}: {value}")
    return shlex.quote(f"{name}: {shown}") + f'"${_variable(name)}"'


def _octal(content: bytes) -> str:
    """As a format of `printf` within single quotes."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in "%'\\" else f"\\{byte:03o}"
        for byte in content
    )


def _variable(name: str) -> str:
    """Where the secret of a header is."""
    return KEY_VARIABLE if name == "authorization" else re.sub(r"\W", "_", name).upper()


# For pytest


def snippet(report: Report, result: Result, finding: Finding) -> str:
    """A test file. It sends the request and prints the answer, and makes the check again,
    which fails for as long as it finds something."""
    recording = finding.recording
    whole = recording is not None and "body" not in recording.left_out
    sent = _sent(recording, report.url) if recording is not None and whole else ""
    headers = _own_headers(recording)
    place = (
        f"    with served(load({report.target!r})) as url:\n        yield url\n"
        if preparation(report)
        else f"    return {report.url!r}\n"
    )
    imports = ["import os\n"] if "os.environ" in sent + headers else []
    imports += ["import anyio", *(["import httpx"] if sent else []), "import pytest"]
    imports += ["from llmount.check.inspection import Options, inspect"]
    if preparation(report):
        imports += ["from llmount.check.served import load, served"]
    name = re.sub(r"\W+", "_", result.key)
    return f'''"""{_inert(f"{result.key}: {finding.message}")}"""

{chr(10).join(imports)}


@pytest.fixture
def url():
{place}

def test_{name}(url):
{sent}    options = Options(
        contracts=[{report.contract!r}],
        model={report.model!r},
        headers={headers},
        only=[{result.check!r}],
        seed={report.seed},
    )
    [report] = anyio.run(inspect, url, options)
    [result] = [each for each in report.results if each.key == {result.key!r}]
    assert not [finding.message for finding in result.findings]
'''


def _sent(recording: Recording, root: str) -> str:
    """The statements that send the request."""
    path = recording.url.removeprefix(root)
    headers = ", ".join(
        f"({name!r}, {_value(name, value)})"
        for name, value in recording.headers
        if name not in _IMPLIED
    )
    return f"""    answer = httpx.request(
        {recording.method!r},
        url + {path!r},
        headers=[{headers}],
        content={recording.body!r},
        timeout=60,
    )
    print(answer.status_code, answer.text)
"""


def _own_headers(recording: Recording | None) -> str:
    hidden = [
        f"{name!r}: {_value(name, value)}"
        for name, value in (recording.headers if recording else ())
        if _HIDDEN in value
    ]
    return "{" + ", ".join(hidden) + "}"


def _value(name: str, value: str) -> str:
    shown, hidden, _ = value.partition(_HIDDEN)
    if not hidden:
        return repr(value)
    return f"{shown!r} + os.environ[{_variable(name)!r}]"


def _inert(text: str) -> str:
    """Such that it stays within a string of three quotes, whatever it says."""
    return ascii(text)[1:-1].replace("\\", "/").replace('"', "'")
