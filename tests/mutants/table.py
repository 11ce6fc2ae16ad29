"""All mutants."""

from __future__ import annotations

from collections import Counter

from . import behaviour, chat, gateways, ollama, openai_rest, responses
from .mutant import Mutant

__all__ = ["MUTANTS"]


def _all() -> dict[str, Mutant]:
    found = [
        mutant
        for module in (chat, openai_rest, responses, ollama, gateways, behaviour)
        for mutant in module.mutants()
    ]
    names = Counter(mutant.name for mutant in found)
    if doubled := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"two mutants have one name: {', '.join(doubled)}")
    return {mutant.name: mutant for mutant in found}


MUTANTS = _all()
"""By their names."""
