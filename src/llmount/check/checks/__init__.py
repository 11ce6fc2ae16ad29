"""The checks, an area a module. Importing this fills `llmount.check.registry.CHECKS`."""

from . import answers, fuzz, semantics, streams

__all__ = ["answers", "fuzz", "semantics", "streams"]
