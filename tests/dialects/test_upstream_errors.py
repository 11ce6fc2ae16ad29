"""What the errors of servers that speak OpenAI's API mean."""

from typing import Any

import pytest

from llmount.dialects.openai_client import error
from llmount.errors import (
    ApiError,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    BadRequest,
    ContextTooLong,
    ModelNotFound,
    Overloaded,
    RateLimited,
)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"error": {"message": "x", "type": "BadRequestError", "code": 400}}, BadRequest),
        (400, {"object": "error", "message": "x", "code": 400}, BadRequest),
        (400, {"error": {"message": "x", "code": "model_not_found"}}, ModelNotFound),
        (401, {"error": "Unauthorized"}, BackendError),
        (403, {"error": {"message": "x", "code": "request_forbidden"}}, BackendError),
        (404, {"error": {"message": "The model `m` does not exist"}}, ModelNotFound),
        (404, {"error": {"message": "Invalid URL (POST /v1/x)"}}, BackendError),
        (404, {"detail": "Not Found"}, BackendError),
        (404, "<html>model airplanes</html>", BackendError),
        (408, "", BackendTimeout),
        (413, "", BadRequest),
        (422, {"detail": [{"msg": "Field required"}]}, BadRequest),
        (429, {"error": {"message": "x", "code": "rate_limit_exceeded"}}, RateLimited),
        (429, {"error": {"message": "x", "code": "insufficient_quota"}}, BackendError),
        (429, [{"error": {"code": 429, "message": "x"}}], RateLimited),
        (500, "Internal Server Error", BackendError),
        (501, {"error": {"message": "no"}}, BadRequest),
        (503, {"error": {"message": "Loading model", "code": 503}}, BackendUnavailable),
        (503, {"error": {"message": "The backend is not available"}}, BackendUnavailable),
        (503, {"error": {"message": "x", "type": "server_error"}}, Overloaded),
        (504, None, BackendTimeout),
        (529, {}, Overloaded),
        (307, "", BackendError),
    ],
)
def test_errors_of_every_envelope_are_told_by_status_first(
    status: int, body: Any, expected: type[ApiError]
) -> None:
    assert type(error(status, body, "m")) is expected


@pytest.mark.parametrize(
    "body",
    [
        {
            "error": {
                "code": "context_length_exceeded",
                "message": "This model's maximum context length is 4096 tokens. However, your "
                "messages resulted in 5000 tokens.",
            }
        },
        {"error": {"message": "the request exceeds", "n_prompt_tokens": 5000, "n_ctx": 4096}},
        {"error": {"message": "request (5000 tokens) exceeds the context size (4096 tokens)"}},
        {
            "object": "error",
            "message": "The input (5000 tokens) is longer than the model's context length "
            "(4096 tokens).",
        },
    ],
)
def test_a_prompt_that_is_too_long_is_measured(body: Any) -> None:
    raised = error(400, body, "m")

    assert isinstance(raised, ContextTooLong)
    assert (raised.tokens, raised.limit) == (5000, 4096)


def test_the_field_at_fault_and_the_text_reach_the_client_of_a_bad_request() -> None:
    raised = error(400, {"error": {"message": "Bad value.", "param": "top_p"}}, "m")

    assert isinstance(raised, BadRequest)
    assert (raised.message, raised.param) == ("Bad value.", "top_p")


def test_the_text_of_a_failure_is_for_the_log() -> None:
    raised = error(500, {"error": {"message": "CUDA in /root"}}, "m")

    assert "CUDA" not in raised.message
    assert raised.__notes__ == ["the upstream said: CUDA in /root"]


def test_a_limit_that_is_not_compared_with_anything_is_no_measure() -> None:
    raised = error(400, {"error": {"message": "The maximum context length is 4096 tokens."}}, "m")

    assert type(raised) is BadRequest
