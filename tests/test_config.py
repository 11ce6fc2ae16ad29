"""The configuration file: what may stand in it, what is told of one that is wrong.

Files that are wrong are under `tests/configurations/`. In a remark that begins with `#!`
they have what is told of their line, and with `#^` what is told of a line before.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import httpx
import jsonschema
import pytest

from llmount import App
from llmount.config import ConfigError, assemble, build, check, document, load
from llmount.config.kinds import DRAWERS, PROVIDERS
from llmount.config.locating import locate
from llmount.config.problems import Problems
from llmount.config.schema import hold
from llmount.testing.conformance import check_backend
from llmount.testing.transport import ASGITransport
from tests.pages import blocks_of
from tests.tiny_gguf import write_bigram
from tests.upstream import OLLAMA_TAGS, serving, stalling

ROOT = Path(__file__).parents[1]
WRONG = sorted((ROOT / "tests" / "configurations").glob("*.toml"))
ENVIRONMENT = {"EMPTY": " ", "WORDS": "two words", "CLOUD_KEY": "sk-of-the-cloud"}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a file, beside a model, junk and keys."""
    write_bigram(tmp_path / "model.gguf")
    (tmp_path / "junk.gguf").write_bytes(b"junk")
    for name in ("keys.txt", "gpu.key", "cloud.key"):
        (tmp_path / name).write_text("sk-in-a-file\n")

    def write(text: str) -> Path:
        file = tmp_path / "llmount.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


# What is wrong


def expected(file: Path) -> list[str]:
    """What the remarks in a file say, without the lines of those for a line before."""
    found = []
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        for mark, text in re.findall(r"#([!^]) (\w[^#]*: .+)$", line):
            found.append(f"{number}: {text}" if mark == "!" else text)
    return found


@pytest.mark.parametrize("wrong", WRONG, ids=lambda file: file.stem)
def test_all_that_is_wrong_is_told_with_its_line(wrong: Path, write: Callable[[str], Path]) -> None:
    file = write(wrong.read_text("utf-8"))
    told = [
        str(problem).removeprefix(f"{file}:").replace(str(file.parent), "{folder}")
        for problem in check(file, environment=ENVIRONMENT)
    ]

    lines = {text.partition(": ")[2] if text[:1].isdigit() else text for text in expected(wrong)}
    assert {text.partition(": ")[2] for text in told} == lines
    assert {text for text in expected(wrong) if text[:1].isdigit()} <= set(told)
    assert told == sorted(told, key=lambda text: int(text.partition(":")[0]))


@pytest.mark.parametrize("wrong", WRONG, ids=lambda file: file.stem)
def test_no_problem_has_a_secret_in_it(wrong: Path, write: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(wrong.read_text("utf-8")), environment=ENVIRONMENT)

    assert "sk-hidden" not in str(caught.value)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda file: file.stem)
def test_both_validators_say_the_same_of_it(wrong: Path) -> None:
    try:
        value = tomllib.loads(wrong.read_text("utf-8"))
    except tomllib.TOMLDecodeError:
        return
    fast, reference = Problems(wrong), Problems(wrong)

    assert hold(value, fast) == hold(value, reference, "jsonschema")
    assert {*fast.found} == {*reference.found}


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff")

    assert [str(each) for each in check(tmp_path / "nowhere.toml")] == [
        f"{tmp_path}/nowhere.toml: cannot be read: No such file or directory"
    ]
    assert [str(each) for each in check(tmp_path / "bytes.toml")] == [
        f"{tmp_path}/bytes.toml: is not UTF-8"
    ]


