"""When a circuit opens, and how it closes again, step by step."""

import pytest
from tests.pool_members import Time

from llmount.backends.circuit import Breaker, Circuit
from llmount.errors import (
    BackendError,
    BackendTimeout,
    BadRequest,
    ModelNotFound,
    Overloaded,
    RateLimited,
    Unsupported,
)

FAILURE = BackendTimeout()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def breaker(time: Time) -> Breaker:
    return Breaker(Circuit(failures=3, cooldown=10), time.clock)


def meet(breaker: Breaker, *errors: BaseException | None) -> None:
    """One request after the other, none of which begins to be answered."""
    for error in errors:
        breaker.ended(breaker.enter(), error)


@pytest.mark.parametrize("failure", [BackendError(), BackendTimeout(), Overloaded(), KeyError()])
def test_it_opens_after_so_many_failures_in_a_row(breaker: Breaker, failure: Exception) -> None:
    meet(breaker, failure, failure)
    assert breaker.admits
    meet(breaker, failure)
    assert not breaker.admits
    assert breaker.wait() == 10


@pytest.mark.parametrize("well", [None, BadRequest(), ModelNotFound("x"), RateLimited()])
def test_a_sign_of_life_in_between_starts_the_count_anew(
    breaker: Breaker, well: Exception | None
) -> None:
    meet(breaker, FAILURE, FAILURE, well, FAILURE, FAILURE)
    assert breaker.admits


@pytest.mark.parametrize("nothing", [Unsupported("tools"), GeneratorExit(), KeyboardInterrupt()])
def test_what_says_nothing_of_the_backend_leaves_the_count(
    breaker: Breaker, nothing: BaseException
) -> None:
    meet(breaker, FAILURE, nothing, FAILURE, nothing)
    assert breaker.admits
    meet(breaker, FAILURE)
    assert not breaker.admits


def test_after_the_cool_down_one_request_tries_it(breaker: Breaker, time: Time) -> None:
    meet(breaker, FAILURE, FAILURE, FAILURE)
    time.now += 9.9
    assert not breaker.admits
    time.now += 0.2
    assert breaker.admits
    assert breaker.enter() is True
    assert not breaker.admits


def test_the_others_follow_once_that_has_begun_to_be_answered(breaker: Breaker, time: Time) -> None:
    meet(breaker, FAILURE, FAILURE, FAILURE)
    time.now += 11
    breaker.begun(breaker.enter())
    assert breaker.admits
    assert breaker.enter() is False


def test_an_answer_that_began_and_broke_opens_it_again_at_once(
    breaker: Breaker, time: Time
) -> None:
    meet(breaker, FAILURE, FAILURE, FAILURE)
    time.now += 11
    breaker.begun(breaker.enter())
    breaker.ended(False, FAILURE)
    assert not breaker.admits
    assert breaker.wait() == 10


def test_a_try_that_fails_starts_the_cool_down_anew(breaker: Breaker, time: Time) -> None:
    meet(breaker, FAILURE, FAILURE, FAILURE)
    time.now += 11
    meet(breaker, FAILURE)
    assert breaker.wait() == 10


@pytest.mark.parametrize("well", [None, BadRequest(), RateLimited()])
def test_a_try_that_is_answered_closes_it(
    breaker: Breaker, time: Time, well: Exception | None
) -> None:
    meet(breaker, FAILURE, FAILURE, FAILURE)
    time.now += 11
    meet(breaker, well)
    assert breaker.admits
    meet(breaker, FAILURE, FAILURE)
    assert breaker.admits


def test_a_try_that_is_given_up_lets_the_next_one_try(breaker: Breaker, time: Time) -> None:
    meet(breaker, FAILURE, FAILURE, FAILURE)
    time.now += 11
    breaker.ended(breaker.enter(), GeneratorExit())
    assert breaker.admits
    assert breaker.enter() is True


def test_failures_of_requests_from_before_do_not_prolong_the_cool_down(
    breaker: Breaker, time: Time
) -> None:
    before = breaker.enter()
    meet(breaker, FAILURE, FAILURE, FAILURE)
    time.now += 5
    breaker.ended(before, FAILURE)
    assert breaker.wait() == 5


def test_an_answer_from_before_that_gets_whole_closes_it(breaker: Breaker) -> None:
    before = breaker.enter()
    meet(breaker, FAILURE, FAILURE, FAILURE)
    breaker.ended(before, None)
    assert breaker.admits


@pytest.mark.parametrize("kind", [RateLimited, Overloaded])
def test_a_time_to_wait_is_kept_by_all_who_come(
    breaker: Breaker, time: Time, kind: type[RateLimited | Overloaded]
) -> None:
    meet(breaker, kind(retry_after=7))
    assert not breaker.admits
    assert breaker.wait() == 7
    time.now += 3
    refusal = breaker.refusal()
    assert type(refusal) is kind
    assert refusal.retry_after == 4
    time.now += 4
    assert breaker.admits
    assert breaker.refusal() is None


def test_a_time_to_wait_outlasts_answers_from_before_and_shorter_times(breaker: Breaker) -> None:
    before = breaker.enter()
    meet(breaker, RateLimited(retry_after=60), RateLimited(retry_after=1))
    breaker.ended(before, None)
    assert breaker.wait() == 60


def test_no_time_to_wait_is_longer_than_an_hour(breaker: Breaker) -> None:
    meet(breaker, RateLimited(retry_after=1e9))
    assert breaker.wait() == 3600


@pytest.mark.parametrize("wrong", [(0, 1), (1, -1), (1, float("nan"))])
def test_what_makes_no_sense_is_refused(wrong: tuple[int, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Circuit(*wrong)
