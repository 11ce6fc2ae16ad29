"""Prompts of chat completions: what the document's integers become."""

from __future__ import annotations

from llmount.contract import Contract
from llmount.dialects.openai_request import prompt
from llmount.dialects.openai_tools import offered


def test_a_whole_number_of_log_probabilities_becomes_an_integer() -> None:
    create = Contract.load("chat/openai").operations["createChatCompletion"]
    messages = [{"role": "user", "content": "Hi"}]
    asks = {"logprobs": True, "top_logprobs": 2.0, "max_tokens": 3.0}
    body = create.validate({"model": "m", "messages": messages, **asks})

    asked = prompt(body, offered(body))

    assert (type(asked.logprobs), type(asked.sampling.max_tokens)) == (int, int)