def test_a_model_that_is_not_fetched_yet_is_nothing_wrong(
    write: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMOUNT_CACHE", str(tmp_path / "cache"))
    file = write('[providers.local]\ntype = "llamacpp"\nmodels = ["smollm2"]')

    assert check(file) == []
    assert not (tmp_path / "cache").exists()


# Lines

NASTY = '''\
# "a" = 1
a = 1 # b = 2
"c # d" = """
x = 1
""""
'e.f' = [ # [g]
  1.5, {h = "}", "i.j" = [[2], []]}, """
]""",
  1979-05-27T07:32:00Z,
]
k . "l" = 'm\\'
[n]
o = {p.q = 1, r = {s = true}}
[n.t.'u v']
w = """\\"""" # """
[[x]]
y = 1
[x.z]
a = 1
[[x]]
[[x.b]]
c = ""
[[x.b]]
c = \'\'\'
\'\'\'
'''
NASTY_LINES = {
    ("a",): 2,
    ("c # d",): 3,
    ("e.f", 0): 7,
    ("e.f", 1, "i.j", 0, 0): 7,
    ("e.f", 2): 7,
    ("e.f", 3): 9,
    ("k", "l"): 11,
    ("n",): 12,
    ("n", "o", "p", "q"): 13,
    ("n", "o", "r", "s"): 13,
    ("n", "t", "u v"): 14,
    ("n", "t", "u v", "w"): 15,
    ("x",): 16,
    ("x", 0, "z", "a"): 19,
    ("x", 1): 20,
    ("x", 1, "b", 0, "c"): 22,
    ("x", 1, "b", 1): 23,
    ("x", 1, "b", 1, "c"): 24,
}


def paths_of(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    members = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value if isinstance(value, list) else ())
    )
    for key, each in members:
        yield from paths_of(each, (*path, key))


def test_every_value_of_a_nasty_file_is_found_at_its_line() -> None:
    lines = locate(NASTY)

    assert {path: lines.get(path) for path in NASTY_LINES} == NASTY_LINES
    assert set(paths_of(tomllib.loads(NASTY))) - {("n", "t")} == set(lines)


@pytest.mark.parametrize("file", [*WRONG, ROOT / "pyproject.toml"], ids=lambda file: file.stem)
def test_every_value_of_a_file_is_found(file: Path) -> None:
    text = file.read_text("utf-8")
    if file.stem == "not_toml":
        return

    lines = locate(text)
    # What only stands in the headers of others has no line of its own.
    headers = {path[:length] for path in lines for length in range(len(path))}
    assert set(paths_of(tomllib.loads(text))) - headers <= set(lines)


# The schema


def test_the_schema_is_one_and_describes_every_setting() -> None:
    jsonschema.Draft202012Validator.check_schema(document())
    for path, node in properties(document()):
        assert node is True or "description" in resolved(node), path


def test_every_setting_is_told_of_in_the_documentation() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    for path, _ in properties(document()):
        assert re.search(rf"\b{path[-1]}\b", page), path


def test_the_types_of_the_schema_are_those_that_are_made() -> None:
    kinds = document()["$defs"]
    assert kinds["provider"]["properties"]["type"]["enum"] == list(PROVIDERS)
    assert kinds["drawer"]["properties"]["type"]["enum"] == list(DRAWERS)
    for of in ("provider", "drawer"):
        cases = [each["if"]["properties"]["type"]["const"] for each in kinds[of]["allOf"]]
        assert cases == kinds[of]["properties"]["type"]["enum"]


