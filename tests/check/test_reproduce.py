"""What a report offers to repeat a finding does repeat it, whatever is in the request."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from llmount.check.inspection import Options, inspect
from llmount.check.recording import Recording
from llmount.check.reproduce import KEY_VARIABLE, curl, preparation, snippet
from llmount.check.served import served
from llmount.check.verdict import Finding, Report, Result, Verdict
from tests.pages import run_python

from .reported import plain

ROOT = Path(__file__).parents[2]
EVIL = "it's \"$(id)\" `id` $HOME \\ %s !! \n\t é 🙂 '\\'' {a,b} #"


@dataclass
class Recorder:
    """An app that keeps what it is sent."""

    seen: list[tuple[str, bytes, Mapping[str, str], bytes]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        query = scope["query_string"]
        path = scope["raw_path"] + (b"?" + query if query else b"")
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        self.seen.append((scope["method"], path, headers, body))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def url(recorder: Recorder) -> Iterator[str]:
    with served(recorder) as url:
        yield url


JSON = ("content-type", "application/json")

REQUESTS = {
    "GET": Recording(method="GET", url="/v1/models"),
    "HEAD": Recording(method="HEAD", url="/v1/models"),
    "DELETE": Recording(method="DELETE", url="/v1/models"),
    "an odd method": Recording(method="PUT", url="/v1/models", body=b"", headers=[JSON]),
    "an empty body": Recording(method="POST", url="/v1/chat", body=b"", headers=[JSON]),
    "JSON": Recording(method="POST", url="/v1/chat", headers=[JSON], body=b'{"a": "b"}'),
    "a body with quotes": Recording(
        method="POST", url="/v1/chat", headers=[JSON], body=EVIL.encode()
    ),
    "a body like a file's name": Recording(
        method="POST", url="/v1/chat", headers=[JSON], body=b"@/etc/passwd"
    ),
    "bytes": Recording(method="POST", url="/v1/chat", headers=[JSON], body=bytes(range(256)) * 2),
    "no type": Recording(method="POST", url="/v1/chat", body=b"{}"),
    "a GET with a body": Recording(method="GET", url="/v1/models", headers=[JSON], body=b"{}"),
    "an odd address": Recording(method="GET", url="/v1/models/a%2Fb/%7B1-3%7D?x=[1]&y='a'"),
    "dots": Recording(method="GET", url="/v1/../v1/./models"),
    "headers": Recording(
        method="GET", url="/", headers=[("x-odd", "it's $HOME `id`"), ("x-empty", "")]
    ),
    "secrets": Recording(
        method="GET", url="/", headers=[("authorization", "Bearer …"), ("x-my-key", "…")]
    ),
}
SECRETS = {KEY_VARIABLE: "sk-$(id)", "X_MY_KEY": "it's a secret"}


def check(recording: Recording, seen: tuple[str, bytes, Mapping[str, str], bytes]) -> None:
    method, path, headers, body = seen
    assert (method, body) == (recording.method, recording.body or b"")
    assert path.decode() == recording.url
    values = {"Bearer …": f"Bearer {SECRETS[KEY_VARIABLE]}", "…": SECRETS["X_MY_KEY"]}
    for name, value in recording.headers:
        assert headers[name] == values.get(value, value)
    if "content-type" not in dict(recording.headers):
        assert "content-type" not in headers


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_command_sends_the_request_as_it_was(
    name: str, shell: str, recorder: Recorder, url: str
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    recording = REQUESTS[name]
    command = curl(replace(recording, url=url + recording.url))

    done = subprocess.run(
        [shell, "-c", command], env={**os.environ, **SECRETS}, capture_output=True, timeout=30
    )

    assert done.returncode == 0, done.stderr
    assert b" 204 " in done.stdout
    (seen,) = recorder.seen
    check(recording, seen)


def sending(text: str) -> str:
    """The program that a snippet's first statement is."""
    start, end = text.index("    answer = "), text.index("    options = ")
    statements = "".join(line.removeprefix("    ") for line in text[start:end].splitlines(True))
    return f"import os\nimport httpx\nimport sys\nurl = sys.argv[1]\n{statements}"


@pytest.mark.parametrize("name", sorted({*REQUESTS} - {"dots", "an odd address"}))
def test_the_snippet_sends_the_request_as_it_was(
    name: str, recorder: Recorder, url: str, tmp_path: Path
) -> None:
    recording = replace(REQUESTS[name], url=url + REQUESTS[name].url)
    finding = Finding("odd", recording)
    result = Result(check="a.b", verdict=Verdict.FAIL, findings=[finding])
    program = sending(snippet(replace(plain(result), url=url), result, finding))

    done = run_python(["-c", program, url], tmp_path, SECRETS)

    assert done.returncode == 0, done.stderr
    (seen,) = recorder.seen
    check(REQUESTS[name], seen)


@pytest.mark.parametrize("message", [EVIL, '"""', "\\", '"', "\\N{", "\x00\ud800", "'''"])
def test_a_snippet_is_a_program_whatever_a_server_said(message: str) -> None:
    finding = Finding(message, REQUESTS["bytes"])
    result = Result(check="a.b", operation="ask it", verdict=Verdict.FAIL, findings=[finding])
    report = replace(plain(result), target=message, url=message, server=message)

    text = snippet(report, result, finding)

    compile(text, "test_it.py", "exec")


def test_what_a_report_keeps_only_a_part_of_is_not_sent_again() -> None:
    cut = replace(REQUESTS["JSON"], left_out={"body": 9})
    result = Result(check="a.b", verdict=Verdict.FAIL, findings=[Finding("odd", cut)])

    assert curl(cut) == ""
    assert "httpx" not in snippet(plain(result), result, result.findings[0])


def test_an_app_is_started_first() -> None:
    assert preparation(plain()) == ""
    assert preparation(replace(plain(), target="my app:app")) == "uvicorn 'my app:app' --port 8000"


BROKEN = """
from llmount import EchoBackend, chat_app
from tests.check.own import edited

whole = chat_app(EchoBackend())
app = edited(whole, lambda body: body.replace(b'"role"', b'"rule"'))
"""


def inspected(app: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    from llmount.check.served import load

    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    options = Options(contracts=["chat/openai"], only=["answers.*"])
    with served(load(app)) as url:
        (report,) = anyio.run(partial(inspect, url, options, name=app))
    return report


def test_the_snippet_of_a_real_finding_fails_until_the_server_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_chat.py").write_text(BROKEN)
    report = inspected("broken_chat:app", tmp_path, monkeypatch)
    result = report.failed[0]
    (tmp_path / "test_it.py").write_text(snippet(report, result, result.findings[0]))
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT), *sys.path])}

    failed = run_python(command, tmp_path, path)
    (tmp_path / "broken_chat.py").write_text(BROKEN.replace("app = edited", "mended = edited"))
    with (tmp_path / "broken_chat.py").open("a") as file:
        file.write("app = whole\n")
    passed = run_python(command, tmp_path, path)

    assert failed.returncode == 1, failed.stdout
    assert result.findings[0].message[:40] in failed.stdout
    assert passed.returncode == 0, passed.stdout
