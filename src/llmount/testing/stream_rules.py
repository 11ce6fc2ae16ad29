"""Whether the items of a stream come in the order that their readers rely on.

The document says what each item is like; this says what no schema can: what comes first,
what comes once, what comes last, and what has to agree.
"""

from __future__ import annotations

from collections.abc import Mapping

from .chunk_rules import (
    chat_completion_problems,
    named_end_problems,
    roleless_chat_problems,
    text_completion_problems,
)
from .completion_rules import completion_problems
from .line_rules import line_problems
from .problem import Problem, StreamRule
from .response_rules import response_problems

__all__ = [
    "STREAM_RULES",
    "Problem",
    "StreamRule",
    "chat_completion_problems",
    "line_problems",
    "response_problems",
    "text_completion_problems",
]

STREAM_RULES: Mapping[str, StreamRule] = {
    "ai/geenii completion": completion_problems,
    "chat/azure createChatCompletion": chat_completion_problems,
    "chat/azure createCompletion": text_completion_problems,
    "chat/codeinferflow createChatCompletion": roleless_chat_problems,
    "chat/ktransformers createChatCompletion": named_end_problems,
    "chat/openai createChatCompletion": chat_completion_problems,
    "chat/openai createCompletion": text_completion_problems,
    "chat/responses createResponse": response_problems,
    "generate/ajstudioz chat": line_problems,
    "generate/ajstudioz generate": line_problems,
    "generate/ktransformers generate": line_problems,
    "generate/ollama chat": line_problems,
    "generate/ollama generate": line_problems,
}
"""By the name of the document and the id of the operation."""
