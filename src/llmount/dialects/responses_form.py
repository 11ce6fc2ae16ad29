"""What a response repeats of its request, in the order of the service."""

from __future__ import annotations

import secrets
import time

from ..types import JSON

__all__ = ["form"]


def form(body: JSON) -> dict[str, JSON]:
    """A response to a request with this body, in which nothing is written yet."""
    reasoning, text = body.get("reasoning") or {}, body.get("text") or {}
    return {
        "id": f"resp_{secrets.token_hex(24)}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": _integer(body.get("max_output_tokens")),
        "max_tool_calls": _integer(body.get("max_tool_calls")),
        "model": body["model"],
        "output": [],
        "parallel_tool_calls": body["parallel_tool_calls"],
        "previous_response_id": None,
        "prompt_cache_key": body.get("prompt_cache_key"),
        "reasoning": {
            "effort": reasoning.get("effort"),
            "summary": reasoning.get("summary") or reasoning.get("generate_summary"),
        },
        "safety_identifier": body.get("safety_identifier"),
        "service_tier": "default",
        # As it is, not as it was asked: nothing is stored, and nothing is dropped.
        "store": False,
        "temperature": body.get("temperature"),
        "text": {"format": _format(text.get("format")), "verbosity": text.get("verbosity")},
        "tool_choice": _tool_choice(body.get("tool_choice") or "auto"),
        "tools": [_tool(tool) for tool in body.get("tools") or ()],
        "top_logprobs": _integer(body.get("top_logprobs") or 0),
        "top_p": body.get("top_p"),
        "truncation": "disabled",
        "usage": None,
        "user": body.get("user"),
        "metadata": body.get("metadata") or {},
    }


def _integer(number: float | None) -> int | None:
    """JSON Schema takes 64.0 for an integer."""
    return None if number is None else int(number)


def _format(text_format: JSON) -> JSON:
    if text_format is None:
        return {"type": "text"}
    if text_format["type"] != "json_schema":
        return {"type": text_format["type"]}
    return {
        "type": "json_schema",
        "name": text_format["name"],
        "description": text_format.get("description"),
        "schema": text_format["schema"],
        "strict": bool(text_format.get("strict")),
    }


def _tool(tool: JSON) -> JSON:
    return {
        "type": "function",
        "name": tool["name"],
        "description": tool.get("description"),
        "parameters": tool.get("parameters"),
        "strict": bool(tool.get("strict")),
    }


def _tool_choice(choice: JSON) -> JSON:
    if isinstance(choice, str):
        return choice
    if choice["type"] == "function":
        return _named(choice)
    return {
        "type": "allowed_tools",
        "mode": choice["mode"],
        "tools": [_named(tool) for tool in choice["tools"]],
    }


def _named(choice: JSON) -> JSON:
    return {"type": "function", "name": choice["name"]}
