"""What an import of the package costs, loads and offers."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import llmount

SOURCES = Path(llmount.__file__).parent
OPTIONAL = (
    "PIL",
    "ctransformers",
    "django",
    "httpx",
    "hypothesis",
    "jinja2",
    "jsonschema",
    "pytest",
    "schemathesis",
    "starlette",
    "trio",
    "uvicorn",
    "xllamacpp",
)
SECONDS = 0.3

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(SOURCES)], "llmount.")
    if module.name != "llmount.__main__"
)


def fresh(code: str) -> str:
    """What the code prints in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_importing_the_package_takes_less_than_a_moment() -> None:
    code = (
        "import time; start = time.perf_counter(); import llmount; "
        "print(time.perf_counter() - start)"
    )
    # The first run may have to compile the files.
    assert min(float(fresh(code)) for _ in range(5)) < SECONDS


def test_importing_the_package_loads_nothing_optional() -> None:
    loaded = fresh("import llmount, sys; print(*sys.modules)").split()
    assert "llmount.app" in loaded
    assert sorted({name.partition(".")[0] for name in loaded} & {*OPTIONAL}) == []


def test_serving_the_apps_loads_nothing_optional() -> None:
    code = """
import sys
from llmount import *
backend = EchoBackend()
gateway({"/api": generate_app(backend), "/v1": chat_app(backend), "/ai": ai_app({"e": backend})})
print(*sys.modules)
"""
    loaded = {name.partition(".")[0] for name in fresh(code).split()}
    assert sorted(loaded & {*OPTIONAL}) == []


@pytest.mark.parametrize("name", ["llmount", *MODULES])
def test_what_a_module_offers_is_there_and_in_order(name: str) -> None:
    module = imported(name)
    if not hasattr(module, "__all__"):
        pytest.skip("it offers nothing")
    offered = list(module.__all__)
    assert len(set(offered)) == len(offered)
    assert offered == sorted(offered, key=_isort)
    for each in offered:
        assert hasattr(module, each)


def imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in OPTIONAL:
            raise
        pytest.skip(f"{error.name} is not installed")


def _isort(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, as the linter sorts them."""
    if name.isupper():
        return 0, name
    return (1 if name[0].isupper() else 2), name
