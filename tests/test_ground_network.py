"""Ground told from what stands on it: the network's answers all round, what is learned, and the line that follows."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.experiments import learned_ground as experiment
from eval.experiments.learned_ground import Places, learn, places, share_right
from eval.synthetic.panoramas import read_rgb
from tests.outdoors import GROUND_M, meadow
from worldgen.embedded.efficientnet_lite import load_network
from worldgen.embedded.geometric_depth import GeometricDepth
from worldgen.embedded.ground import contact_latitude, reach_of_contact
from worldgen.embedded.ground_network import CELL_PX, FEATURES, RULE, GroundNetwork, features
from worldgen.embedded.linear_rule import read_rule
from worldgen.geometry.equirect import directions
from worldgen.models import assets
from worldgen.models.runtime import Runtime
from worldgen.types import Prompts

EXAMPLE = Path(__file__).parents[1] / "examples" / "venice.jpg"
HEIGHT = 512
PANORAMA, TRUTH, UPRIGHT = meadow(HEIGHT)


@pytest.fixture(scope="module")
def network():
    return load_network(assets.fetch("efficientnet"))


def test_every_place_of_the_example_is_told_and_its_buildings_do_not_count_as_ground(network):
    photo = torch.nn.functional.interpolate(read_rgb(EXAMPLE)[None], (240, 320), mode="area")[0]
    said = features(network, photo)
    assert said.shape == (FEATURES, 240 // CELL_PX, 320 // CELL_PX)
    odds = read_rule(RULE).odds(said)
    assert (odds[-6:] > 0).float().mean() > 0.9
    assert (odds[:10] < 0).float().mean() > 0.95


def test_a_turned_panorama_is_read_alike():
    panorama = PANORAMA.rgb.roll(100, 2)
    ground = GroundNetwork()
    assert ground._loaded is None
    ground.load(Runtime())
    straight, turned = ground(panorama), ground(panorama.roll(HEIGHT * 2 // 8, 2))
    assert straight.shape == (256, 512)
    assert bool(straight.isfinite().all())
    torch.testing.assert_close(turned, straight.roll(512 // 8, 1), atol=0.05, rtol=0.02)
    ground.release()
    assert ground._loaded is None


def test_by_the_true_parts_things_stand_where_they_do():
    down = directions(HEIGHT, 2 * HEIGHT)[..., 1]
    odds = torch.where((down > 0) & ~UPRIGHT, 9.0, -9.0)
    reach = reach_of_contact(contact_latitude(PANORAMA.rgb, TRUTH.sky, log_odds=odds), GROUND_M, 60.0)
    lon = (np.arange(512) + 0.5) / 512 * 2 * np.pi - np.pi
    facing = (lon > np.radians(-60)) & (lon < np.radians(18))
    assert abs(np.median(reach[facing] * np.cos(lon[facing]) / 8) - 1) < 0.05
    trunk = np.abs(lon - np.pi / 2) < np.radians(2)
    assert abs(np.median(reach[trunk]) / 4.6 - 1) < 0.15


def test_what_is_said_of_the_ground_counts_and_not_its_colour():
    """A floor and a wall of one colour: only the network can tell where they meet."""
    grey = torch.full((3, 256, 512), 0.5)
    odds = torch.where(directions(256, 512)[..., 1] > np.sin(np.radians(15)), 9.0, -9.0)
    nowhere = torch.zeros(256, 512, dtype=torch.bool)
    line_deg = np.degrees(contact_latitude(grey, nowhere, log_odds=odds))
    assert np.abs(line_deg - 15).max() < 1.5
    assert np.degrees(contact_latitude(grey, nowhere)).max() < 10


def test_the_depth_of_the_open_air_asks_it():
    class Told:
        def __call__(self, panorama):
            return torch.where(directions(256, 512)[..., 1] > np.sin(np.radians(20)), 9.0, -9.0)

    found = GeometricDepth(ground=Told())(PANORAMA, Prompts("", "", "", False, ""))
    level = found.distance * (1 - directions(HEIGHT, 2 * HEIGHT)[..., 1].square()).sqrt()
    wall = level[HEIGHT // 2 + 10][~found.sky[HEIGHT // 2 + 10]]
    assert abs(float(wall.median()) / (1.6 / np.tan(np.radians(20))) - 1) < 0.15


def separable(seed):
    generator = torch.Generator().manual_seed(seed)
    said = torch.randn(1500, FEATURES, generator=generator) * 3 + 5
    return Places(said, (said[:, 7] > said[:, 11]).float())


def test_what_tells_the_parts_apart_is_learned():
    rule = learn([separable(0), separable(1), separable(2)])
    assert share_right(rule, separable(3)) > 0.85
    assert rule.weights[7] > 0 > rule.weights[11]
    others = torch.cat([rule.weights[:7], rule.weights[12:]]).abs()
    assert min(rule.weights[7], -rule.weights[11]) > 2 * others.max()
    swapped = learn([Places(part.said, 1 - part.is_ground) for part in map(separable, range(3))])
    assert share_right(swapped, separable(3)) < 0.15


def test_a_panorama_of_ground_alone_is_judged_by_that():
    rule = learn([separable(0), separable(1)])
    part = separable(3)
    ground = Places(part.said[part.is_ground == 1], part.is_ground[part.is_ground == 1])
    assert share_right(rule, ground) > 0.7


def test_photos_of_a_panorama_show_both_parts(network):
    found = places(network, PANORAMA.rgb, 0)
    assert found.said.shape == (len(found.is_ground), FEATURES)
    assert 0.2 < found.is_ground.mean() < 0.98
    assert share_right(learn([found]), found) > 0.97


def test_panoramas_are_judged_by_what_others_taught(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(experiment, "truth_panoramas", lambda: iter([(name, PANORAMA.rgb) for name in "ab"]))
    monkeypatch.setattr(experiment, "_PHOTOS", 12)
    assert experiment.main(["--out", str(tmp_path / "new.npz")]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["experiment"] == "learned_ground"
    assert set(told["left_out"]) == {"a", "b"}
    assert told["worst"] > 0.8
    with np.load(tmp_path / "new.npz") as file:
        assert file["weights"].shape == (FEATURES,)
