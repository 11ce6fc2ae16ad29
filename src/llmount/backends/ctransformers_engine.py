"""The ctransformers engine: the only file that imports the package."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["CHUNK", "Engine", "require_installed"]

CHUNK = 32
"""Tokens evaluated at once: the engine cannot be interrupted within."""


def require_installed() -> None:
    """Raise `ImportError`, naming the extra, if ctransformers is not installed."""
    if find_spec("ctransformers") is None:
        raise ImportError("this backend needs ctransformers: pip install 'llmount[ctransformers]'")


class Engine:
    """The model in memory. For one thread at a time; ids and lengths must be valid."""

    def __init__(self, path: Path, context_length: int, threads: int) -> None:
        from ctransformers import LLM, Config  # type: ignore[import-untyped, unused-ignore]

        config = Config(context_length=context_length, threads=threads, batch_size=CHUNK)
        self._llm = LLM(str(path), "gguf", config=config, lib=_library())
        self.size: int = self._llm.vocab_size

    @property
    def logits(self) -> Any:
        """The logits after the last evaluation, writable; valid until the next one."""
        return self._llm.ctransformers_llm_logits_data()

    def begin(self, ids: Sequence[int]) -> int:
        """Take up a text; returns how many of its first tokens need not be evaluated."""
        return len(ids) - len(self._llm.prepare_inputs_for_generation(ids, reset=True))

    def evaluate(self, ids: Sequence[int]) -> None:
        """Append tokens to the text. Raises `RuntimeError` if the engine fails."""
        self._llm.eval(ids)

    def sample(self, top_k: int, top_p: float, temperature: float, seed: int) -> int:
        """Pick the next token. The dice are thrown anew from the seed: never pass it twice."""
        token: int = self._llm.sample(
            top_k=top_k,
            top_p=top_p,
            temperature=temperature,
            repetition_penalty=1.0,
            last_n_tokens=0,
            seed=seed,
        )
        return token


def _library() -> str | None:
    """The build for this processor, where that can be told without the engine's slow probe."""
    spec = find_spec("ctransformers")
    cpuinfo = Path("/proc/cpuinfo")
    if spec is None or spec.origin is None or platform.machine() not in ("x86_64", "AMD64"):
        return None
    builds = {entry.name for entry in (Path(spec.origin).parent / "lib").iterdir()}
    if "local" in builds or not cpuinfo.is_file():
        return None
    lines = cpuinfo.read_text().splitlines()
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
    needs = {"avx2": {"avx2", "fma", "f16c"}, "avx": {"avx", "f16c"}, "basic": set[str]()}
    return next((build for build, need in needs.items() if need <= flags and build in builds), None)
