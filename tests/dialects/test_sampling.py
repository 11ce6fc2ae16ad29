"""Settings of a request, by the names that they have there."""

from __future__ import annotations

from llmount.dialects.sampling import sampling
from llmount.types import Sampling


def test_settings_are_read_by_their_names_and_others_left_alone() -> None:
    told = {"temperature": 0.5, "n_predict": 20, "min_p": 0.1, "max_tokens": 3}

    read = sampling(told, "temperature", max_tokens="n_predict")

    assert read == Sampling(temperature=0.5, max_tokens=20)


def test_null_is_as_good_as_untold() -> None:
    assert sampling({"seed": None, "stop": None}, "seed", "stop", "top_k") == Sampling()


def test_a_whole_number_becomes_an_integer() -> None:
    read = sampling({"seed": 7.0, "top_p": 1.0}, "seed", "top_p")

    assert (type(read.seed), type(read.top_p)) == (int, float)


def test_stop_is_one_text_or_several() -> None:
    assert sampling({"stop": "ab"}, "stop").stop == ("ab",)
    assert sampling({"stop": ["a", "b"]}, "stop").stop == ("a", "b")
