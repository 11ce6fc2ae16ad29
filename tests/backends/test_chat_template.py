"""Conversations, rendered by a model's template."""

from __future__ import annotations

import json

import pytest
from tests.tiny_gguf import CHATML

from llmount.backends.chat_template import ChatTemplate
from llmount.backends.gguf import GgufError
from llmount.errors import BackendError, BadRequest
from llmount.types import Message, TextPart, Tool, ToolCall


def said(role: str, text: str) -> Message:
    return Message(role, (TextPart(text),))  # type: ignore[arg-type]


def test_a_template_writes_the_turns_and_opens_the_next() -> None:
    text = ChatTemplate(CHATML).render([said("system", "Be brief."), said("user", "Hi")])
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_model_without_a_template_gets_named_lines() -> None:
    text = ChatTemplate("").render([said("user", "Hi"), said("assistant", "Yes?")])
    assert text == "User: Hi\nAssistant: Yes?\nAssistant:"


def test_blocks_leave_no_blank_lines_behind() -> None:
    source = "{% for m in messages %}\n    {% if true %}\n{{ m.content }}\n    {% endif %}\n"
    source += "{% endfor %}\n"
    assert ChatTemplate(source).render([said("user", "a"), said("user", "b")]) == "a\nb\n"


def test_a_template_sees_tools_calls_and_results() -> None:
    source = (
        "{{ tools | tojson }}\n{% for m in messages %}"
        "{% for c in m.tool_calls or [] %}{{ c.function.arguments.city }}{% endfor %}"
        "{{ m.tool_call_id }}|{% endfor %}"
    )
    call = ToolCall("call_1", "weather", '{"city": "Zürich"}')
    text = ChatTemplate(source).render(
        [Message("assistant", tool_calls=(call,)), Message("tool", tool_call_id="call_1")],
        [Tool("weather", "Tells <it>", {"type": "object"})],
    )
    listed, turns = text.splitlines()
    assert json.loads(listed) == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Tells <it>",
                "parameters": {"type": "object"},
            },
        }
    ]
    assert "Tells <it>" in listed
    assert turns == "Zürich|call_1|"


def test_arguments_that_are_not_json_stay_as_the_model_wrote_them() -> None:
    source = "{{ messages[0].tool_calls[0].function.arguments }}"
    message = Message("assistant", tool_calls=(ToolCall("1", "f", "{oops"),))
    assert ChatTemplate(source).render([message]) == "{oops"


def test_tools_are_none_when_there_are_none() -> None:
    assert ChatTemplate("{{ tools is none }}").render([]) == "True"


def test_everything_that_a_client_wrote_is_shielded() -> None:
    source = "{{ messages | tojson }}{{ tools | tojson }}{{ bos_token }}"
    call = ToolCall("<id", "<call", '{"<key": ["<value"]}')
    message = Message(
        "assistant", (TextPart("<text"),), "<thought", (call,), tool_call_id="<to", name="<name"
    )
    tool = Tool("<tool", "<what", {"<property": {"enum": ["<one"]}})
    text = ChatTemplate(source, bos="<s>").render(
        [message], [tool], shield=lambda text: text.replace("<", "(")
    )
    assert text.replace("<s>", "").count("<") == 0
    assert text.count("(") == 12
    assert text.endswith("<s>")


def test_a_template_may_refuse_a_conversation() -> None:
    template = ChatTemplate("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(BadRequest, match="roles must alternate"):
        template.render([])


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages[0].content.nothing.at_all }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ 1 / 0 }}",
        "{{ range(10 ** 9) | list }}",
    ],
)
def test_a_template_that_fails_or_breaks_out_is_an_error_without_details(source: str) -> None:
    with pytest.raises(BackendError) as caught:
        ChatTemplate(source).render([said("user", "x")])
    assert caught.value.message == "the model's chat template cannot render this"
    assert caught.value.__cause__ is not None


def test_a_template_with_broken_syntax_is_refused_at_once() -> None:
    with pytest.raises(GgufError, match="chat template"):
        ChatTemplate("{% if %}")


def test_loop_controls_dates_and_generation_marks_are_understood() -> None:
    source = (
        "{% for m in messages %}{% if loop.index == 2 %}{% break %}{% endif %}"
        "{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
        "{{ strftime_now('%Y') | length }}"
    )
    assert ChatTemplate(source).render([said("user", "a"), said("user", "b")]) == "a4"
