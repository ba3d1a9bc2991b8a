"""What may be compared: images of which all methods have the same views, and methods that lost none."""

import math

from hypothesis import given
from hypothesis import strategies as st

from eval.scoring.completeness import compare_views, pairable
from eval.scoring.scores import WHOLE_SET, Score


def score(method: str, image: str, view: str, value: float, metric: str = "niqe") -> Score:
    return Score(method, image, view, metric, value)


def test_an_images_views_are_averaged_first():
    """Two views of one image do not weigh more than one view of another."""
    found = [score("a", "one", "v0", 1.0), score("a", "one", "v1", 3.0), score("a", "two", "v0", 10.0)]
    compared = compare_views(found)["niqe"]
    assert compared.values == {"a": {"one": 2.0, "two": 10.0}}
    assert compared.common == ("one", "two")
    assert (compared.lost, compared.ranked) == ({}, {"a"})


def test_a_view_without_a_score_takes_its_image_with_it():
    found = [score("a", "one", "v0", 1.0), score("a", "one", "v1", math.nan), score("a", "two", "v0", 10.0)]
    compared = compare_views(found)["niqe"]
    assert compared.values == {"a": {"two": 10.0}}
    assert compared.lost == {"a": {"one": ["v1"]}}
    assert compared.ranked == frozenset()


def test_a_view_that_only_another_method_has_is_missing():
    found = [score("a", "one", view, 1.0) for view in "xyz"] + [score("b", "one", view, 9.0) for view in "xz"]
    found += [score(method, "two", "x", 5.0) for method in "ab"]
    compared = compare_views(found)["niqe"]
    assert compared.paired() == {"a": {"two": 5.0}, "b": {"two": 5.0}}
    assert compared.lost == {"b": {"one": ["y"]}}
    assert compared.ranked == {"a"}


def test_an_image_that_is_missing_altogether_counts_as_lost():
    found = [score("a", image, "x", 1.0) for image in ("one", "two")] + [score("b", "two", "x", 2.0)]
    compared = compare_views(found)["niqe"]
    assert compared.lost == {"b": {"one": ["x"]}}
    assert compared.paired() == {"a": {"two": 1.0}, "b": {"two": 2.0}}


def test_what_nobody_has_is_only_its_own_methods_loss():
    """A broken file's name says nothing of the others, who may call their views otherwise."""
    found = [score("a", "one", "x", 1.0), score("b", "one", "x", 2.0), score("b", "one", "", math.nan)]
    compared = compare_views(found)["niqe"]
    assert compared.ranked == {"a"}
    assert compared.paired() == {"a": {"one": 1.0}}


def test_a_method_without_any_score_takes_nothing_from_the_others():
    found = [score("a", "one", "x", 1.0), score("b", "one", "x", math.nan), score("b", "one", "y", math.nan)]
    compared = compare_views(found)["niqe"]
    assert compared.paired() == {"a": {"one": 1.0}}
    assert compared.ranked == {"a"}
    assert compared.lost == {"b": {"one": ["x", "y"]}}


def test_metrics_are_apart_and_whole_sets_left_out():
    found = [
        score("a", "one", "x", 1.0),
        score("a", "one", "x", math.nan, "psnr"),
        score("a", WHOLE_SET, "x", 3, "fid"),
    ]
    compared = compare_views(found)
    assert set(compared) == {"niqe", "psnr"}
    assert compared["niqe"].ranked == {"a"}
    assert compared["psnr"].ranked == frozenset()


def test_allow_missing_looks_at_the_views_that_all_have():
    found = [score("a", "one", view, value) for view, value in (("x", 60.0), ("y", 2.0), ("z", 4.0))]
    found += [score("b", "one", view, 1.0) for view in "yz"]
    compared = compare_views(found, allow_missing=True)["niqe"]
    assert compared.values == {"a": {"one": 3.0}, "b": {"one": 1.0}}
    assert compared.ranked == {"a", "b"}
    assert compared.lost == {"b": {"one": ["x"]}}
    others = [score("a", "one", "x", 60.0), score("b", "one", "frame", 1.0)]
    compared = compare_views(others, allow_missing=True)["niqe"]
    assert compared.values == {"a": {"one": 60.0}, "b": {"one": 1.0}}
    assert compared.unpaired == ("one",)


def test_whole_sets_are_of_the_same_views():
    found = [score("a", image, view, 0.0) for image in ("one", "two") for view in "xy"]
    found += [score("b", image, view, 0.0) for image in ("one", "two") for view in "xy"]
    found[-1] = score("b", "two", "y", math.nan)
    assert pairable(found) == {key: {("one", "x"), ("one", "y")} for key in "ab"}
    assert pairable(found, True) == {key: {("one", "x"), ("one", "y"), ("two", "x")} for key in "ab"}


@given(st.sets(st.tuples(st.sampled_from("ab"), st.sampled_from("123"), st.sampled_from("xyz")), min_size=1))
def test_compared_figures_never_rest_on_different_views(there):
    found = [score(*key, 0.0) for key in sorted(there)]
    views = {method: {(image, view) for other, image, view in there if other == method} for method in "ab"}
    compared = compare_views(found)["niqe"]
    for image in compared.common if len(compared.paired()) == 2 else ():
        assert len({frozenset(view for view in mine if view[0] == image) for mine in views.values()}) == 1
    if compared.ranked == {"a", "b"}:
        assert views["a"] == views["b"]
