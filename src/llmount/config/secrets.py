"""Secrets, from the environment and from files; their text is in no message."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..keys import is_key

__all__ = ["KeyFileError", "SecretError", "read_keys", "read_secret"]


class SecretError(ValueError):
    """A secret that cannot be read; the text says why."""


class KeyFileError(SecretError):
    """Keys that cannot be read; the text says why, and has none of them."""


def read_secret(where: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """The secret that is in `where["env"]`, a variable, or in `where["file"]`.

    Raises `SecretError`.
    """
    if "env" in where:
        place, text = f"the environment variable {where['env']}", environment.get(where["env"])
        if text is None:
            raise SecretError(f"{place} is not set")
    else:
        place, text = f"the file {where['file']}", _text(Path(where["file"]), "the secret")
    text = text.strip()
    if not text:
        raise SecretError(f"{place} is empty")
    if not is_key(text):
        raise SecretError(f"{place} is not one word of visible ASCII")
    return text


def read_keys(
    file: Path | None, listed: str | None, variable: str = "LLMOUNT_KEYS"
) -> frozenset[str] | None:
    """The keys that are good, None if nothing says that there are any.

    file: one key a line; empty lines and those that begin with # do not count. listed:
    keys with space between them, from the `variable` of the environment.

    Raises `KeyFileError` for what cannot be read, and if there turns out to be none.
    """
    if file is None and listed is None:
        return None
    found = [(f"a word in {variable}", key) for key in (listed or "").split()]
    if file is not None:
        try:
            text = _text(file, "the keys")
        except SecretError as error:
            raise KeyFileError(str(error)) from None
        for number, line in enumerate(map(str.strip, text.splitlines()), 1):
            if line and not line.startswith("#"):
                found.append((f"line {number} of {file}", line))
    for place, key in found:
        if not is_key(key):
            raise KeyFileError(f"{place} is not one key of visible ASCII")
    if not found:
        places = [*([variable] if listed is not None else ()), *([str(file)] if file else ())]
        raise KeyFileError(f"there is no key in {' or in '.join(places)}")
    return frozenset(key for _, key in found)


def _text(file: Path, what: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SecretError(f"cannot read {what} in {file}: {reason}") from None
