"""Where files are kept that can be had again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["cache_dir"]


def cache_dir() -> Path:
    """Where fetched files are kept: `LLMOUNT_CACHE`, or the platform's place for caches."""
    if chosen := os.environ.get("LLMOUNT_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "llmount" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "llmount"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmount"
