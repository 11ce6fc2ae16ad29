"""The checks, an area a module. Importing this fills `llmount.check.registry.CHECKS`."""

from . import answers, fuzz, order, semantics, streams

__all__ = ["answers", "fuzz", "order", "semantics", "streams"]
