"""The benchmark of scoring, at a size that takes seconds: it runs, and it notices scores that differ."""

import pytest

from eval.benchmarks import scoring
from eval.benchmarks.scoring import TOLERANCES, compare, write_pictures
from eval.metrics.brisque_niqe import Brisque, Niqe
from worldgen.errors import UserError
from worldgen.io.photo import load_photo
from worldgen.progress import untracked


@pytest.fixture(autouse=True)
def _clouds_alone(monkeypatch):
    for metric in (Brisque(), Niqe()):
        if why := metric.unavailable():
            pytest.skip(why)

    def none():
        raise UserError("no ground-truth panorama can be had")

    monkeypatch.setattr(scoring, "truth_panoramas", none)


def test_pictures_differ_and_have_their_size(tmp_path):
    paths = write_pictures(tmp_path, 9, 64, untracked)
    photos = [load_photo(path) for path in paths]
    assert len({photo.sha256 for photo in photos}) == 9
    assert {tuple(photo.rgb.shape) for photo in photos} == {(3, 64, 64)}


@pytest.mark.slow
def test_times_and_compares(tmp_path):
    paths = write_pictures(tmp_path, 4, 200, untracked)
    figures = compare(paths, 2, 1, tmp_path, untracked)
    assert (figures["count"], figures["reference_count"]) == (4, 2)
    assert figures["ratio"] == pytest.approx(figures["reference_s"] / figures["ours_s"], rel=0.3)
    assert all(figures[f"{name}_apart"] <= tolerance for name, tolerance in TOLERANCES.items())


def test_scores_that_differ_are_no_result(tmp_path, monkeypatch):
    class Untimed:
        threads = 1

        def __init__(self, folder):
            pass

        def __call__(self, paths):
            return 1.0, [{"brisque": 0.0, "niqe": 0.0} for _ in paths]

        def close(self):
            pass

    monkeypatch.setattr(scoring, "Reference", Untimed)
    paths = write_pictures(tmp_path, 2, 200, untracked)
    with pytest.raises(UserError, match="scores differ from pyiqa's"):
        compare(paths, 2, 1, tmp_path, untracked)
