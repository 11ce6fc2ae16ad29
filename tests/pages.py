"""Pages of the documentation: their blocks, what is shown in them, and running them.

Python blocks of a page are one test file for pytest, in their order. A block that begins
with `# name.py` is a file of that name instead, for others to import or to serve; so is a
TOML block that begins with `# name.toml`. One that
begins with the path of a file in `examples/` or `tests/` is a part of that file, word for word.

Console blocks are run command by command: `llmount` and `uvicorn` for real, on a free
port, and `curl` and `llmount check` against the server that was started last. A check that
is not told which checks to make makes those of answers alone, which are quick. A model that
a machine may lack is played by the echo model under its name; answers are then compared in
their shape, otherwise in their values too. In what is shown, `…` stands for anything.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from llmount.models import KNOWN
from tests.serving import serve
from tests.tiny_gguf import write_bigram

__all__ = ["blocks_of", "run_page", "run_python", "values_of"]

ROOT = Path(__file__).parents[1]
SECONDS = 60
ADDRESS = re.compile(r"(http://)?(127\.0\.0\.1|localhost):8000")
NOT_RUN = {".", "cd", "git", "llmount pull", "mkdocs", "pip", "python", "ruff", "tox"}
"""They fetch, take minutes, or are run by the tests of their own."""
VOLATILE = re.compile(r"id|created|created_at|timestamp|expires_at|\w+_duration")
SOME = "…"

# Pages and what is in them


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The name of the file that it is, if it is one."""
        suffix = {"python": "py", "toml": "toml"}.get(self.language)
        if suffix is None or self.quoted:
            return None
        match = re.match(rf"# ([\w/]+\.{suffix})\n", self.text)
        return match and match[1]

    @property
    def quoted(self) -> str | None:
        """The path of the file in this repository that it is a part of, if so."""
        match = re.match(r"# ((?:examples|tests)/[\w/.-]+)\n", self.text)
        return match and match[1]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(match[1], match[2], text.count("\n", 0, match.start()) + 1)
        for match in re.finditer(r"^```(\S*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def commands_of(block: Block) -> Iterator[tuple[list[str], str]]:
    """Each command's words, and what is shown as its output."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        for count in range(1, len(lines) + 1):
            command = "\n".join(lines[:count])
            try:
                words = shlex.split(command.replace("\\\n", " "), comments=True)
            except ValueError:
                continue
            if not command.endswith("\\"):
                yield words, "\n".join(lines[count:]).strip()
                break
        else:
            raise AssertionError(f"line {block.line}: this command has no end: {part}")


# What is shown, and what is answered


def values_of(text: str) -> list[Any]:
    """The JSON values in a text, one after the other; events without what is around them."""
    values: list[Any] = []
    while text := text.strip():
        text = text.removeprefix("data:").lstrip()
        if text.startswith((SOME, "[DONE]")):
            value, _, text = text.partition("\n")
        else:
            value, end = json.JSONDecoder().raw_decode(text)
            text = text[end:]
        values.append(value)
    return values


def compare(shown: Any, real: Any, *, exactly: bool, where: str = "the answer") -> None:
    if shown == SOME:
        return
    if isinstance(shown, dict):
        assert isinstance(real, dict), f"{where} is {real!r}"
        named = [key for key in shown if key != SOME]
        assert set(named) <= set(real) if SOME in shown else named == list(real), (
            f"{where} has {list(real)}, not {named}"
        )
        for key in named:
            exact = exactly and not VOLATILE.fullmatch(key)
            compare(shown[key], real[key], exactly=exact, where=f"{where}.{key}")
    elif isinstance(shown, list):
        assert isinstance(real, list), f"{where} is {real!r}"
        cut = shown.index(SOME) if SOME in shown else len(shown)
        head, tail = shown[:cut], shown[cut + 1 :]
        assert len(real) >= len(head) + len(tail), f"{where} has {len(real)} elements"
        assert SOME in shown or len(real) == len(shown), f"{where} has {len(real)} elements"
        pairs = [*enumerate(head), *((len(real) - len(tail) + n, v) for n, v in enumerate(tail))]
        for number, value in pairs:
            compare(value, real[number], exactly=exactly, where=f"{where}[{number}]")
    elif exactly and isinstance(shown, str) and isinstance(real, str):
        pattern = ".*".join(map(re.escape, shown.split(SOME)))
        assert re.fullmatch(pattern, real, re.DOTALL), f"{where} is {real!r}"
    elif exactly:
        assert shown == real, f"{where} is {real!r}"
    else:
        assert type(shown) is type(real), f"{where} is {real!r}"


def compare_text(shown: str, real: str) -> None:
    """The same lines, but for their spaces; `…` alone on a line stands for any number."""
    wanted = [" ".join(line.split()) for line in shown.splitlines()]
    pattern = "".join(r"(?:.*\n)*" if line == SOME else re.escape(line) + "\n" for line in wanted)
    lines = [" ".join(line.split()) + "\n" for line in real.splitlines()]
    assert re.fullmatch(pattern, "".join(lines)), f"it printed:\n{real}"


# Running a page


@dataclass
class Run:
    """A page under way. folder: its working directory. url: of the server started last."""

    folder: Path
    stack: ExitStack
    url: str = ""
    played: bool = False

    def command(self, words: Sequence[str], shown: str) -> None:
        environment = dict(word.split("=", 1) for word in itertools.takewhile(_assigns, words))
        words = words[len(environment) :]
        match words:
            case ["llmount", "serve", *arguments]:
                arguments = [
                    str(self.folder / word) if word.endswith(".toml") else word
                    for word in arguments
                ]
                arguments, self.played = _without_models(arguments)
                server = serve(*arguments, environment=environment)
                self.url = self.stack.enter_context(server).url
            case ["uvicorn", target]:
                self.url = self.stack.enter_context(_uvicorn(target, self.folder))
                self.played = False
            case ["curl", *arguments]:
                self.curl(arguments, shown)
            case _ if {words[0], " ".join(words[:2])} & NOT_RUN:
                return
            case ["llmount", "check", *arguments]:
                self.check(arguments, shown)
            case ["llmount", *arguments]:
                *arguments, file = arguments if ">" in arguments else [*arguments, ""]
                if file:
                    arguments.remove(">")
                done = run_python(["-m", "llmount", *arguments], self.folder, environment)
                assert not done.stderr, done.stderr
                if file:
                    (self.folder / file).write_text(done.stdout, encoding="utf-8")
                if shown:
                    compare_text(shown, done.stdout)
            case _:
                raise AssertionError(f"nobody runs {words}")

    def check(self, arguments: Sequence[str], shown: str) -> None:
        chosen = () if {"--only", "--list"} & {*arguments} else ("--only", "answers")
        words = [ADDRESS.sub(self.url, word) for word in (*arguments, *chosen)]
        done = run_python(["-m", "llmount", "check", *words], self.folder)
        assert done.returncode in (0, 1), done.stderr
        if shown:
            printed = done.stdout.replace(self.url or SOME, "http://127.0.0.1:8000")
            compare_text(shown, printed.lstrip("\n"))

    def curl(self, arguments: Sequence[str], shown: str) -> None:
        assert self.url, "no server was started before this"
        request, with_head = self._request(arguments)
        with httpx.Client(timeout=10) as client:
            answer = client.send(request)
        if with_head:
            head, _, shown = shown.partition("\n\n")
            status, *headers = head.splitlines()
            assert status.split()[1] == str(answer.status_code), answer.text
            for header in headers:
                name, _, value = header.partition(": ")
                compare(value, answer.headers.get(name), exactly=True, where=name)
        elif not shown:
            assert answer.is_success, answer.text
        if not shown:
            return
        if answer.headers["content-type"].startswith(("text/plain", "text/html")):
            compare_text(shown, answer.text)
        else:
            compare(values_of(shown), values_of(answer.text), exactly=not self.played)

    def _request(self, arguments: Sequence[str]) -> tuple[httpx.Request, bool]:
        """What this curl command asks for, and whether it shows the head of the answer."""
        method, url, body, with_head = "GET", "", None, False
        headers: dict[str, str] = {}
        words = iter(arguments)
        for word in words:
            match word:
                case "-d":
                    method, body = "POST", next(words)
                    headers.setdefault("content-type", "application/x-www-form-urlencoded")
                case "-H":
                    name, _, value = next(words).partition(": ")
                    headers[name.lower()] = value
                case "-X":
                    method = next(words)
                case "-i":
                    with_head = True
                case "-s" | "-N":
                    pass
                case _ if word.startswith("-") or url:
                    raise AssertionError(f"nobody replays curl's {word}")
                case _:
                    url = ADDRESS.sub(self.url, word)
        if self.played and body:
            body = re.sub(r'"(llamacpp|ctransformers):', '"echo:', body)
        return httpx.Request(method, url, content=body, headers=headers), with_head


def _assigns(word: str) -> bool:
    """Whether it sets a variable of the environment."""
    return re.match(r"[A-Z_]+=", word) is not None


def _without_models(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments of `llmount serve` with local models played by the echo model."""
    kept, played, words = [], False, iter(arguments)
    for word in words:
        if word == "--model":
            name, _, spec = ("=" + (model := next(words))).rpartition("=")
            if spec in KNOWN or spec.endswith(".gguf"):
                model = f"{name.strip('=') or Path(spec).stem}=echo"
                played = True
            kept += [word, model]
        elif word == "--port":
            next(words)
        else:
            kept.append(word)
    if not {"--model", "--config"} & {*kept}:
        return [*kept, "--model", "smollm2=echo"], True
    return kept, played


@contextmanager
def _uvicorn(target: str, folder: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        # The child has the only listening socket, so that its death is a refused connection.
        process = subprocess.Popen(
            [sys.executable, "-B", "-m", "uvicorn", target, "--fd", str(listener.fileno())],
            cwd=ROOT if target.startswith("examples.") else folder,
            pass_fds=[listener.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        yield f"http://{host}:{port}"
    finally:
        process.terminate()
        _, log = process.communicate(timeout=SECONDS)
        assert "Traceback" not in log, log


def run_python(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """environment: variables besides those that there are."""
    return subprocess.run(
        [sys.executable, "-B", *arguments],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def _start_project(folder: Path) -> None:
    """What `django-admin startproject` makes, as far as our examples need it."""
    project = folder / "mysite"
    project.mkdir()
    (project / "settings.py").write_text(
        'ROOT_URLCONF, SECRET_KEY, ALLOWED_HOSTS = "mysite.urls", "for the tests", ["*"]\n'
        'INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]\n'
    )
    (project / "urls.py").write_text("urlpatterns = []\n")
    (project / "asgi.py").write_text(
        "import os\n"
        "from django.core.asgi import get_asgi_application\n"
        'os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"\n'
        "application = get_asgi_application()\n"
    )


def run_page(page: Path, folder: Path) -> None:
    """Run everything on a page. Raises `AssertionError` for what is not as it is shown."""
    lines: list[str] = []
    _start_project(folder)
    write_bigram(folder / "model.gguf")
    with ExitStack() as stack:
        run = Run(folder, stack)
        for block in blocks_of(page):
            if block.quoted:
                rest = block.text.partition("\n")[2]
                whole = (ROOT / block.quoted).read_text(encoding="utf-8")
                assert rest in whole, f"line {block.line}: not in {block.quoted}"
            elif block.file:
                (folder / block.file).write_text(block.text, encoding="utf-8")
                if block.language != "python":
                    continue
                module = block.file.removesuffix(".py").replace("/", ".")
                done = run_python(["-W", "error", "-m", module], folder)
                assert done.returncode == 0, f"line {block.line}: {done.stderr}"
            elif block.language == "python":
                # So that the lines of the file are those of the page.
                lines += [""] * (block.line - len(lines)) + block.text.splitlines()
            elif block.language == "console":
                for words, shown in commands_of(block):
                    try:
                        run.command(words, shown)
                    except Exception as error:
                        error.add_note(f"{page.name}, line {block.line}: {shlex.join(words)}")
                        raise
        file = folder / f"test_{page.stem}.py"
        file.write_text(ADDRESS.sub(run.url or r"\g<0>", "\n".join(lines)), encoding="utf-8")
        done = run_python(["-m", "pytest", "-q", "-W", "error", file.name], folder)
        nothing_collected = 5
        assert done.returncode in (0, nothing_collected), done.stdout
