"""The program that learns and scores the rule for a photo's sky, on panoramas that are made up."""

import json
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image

from eval.experiments import photo_skies
from eval.experiments.photo_skies import Cells, Score, learned, score, summary
from eval.experiments.sky_crops import Photographer, seen
from eval.synthetic.sky_truth import KnownSky, known_skies
from worldgen.embedded.efficientnet_lite import EfficientNetLite0
from worldgen.embedded.linear_rule import LinearRule
from worldgen.embedded.photo_sky import CELL, FEATURES
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.types import Camera


def panorama(name: str, has_sky: bool = True) -> KnownSky:
    """Blue or grey above the horizon, rough below."""
    generator = torch.Generator().manual_seed(len(name))
    rgb = 0.5 * torch.rand(3, 128, 256, generator=generator)
    rgb[:, :64] = torch.tensor([0.4, 0.6, 0.9] if has_sky else [0.5, 0.5, 0.5])[:, None, None]
    sky = torch.zeros(512, 1024)
    sky[:256] = float(has_sky)
    return KnownSky(name, rgb, sky, torch.ones(512, 1024))


def test_a_rule_is_learned_and_a_panorama_can_be_left_out():
    generator = torch.Generator().manual_seed(0)

    def cells(feature: int, *names: str) -> Cells:
        features = torch.randn(400, 6, generator=generator)
        return Cells(features.half(), (features[:, feature] > 0).float(), frozenset(names))

    photos = [cells(2, "park"), cells(4, "city"), cells(4, "city", "dawn")]
    assert learned(photos[:1]).weights.abs().argmax() == 2
    assert learned(photos, without="city").weights.abs().argmax() == 2
    assert learned(photos, without="park").weights.abs().argmax() == 4
    field = torch.randn(6, 3, 5, generator=generator)
    rule = learned(photos)
    torch.testing.assert_close(rule.odds(field)[1, 2], rule.weights @ field[:, 1, 2] + rule.bias)


def test_a_score_counts_what_was_told_alone():
    sky, found = torch.tensor([1, 1, 0, 0, 1]).bool(), torch.tensor([1, 0, 1, 0, 0]).bool()
    told = torch.tensor([1, 1, 1, 1, 0]).bool()
    assert score(found, sky, told) == Score(0.5, 1 / 3, 0.5)


def test_rooms_and_crops_almost_without_sky_are_summed_up_apart():
    scores = {"park": [Score(0.5, 0.9, 0.5), Score(0.01, 0.0, 0.0), Score(0.5, 0.7, 0.5)], "lab": [Score(0, 0, 0.1)]}
    assert summary(scores) == {"iou_median": 0.8, "iou_mean": 0.8, "false_in_rooms": 0.1}


def test_level_cameras_see_sky_above_the_middle():
    crop = seen(panorama("park"), Camera.from_fov(64, 48, 70, look_at(30, 0)))
    assert (crop.sky[:23] == 1).all()
    assert (crop.sky[25:] == 0).all()
    assert crop.of == {"park"}


def test_made_up_photos_tell_what_they_show():
    panoramas = {name: panorama(name, name != "lab") for name in ("park", "city", "sky", "lab")}
    photographer = Photographer(panoramas, Random(0))
    taken = [photographer.take("park") for _ in range(40)]
    for crop in taken:
        assert all(side % CELL == 0 for side in crop.sky.shape)
        assert crop.rgb.shape == (3, *crop.sky.shape) == (3, *crop.told.shape)
        assert 0 <= crop.rgb.min() <= crop.rgb.max() <= 1
        assert "park" in crop.of
        assert "lab" not in crop.of
    assert any(len(crop.of) == 2 for crop in taken)
    assert all(photographer.take("lab").of == {"lab"} for _ in range(10))
    again = Photographer(panoramas, Random(0)).take("park")
    torch.testing.assert_close(again.rgb, taken[0].rgb)


def test_rooms_have_no_sky_and_what_is_neither_is_left_out(monkeypatch):
    bright = torch.full((3, 64, 128), 0.9)
    named = [(name, bright) for name in ("lab", "bridge", "forest")]
    monkeypatch.setattr("eval.synthetic.sky_truth.truth_panoramas", lambda: iter(named))
    room, woods = known_skies()
    assert (room.name, woods.name) == ("lab", "forest")
    assert room.told.all()
    assert not room.sky.any()
    assert not woods.told[:250].any()  # bright, but leaves may be, too


@pytest.fixture
def small(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(photo_skies.assets, "fetch", lambda name: None)
    monkeypatch.setattr(photo_skies, "load_network", lambda path: EfficientNetLite0().eval())
    monkeypatch.setattr(photo_skies, "_PHOTOS", 4)


def test_its_last_line_is_json_and_photos_are_scored_by_their_masks(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(photo_skies, "RULE", tmp_path / "rule.npz")
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "lake.jpg")
    mask = np.full((60, 80), 128, np.uint8)
    mask[:20], mask[40:] = 255, 0
    Image.fromarray(mask).save(tmp_path / "lake.sky.png")
    known = [panorama(name, name != "lab") for name in ("park", "city", "lab")]
    assert photo_skies.main(["--write", "--photos", str(tmp_path)], lambda: known) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["panoramas"] == 3
    assert 0 <= told["left_out"]["iou_mean"] <= 1
    assert told["photos"]["lake"]["share"] == 0.5
    with np.load(tmp_path / "rule.npz") as rule:
        assert rule["weights"].shape == (FEATURES,)


def test_what_is_missing_is_said(small, tmp_path):
    with pytest.raises(UserError, match="of one kind alone"):
        photo_skies.main([], lambda: [panorama("park")])
    Image.new("L", (8, 8)).save(tmp_path / "lake.sky.png")
    with pytest.raises(UserError, match="no photo of that name"):
        photo_skies.photo_scores(EfficientNetLite0(), learned_nothing(), tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no <name>\.sky\.png"):
        photo_skies.photo_scores(EfficientNetLite0(), learned_nothing(), tmp_path / "empty")


def learned_nothing() -> LinearRule:
    return LinearRule(torch.zeros(FEATURES), torch.tensor(0.0))
