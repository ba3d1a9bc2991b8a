"""Intervals: they hold the truth as often as they say, whatever the order, and narrow with more images."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.statistics import common_images, mean_interval, paired_difference

numbers = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30)


@pytest.mark.parametrize("count", [6, 30])
def test_intervals_hold_the_truth_nineteen_times_in_twenty(count):
    """Plain percentiles of six values would hold it 85 % of the time."""
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        found = mean_interval(generator.normal(5.0, 2.0, size=count), resamples=2000)
        held += found.low <= 5.0 <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_width_is_students():
    """Of many values the interval is the textbook's: 1.96 standard errors either way."""
    values = np.random.default_rng(3).normal(size=400)
    found = mean_interval(values)
    assert found.half_width == pytest.approx(1.96 * values.std(ddof=1) / 20, rel=0.05)
    assert found.mean == pytest.approx(values.mean(), abs=1e-12)
    assert found.count == 400


@given(numbers, st.randoms())
@settings(max_examples=25)
def test_order_does_not_matter(values, random):
    shuffled = random.sample(values, len(values))
    assert mean_interval(values, resamples=300) == mean_interval(shuffled, resamples=300)


@given(numbers)
@settings(max_examples=25)
def test_the_mean_and_the_bounds_lie_where_they_can(values):
    found = mean_interval(values, resamples=300)
    slack = 1e-9 * max(map(abs, values)) + 1e-300
    assert min(values) - slack <= found.low <= found.high <= max(values) + slack
    assert min(values) - slack <= found.mean <= max(values) + slack


@given(st.floats(-1e6, 1e6), st.integers(2, 40))
def test_equal_values_have_no_width(value, count):
    found = mean_interval([value] * count)
    assert (found.mean, found.low, found.high) == (value, value, value)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).exponential(size=9)
    assert mean_interval(values, seed=4) == mean_interval(values, seed=4)
    assert mean_interval(values, seed=4) != mean_interval(values, seed=5)


def test_one_value_has_a_mean_and_no_interval():
    found = mean_interval([3.5])
    assert (found.mean, found.count, found.known) == (3.5, 1, False)
    assert math.isnan(found.low)
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


def test_infinite_values_have_no_interval():
    found = mean_interval([30.0, math.inf])
    assert found.mean == math.inf
    assert not found.known


def test_many_images_are_drawn_in_parts():
    values = np.random.default_rng(0).normal(size=5000)
    assert mean_interval(values, resamples=1000).half_width == pytest.approx(1.96 / math.sqrt(5000), rel=0.1)


def test_common_images():
    assert common_images([{"b": 1, "a": 2}, {"c": 1, "b": 3, "a": 0}]) == ["a", "b"]
    assert common_images([]) == []


def test_pairing_sees_what_single_intervals_hide():
    """Images differ by far more than methods do: paired, the difference is certain, apart it drowns."""
    generator = np.random.default_rng(2)
    hard = {f"image{number}": float(value) for number, value in enumerate(generator.normal(30, 10, size=20))}
    better = {image: value - 1 + 0.2 * generator.normal() for image, value in hard.items()}
    apart = [mean_interval(values.values()) for values in (hard, better)]
    assert apart[0].low < apart[1].high
    paired = paired_difference(better, hard)
    assert paired.high < 0
    assert paired.mean == pytest.approx(-1, abs=0.15)
    turned = paired_difference(hard, better)
    assert turned.mean == pytest.approx(-paired.mean)
    same = paired_difference(hard, hard)
    assert (same.mean, same.low, same.high) == (0.0, 0.0, 0.0)


def test_differences_are_over_common_images_alone():
    found = paired_difference({"a": 1.0, "b": 5.0, "x": 100.0}, {"a": 0.0, "b": 2.0, "y": -100.0})
    assert (found.mean, found.count) == (2.0, 2)
    assert paired_difference({"a": 1.0}, {"b": 1.0}) is None