def resolved(node: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in node:
        target = document()["$defs"][node["$ref"].rpartition("/")[2]]
        node = {**target, **{key: each for key, each in node.items() if key != "$ref"}}
    return node


def properties(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(node, dict):
        for name, each in node.get("properties", {}).items():
            if "if" not in path:
                yield (*path, name), each
        for key, each in node.items():
            yield from properties(each, (*path, key))
    elif isinstance(node, list):
        for each in node:
            yield from properties(each, path)


SETTINGS = {
    "ollama": 'url = "http://h:1"\nheaders = {a = "b", c = {env = "CLOUD_KEY"}}\n'
    "timeout = {connect = 1, first = 2, idle = 3, whole = 4}\nmodels = []\n",
    "openai": 'url = "http://h:1/v1"\nkey = {file = "cloud.key"}\nsettings = "hosted"\n'
    'api = "chat"\nheaders = {}\ntimeout = {}\nmodels = ["m"]\nprefix = "p-"\n',
    "llamacpp": 'models = ["model.gguf"]\ncontext_length = 64\nslots = 1\nthreads = 1\n'
    "queue = 0\nverbose = false\n",
    "ctransformers": 'models = {m = "model.gguf"}\ncontext_length = 64\nthreads = 1\nqueue = 0\n'
    'keep_alive = 1.5\ncache = "there"\n',
    "echo": "delay = 0.1\njitter = 0.5\nseed = 3\n",
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_setting_of_a_provider_is_taken_by_its_backend(
    kind: str, write: Callable[[str], Path]
) -> None:
    file = write(f'[providers.p]\ntype = "{kind}"\n{SETTINGS[kind]}')

    assert check(file, environment=ENVIRONMENT) == []
    known = document()["$defs"][kind]["properties"]
    missing = set(known) - set(re.findall(r"^(\w+) =", SETTINGS[kind], re.MULTILINE))
    assert missing <= {"type", "models", "prefix"}


# What a good one makes

HERE = """
[providers.here]
type = "echo"
models = ["echo", "mistral"]

[providers.free]
type = "echo"

[[models]]
name = "both"
members = [{provider = "here", model = "mistral"}, {provider = "free", model = "echo"}]

[images.demo]
type = "scripted"
models = ["sketch"]
"""


def test_a_configuration_does_not_show_its_secrets(write: Callable[[str], Path]) -> None:
    config = load(
        write(
            '[keys]\nenv = "CLOUD_KEY"\nfile = "keys.txt"\n[providers.p]\ntype = "openai"\n'
            'url = "http://h/v1"\nkey = {env = "CLOUD_KEY"}\n'
        ),
        environment=ENVIRONMENT,
    )

    assert config.keys == {"sk-of-the-cloud", "sk-in-a-file"}
    assert config.providers[0].options["key"] == "sk-of-the-cloud"
    assert "sk-" not in repr(config) + repr(assemble(config).providers)


@pytest.mark.parametrize(
    "block",
    [b for b in blocks_of(ROOT / "docs" / "configuration.md") if b.language == "toml"],
    ids=lambda block: f"line {block.line}",
)
def test_every_documented_file_is_a_good_one(block: Any, write: Callable[[str], Path]) -> None:
    if block.file == "wrong.toml":
        return
    variables = dict.fromkeys(re.findall(r'env = "(\w+)"', block.text), "sk-example")

    file = write(block.text)

    assert check(file, environment=variables) == []
    assert isinstance(
        build(load(file, environment=variables), pull=lambda name: file.with_name("model.gguf")),
        App,
    )


def client_of(app: App) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=ASGITransport(app), base_url="http://test")


async def answer(http: httpx.AsyncClient, model: str) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    got = (await http.post("/v1/chat/completions", json=body)).json()
    return str(
        got["choices"][0]["message"]["content"] if "choices" in got else got["error"]["code"]
    )


@pytest.mark.anyio
async def test_models_go_by_the_names_that_are_given(write: Callable[[str], Path]) -> None:
    async with client_of(build(load(write(HERE)), check_answers=True)) as http:
        listed = (await http.get("/v1/models")).json()["data"]
        answers = {
            name: await answer(http, name)
            for name in (
                "echo",
                "Mistral:latest",
                "free/echo",
                "FREE/echo",
                "both",
                "free",
                "free/",
            )
        }

    names = [each["id"] for each in listed]
    assert [name for name in names if name != "sketch"] == ["both", "echo", "mistral", "free/echo"]
    assert list(answers.values()) == ["hi"] * 5 + ["model_not_found"] * 2


@pytest.mark.anyio
async def test_what_is_not_there_is_told_by_the_name_that_was_asked_for(
    write: Callable[[str], Path],
) -> None:
    async with client_of(build(load(write(HERE)))) as http:
        body = {"model": "free/nope", "messages": [{"role": "user", "content": "hi"}]}
        told = (await http.post("/v1/chat/completions", json=body)).json()

    assert "`free/nope`" in told["error"]["message"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("model", "answered"),
    [
        ("here:mistral", True),
        ("free:echo", True),
        ("models:both", True),
        ("ollama:echo", True),
        ("ollama:both", True),
        ("here:both", False),
        ("nobody:echo", False),
    ],
)
async def test_on_ai_the_provider_comes_first(
    write: Callable[[str], Path], model: str, answered: bool
) -> None:
    async with client_of(build(load(write(HERE)))) as http:
        got = await http.post("/ai/v1/completion", json={"model": model, "prompt": "hi"})

    assert (got.json()["error"] is None) is answered


@pytest.mark.anyio
async def test_images_are_drawn_under_their_names_everywhere(write: Callable[[str], Path]) -> None:
    asked = {
        "/ai/v1/image/generate": ({"model": "demo:sketch", "prompt": "a cat"}, '"base64":"iVBOR'),
        "/api/generate": ({"model": "sketch", "prompt": "a cat"}, '"image":"iVBOR'),
        "/v1/images/generations": ({"model": "sketch", "prompt": "a cat"}, '"b64_json":"iVBOR'),
    }
    async with client_of(build(load(write(HERE)))) as http:
        for path, (body, drawn) in asked.items():
            assert drawn in (await http.post(path, json=body)).text.replace(" ", ""), path


@pytest.mark.anyio
async def test_what_no_name_has_goes_to_the_provider_without_a_prefix(
    write: Callable[[str], Path],
) -> None:
    text = '[providers.a]\ntype = "echo"\nprefix = ""\n[providers.b]\ntype = "echo"\nmodels = ["b"]'
    async with client_of(build(load(write(text)))) as http:
        assert [await answer(http, name) for name in ("echo", "b", "c")] == [
            "hi",
            "hi",
            "model_not_found",
        ]


@pytest.mark.anyio
async def test_keys_and_limits_of_the_file_count(write: Callable[[str], Path]) -> None:
    text = '[keys]\nfile = "keys.txt"\n[limits]\nrequests = 1\nwindow = 86400\n' + HERE
    key = {"authorization": "Bearer sk-in-a-file"}
    async with client_of(build(load(write(text)))) as http:
        got = [await http.get("/v1/models", headers=headers) for headers in ({}, key, key)]
    async with client_of(build(load(write(text)), keys=None, limits=None)) as http:
        got += [await http.get("/v1/models")]

    assert [each.status_code for each in got] == [401, 200, 429, 200]


@pytest.mark.anyio
async def test_all_that_is_assembled_keeps_a_backends_promises(
    write: Callable[[str], Path],
) -> None:
    service = assemble(load(write(HERE)))

    for backend in (service.models, *service.providers.values()):
        assert await check_backend(backend) == []


# Lists


@pytest.mark.anyio
async def test_a_dead_provider_and_a_silent_one_delay_no_list(write: Callable[[str], Path]) -> None:
    async with serving(stalling()) as silent, serving(OLLAMA_TAGS) as alive:
        text = f"""
[server]
list_timeout = 1.5

[providers.dead]
type = "ollama"
url = "http://127.0.0.1:9"

[providers.silent]
type = "ollama"
url = "{silent.url}"

[providers.alive]
type = "ollama"
url = "{alive.url}"

[[models]]
name = "any"
members = [
    {{provider = "silent", model = "m"}},
    {{provider = "dead", model = "m"}},
    {{provider = "alive", model = "m"}},
]
"""
        service = assemble(load(write(text)))
        app = service.app()
        started = anyio.current_time()
        async with client_of(app) as http:
            with anyio.fail_after(10):
                openai = (await http.get("/v1/models")).json()["data"]
                took = anyio.current_time() - started
                ollama = (await http.get("/api/tags")).json()["models"]
                geenii = (await http.get("/ai/v1/models")).json()
        await app.aclose()

    assert took < 3
    assert [each["id"] for each in openai] == ["any", "alive/m", "alive/n"]
    assert [each["name"] for each in ollama] == ["any:latest", "alive/m:latest", "alive/n:latest"]
    told = [(each["provider"], each["name"]) for each in geenii]
    assert {*told} == {("models", "any"), ("alive", "m"), ("alive", "n"), ("ollama", "any")}
