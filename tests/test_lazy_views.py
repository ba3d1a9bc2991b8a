"""A fit of views that are read as they are asked for: the same Gaussians, and few pictures in memory."""

import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from tests.small_training import SETTINGS, room_scene
from train.data.selected import Selected
from train.splat import view_levels
from train.splat.identity import scene_sha256
from train.splat.optimizer import SplatOptimizer
from train.splat.settings import SplatResult
from worldgen.types import Scene, SupervisionView


class OneByOne(Sequence[SupervisionView]):
    """Views that are made anew each time that one is asked for, as if from disk; `most` were alive at once, `read` in
    all."""

    def __init__(self, views: Sequence[SupervisionView]) -> None:
        self._views, self._alive, self.most, self.read = views, weakref.WeakSet(), 0, 0

    def __len__(self) -> int:
        return len(self._views)

    def __getitem__(self, index: int) -> SupervisionView:
        view = replace(self._views[index], rgb=self._views[index].rgb.clone())
        self._alive.add(view.rgb)
        self.read += 1
        self.most = max(self.most, len(self._alive))
        return view


def fitted(scene: Scene, out_dir: Path) -> SplatResult:
    settings = SETTINGS | {"steps": 12, "coarse_levels": 1, "logger": "none", "density": None}
    return SplatOptimizer(**settings)(replace(scene, held_out=()), out_dir / "splat")


def test_the_same_gaussians_and_few_pictures_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(view_levels, "_PREPARED_PIXELS", 0)
    scene = room_scene()
    views = OneByOne(scene.views)
    lazy = replace(scene, views=views)
    assert scene_sha256(lazy) == scene_sha256(scene)
    whole, by_one = fitted(scene, tmp_path / "whole"), fitted(lazy, tmp_path / "lazy")
    for name, tensor in whole.gaussians.tensors().items():
        assert torch.equal(tensor, by_one.gaussians.tensors()[name]), name
    assert {**whole.facts, "seconds": 0} == {**by_one.facts, "seconds": 0}
    assert len(views) > views.most
    assert views.most <= 3


def test_small_views_are_read_once_and_prepared():
    views = OneByOne(room_scene().views)
    facts = view_levels.survey(views)
    levels = view_levels.ViewLevels(views, 1, facts)
    assert all(levels.at(number, 0) is levels.at(number, 0) for number in range(len(views)))
    assert views.read == len(views)


def test_a_scene_that_says_what_it_is_made_of_is_known_by_that():
    scene = replace(room_scene(), source="photo.jpg 123")
    rounded = replace(scene, views=[replace(view, rgb=view.rgb + 1e-7) for view in scene.views])
    assert scene_sha256(rounded) == scene_sha256(scene)
    assert scene_sha256(replace(scene, source="")) != scene_sha256(scene)
    assert scene_sha256(replace(rounded, source="")) != scene_sha256(replace(scene, source=""))


def test_a_part_of_a_sequence_takes_only_what_is_asked_for():
    asked = []

    class Asked(Sequence):
        def __len__(self):
            return 10

        def __getitem__(self, index):
            asked.append(index)
            return 10 * index

    part = Selected(Asked(), [7, 2, 5])
    assert (len(part), asked) == (3, [])
    assert (part[1], part[-1], list(part[1:]), asked) == (20, 50, [20, 50], [2, 5, 2, 5])
    assert list(part) == [70, 20, 50]
