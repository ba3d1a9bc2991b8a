"""Distances between whole sets of pictures: over the right pictures, each looked at once."""

from dataclasses import dataclass

import pytest
import torch

from eval.metrics.distribution import Fid, Kid
from eval.protocols.pictures import Picture
from eval.scoring.scores import WHOLE_SET, Score
from eval.scoring.set_metrics import score_sets
from worldgen.progress import untracked

SEEN: list[int] = []


@dataclass(frozen=True)
class Dice:
    """A picture of noise."""

    seed: int
    bright: float = 0.0

    def load(self) -> torch.Tensor:
        noise = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(self.seed))
        return (noise * 0.5 + self.bright).clamp(0, 1)

    def identity(self) -> str:
        return f"{self.seed} {self.bright}"


def means(pictures: torch.Tensor) -> torch.Tensor:
    SEEN.append(len(pictures))
    return pictures.float().mean(dim=(2, 3))


def pictures(method: str, bright: float, count: int = 20) -> list[Picture]:
    return [Picture(method, str(i), "v", Dice(i, bright), truth=Dice(100 + i)) for i in range(count)]


def test_farther_sets_have_larger_distances_and_features_are_found_once():
    SEEN.clear()
    scored = score_sets(
        pictures("near", 0.0) + pictures("far", 0.4), [Fid(features=means), Kid(features=means)], untracked
    ).scored
    values = {(row.method, row.metric): row.value for row in scored.rows}
    assert {(row.image, row.view) for row in scored.rows} == {(WHOLE_SET, WHOLE_SET)}
    assert values["far", "fid"] > 10 * values["near", "fid"]
    assert values["far", "kid"] > 10 * abs(values["near", "kid"])
    assert sum(SEEN) == 2 * 2 * 20  # two methods, ours and the truth


@dataclass(frozen=True)
class Black:
    """A render of nothing."""

    def load(self) -> torch.Tensor:
        return torch.zeros(3, 8, 8)

    def identity(self) -> str:
        return "black"


def test_every_methods_set_is_of_the_same_views():
    """A method whose hardest view is black, or not there, is compared without that image, and said to be incomplete."""
    views = [(image, view) for image in "1234567" for view in "ab"]

    def of(method: str, bright: float) -> list[Picture]:
        return [
            Picture(method, image, view, Dice(ord(image) + 7 * ord(view), bright), truth=Dice(100 + number))
            for number, (image, view) in enumerate(views)
        ]

    whole, black, short = of("whole", 0.1), of("black", 0.1), of("short", 0.1)
    black[3] = Picture("black", "2", "b", Black(), truth=Dice(103))
    del short[13]
    found = score_sets(whole + black + short, [Fid(features=means)], untracked)
    values = [row.value for row in found.scored.rows]
    assert values == pytest.approx([values[0]] * 3, rel=1e-9)  # the same pictures are as far from the truth
    records = {method: sets["fid"] for method, sets in found.sets.items()}
    assert {(record["images"], record["views"]) for record in records.values()} == {(5, 10)}
    assert len({record["digest"] for record in records.values()}) == 1
    assert {method: record["complete"] for method, record in records.items()} == {
        "whole": True,
        "black": False,
        "short": False,
    }
    assert found.scored.failed == {"black/2/b": "flat: every pixel is 0 0 0, wanted a picture"}
    shared = score_sets(whole + black + short, [Fid(features=means)], untracked, allow_missing=True)
    assert {sets["fid"]["views"] for sets in shared.sets.values()} == {12}
    unread = [Score("short", "1", "c", "niqe", float("nan"))]
    assert score_sets(whole + short, [Fid(features=means)], untracked, unread).sets["whole"]["fid"]["views"] == 10


def test_pictures_without_truth_do_not_count_and_one_is_too_few():
    alone = [Picture("a", "1", "v", Dice(1)), Picture("b", "1", "v", Dice(1), truth=Dice(2))]
    scored = score_sets(alone, [Fid(features=means)], untracked).scored
    assert scored.rows == []
    assert list(scored.failed) == [f"b/{WHOLE_SET}/fid"]


def test_a_network_that_is_missing_is_said():
    scored = score_sets(pictures("a", 0.0), [Fid(path="/nowhere.pth")], untracked).scored
    assert scored.rows == []
    assert "/nowhere.pth" in scored.unavailable["fid"]
