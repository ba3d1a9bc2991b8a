"""Intervals: they hold the truth as often as they say, whatever the order, and narrow with more images."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from eval.tables.statistics import common_images, mean_interval, paired_difference

numbers = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30)


SAMPLES = 4000
DRAWS = {
    "normal": (lambda generator, size: generator.normal(5.0, 2.0, size), 5.0),
    "log-normal, s = 0.5": (lambda generator, size: generator.lognormal(0.0, 0.5, size), math.exp(0.125)),
    "exponential": (lambda generator, size: generator.exponential(1.0, size), 1.0),
}


def coverage(kind: str, count: int, samples: int = SAMPLES) -> float:
    """How often the interval of `count` values holds their distribution's mean."""
    draw, truth = DRAWS[kind]
    drawn = draw(np.random.default_rng(count), (samples, count))
    intervals = [mean_interval(values) for values in drawn]
    return sum(found.low <= truth <= found.high for found in intervals) / samples


@pytest.mark.parametrize("count", range(2, 11))
def test_intervals_hold_a_normals_mean_nineteen_times_in_twenty(count):
    """However few the images: percentiles of resampled means hold it half of the time at n=2, 90 % at n=10. The margin
    is five standard errors of the simulation."""
    assert coverage("normal", count) == pytest.approx(0.95, abs=0.018)


@pytest.mark.parametrize(("kind", "least"), [("log-normal, s = 0.5", 0.91), ("exponential", 0.87)])
def test_skewed_scores_are_held_a_little_less_often(kind, least):
    """The docstring of mean_interval has the figures; the margin is five standard errors."""
    assert all(least - 0.025 < coverage(kind, count) < 0.965 for count in (2, 3, 5, 10))


def test_width_is_students():
    values = np.random.default_rng(3).normal(size=7)
    found = mean_interval(values)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)
    assert found.mean == pytest.approx(values.mean(), abs=1e-12)
    assert found.count == 7


@given(numbers, st.randoms())
@settings(max_examples=25)
def test_order_does_not_matter(values, random):
    shuffled = random.sample(values, len(values))
    assert mean_interval(values) == mean_interval(shuffled)


@given(numbers)
@settings(max_examples=25)
def test_the_mean_lies_in_the_middle_of_its_bounds(values):
    found = mean_interval(values)
    slack = 1e-9 * max(map(abs, values)) + 1e-300
    assert found.low - slack <= found.mean <= found.high + slack
    assert min(values) - slack <= found.mean <= max(values) + slack


@given(st.floats(-1e6, 1e6), st.integers(2, 40))
def test_equal_values_have_no_width(value, count):
    found = mean_interval([value] * count)
    assert (found.mean, found.low, found.high) == (value, value, value)


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


if __name__ == "__main__":
    for name in DRAWS:
        print(f"{name:<20}", *(f"{coverage(name, count, 20_000):6.1%}" for count in (2, 3, 4, 5, 6, 8, 10, 30)))
