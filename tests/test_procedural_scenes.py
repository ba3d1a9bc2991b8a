"""Made-up scenes to train on: exact where they say so, different by seed, with things in front of others, and without
what the test scenes show: pytest tests/test_procedural_scenes.py"""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from eval.synthetic import imperfect
from eval.synthetic import procedural_scenes as scenes
from eval.synthetic.box_tracing import FACES, PANORAMA
from eval.synthetic.boxes import Boxes
from eval.synthetic.imperfect import ImperfectScene
from eval.synthetic.procedural_scenes import ProceduralScene
from eval.synthetic.procedural_world import ProceduralWorld
from tests.made_up import stand_in_panoramas
from tests.scenes import BoxRoom
from train.data.pairs import ConditionedData
from worldgen.config import choice
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import directions
from worldgen.types import Camera

NAMES = ("meadow", "other")
PILLARS = (((0.2, -0.5, 1.0), (0.6, 0.4, 1.8)), ((-1.5, -1.4, 2.0), (-1.3, 1.3, 2.4)))
ROOM = Boxes((-2.0, -1.4, -1.0), (3.0, 1.3, 4.0), PILLARS)
EYE = torch.tensor([0.1, 0.2, -0.3])


@pytest.fixture(autouse=True)
def panoramas(monkeypatch):
    stand_in_panoramas(monkeypatch, *NAMES)


def made(number: int = 0, **settings) -> ProceduralScene:
    kind = ("room", "open")[number % 2]
    return ProceduralScene(kind, number, NAMES, **{"materials": ("planks",), "samples": 1} | settings)


def solid(low, high, turn=(1.0, 0.0)) -> list[float]:
    low, high = np.array(low), np.array(high)
    return [*(low + high) / 2, *(high - low) / 2, *turn]


def world_of_boxes(radius: float = 0.0, turn=(1.0, 0.0)) -> ProceduralWorld:
    """The room; its boxes, turned about their own middles, show the four texels of one picture."""
    solids = np.array([solid(ROOM.low, ROOM.high), *(solid(*box, turn) for box in ROOM.inside)], np.float32)
    faces = len(solids) * FACES
    pictures = np.zeros(faces, np.int64)
    pictures[:FACES] = PANORAMA
    levels = np.linspace(0, 1, 3 * 128 * 128, dtype=np.float32).reshape(-1, 3)
    ones = np.ones(faces, np.float32)
    starts = np.array([0, len(levels)])
    return ProceduralWorld(solids, radius, pictures, 0.01 * ones, ones, levels, starts, torch.rand(3, 32, 64))


def test_rays_end_where_the_boxes_are():
    rays = directions(64, 128)
    truth, found = ROOM.hit(EYE, rays)
    assert set(found.unique().tolist()) == {0, 1, 2}
    assert torch.allclose(world_of_boxes().distance(EYE, rays), truth, rtol=1e-4)


def test_a_turned_box_is_seen_as_a_straight_one_from_a_turned_place():
    turn = look_at(30.0)[:3, :3]
    box = ((0.9, -0.5, 1.5), (1.5, 0.4, 2.0))
    straight = Boxes((-50, -50, -50), (50, 50, 50), (box,))
    middle = (torch.tensor(box[0]) + torch.tensor(box[1])) / 2
    world = world_of_boxes()
    cos, sin = float(turn[0, 0]), float(turn[2, 0])
    solids = np.array([solid(straight.low, straight.high), solid(*box, (cos, sin))], np.float32)
    rays = directions(64, 128)
    found = replace(world, solids=solids).distance(EYE, rays)
    truth, hit = straight.hit((EYE - middle) @ turn.T + middle, rays @ turn.T)
    assert hit.any()
    assert ((found / truth - 1).abs()[hit > 0] < 1e-4).float().mean() > 0.99  # but for rays along its edges


def test_ground_and_dome_are_where_they_should_be():
    world = replace(world_of_boxes(radius=12.0), solids=world_of_boxes().solids[:1])
    rays = directions(64, 128)
    end = EYE + rays * world.distance(EYE, rays)[..., None]
    on_ground = (end[..., 1] - ROOM.high[1]).abs() < 1e-3
    assert ((end.norm(dim=-1) - 12.0).abs()[~on_ground] < 1e-3).all()
    assert (on_ground == (rays[..., 1] > 0) & (end.norm(dim=-1) < 12.0 - 1e-3)).float().mean() > 0.99
    assert (end[..., 1] < ROOM.high[1] + 1e-3).all()


def test_pictures_are_read_where_they_hang():
    """Bilinear on one level, from the middle of the face: its texels count up along rows."""
    world = world_of_boxes()
    ray = F.normalize(torch.tensor([0.4, -0.05, 1.0]) - EYE, dim=0)[None, None]
    rgb, distance = world.trace(EYE, ray, 1e-6)
    spot = EYE + ray[0, 0] * distance[0, 0]
    assert float(spot[2]) == pytest.approx(1.0, abs=1e-5)
    column, row = (float(spot[axis] - middle) / 0.01 + 63.5 for axis, middle in ((0, 0.4), (1, -0.05)))
    texel = (row * 128 + column) / (128 * 128)
    assert rgb[0, 0].tolist() == pytest.approx([texel] * 3, abs=1e-3)


def test_clearance_is_that_of_the_boxes():
    xyz = torch.rand(500, 3, generator=torch.Generator().manual_seed(1)) * 4 - 1.5
    assert torch.allclose(world_of_boxes().clearance(xyz), ROOM.clearance(xyz), atol=1e-5)


@pytest.mark.parametrize("number", [0, 1])
def test_a_scene_follows_from_its_seed_and_number_alone(number):
    first = made(number).view(3, 48)
    scenes._rendered.cache_clear()
    again = made(number).view(3, 48)
    assert torch.equal(first.rgb, again.rgb)
    assert torch.equal(first.measured, again.measured)
    for other in (made(number, seed=1), made(number + 2)):
        assert not torch.equal(other.view(3, 48).measured, first.measured)


@pytest.mark.parametrize("number", range(4))
def test_cameras_keep_clear_and_something_stands_before_something_else(number):
    scene = made(number)
    world = scenes.world_of(scene)
    places = torch.stack([camera.position for camera in scene.cameras()])
    assert world.clearance(places).min() >= 0.3
    inverse = 1 / scene.view(0, 48).measured
    steps = inverse.diff(dim=1).abs() / inverse[:, 1:]
    assert (steps > 0.3).sum() > 10  # a step in distance: an edge that hides something
    assert 0.3 < scene.view(0, 48).measured.min() < scene.view(0, 48).measured.max() <= 31


@pytest.mark.parametrize("error", [0.0, 1.0])
@pytest.mark.parametrize("warp", ["forward", "forward_backward"])
def test_most_draws_give_a_sample_and_most_samples_have_holes(warp, error):
    data = ConditionedData([ImperfectScene(made(number), error) for number in range(4)], warp=warp, size=48)
    samples = data(24)
    shares = torch.tensor([float(samples[n].known.float().mean()) for n in range(24)])
    assert samples.draws <= 36
    assert not samples.bad
    assert ((shares > 0.3) & (shares < 0.995)).float().mean() > 0.7


def test_forward_with_exact_distance_the_condition_agrees_with_the_target():
    samples = ConditionedData([made(n, samples=2) for n in range(2)], warp="forward", size=64)(8)
    for sample in map(samples.__getitem__, range(8)):
        error = (sample.condition - sample.rgb).abs().mean(0)[sample.known]
        assert error.median() < 0.06


def test_training_and_test_scenes_share_nothing():
    train, test = (choice("data", name).scenes for name in ("procedural", "procedural_test"))
    for names in ("panoramas", "materials"):
        assert not set(train[names]) & set(test[names])
    assert train.seed != test.seed
    assert (train.error, test.error) == (1.0, 0.0)


def test_what_cannot_be_had_is_said():
    with pytest.raises(UserError, match=r"data.scenes.panoramas: atlantis, wanted names that python -m eval"):
        ProceduralScene("open", 1, ("meadow", "atlantis")).cameras()
    for settings, message in (
        ({"materials": ["wool"]}, r"data.scenes.materials: wool, wanted some of planks"),
        ({"count": 0}, r"data.scenes.count: 0"),
        ({"error": -1.0}, r"data.scenes.error: -1.0, wanted 0 to 5"),
        ({"panoramas": []}, r"data.scenes.panoramas: none"),
    ):
        with pytest.raises(UserError, match=message):
            scenes.procedural_scenes(**{"count": 2, "panoramas": NAMES} | settings)


# --- imperfect distances


def test_without_strength_distances_are_exact():
    scene = made(0)
    assert torch.equal(ImperfectScene(scene, 0.0).view(2, 48).measured, scene.view(2, 48).measured)


def test_each_view_has_an_error_of_its_own_the_same_every_time():
    scene = made(0)
    views = ((0, 1), (0, 1), (0, 2), (1, 1))
    ratios = [ImperfectScene(scene, 1.0, seed).view(n, 48).measured / scene.view(n, 48).measured for seed, n in views]
    assert torch.equal(ratios[0], ratios[1])
    assert all((ratios[0].log() - other.log()).std() > 0.02 for other in ratios[2:])


def test_errors_are_as_large_as_estimates_have_and_the_picture_stays():
    errors = []
    for number in range(4):
        scene = made(number)
        for n in range(scene.views):
            exact, imperfect = scene.view(n, 64), ImperfectScene(scene, seed=number).view(n, 64)
            errors.append(float((imperfect.measured / exact.measured - 1).abs().mean()))
            assert torch.equal(imperfect.rgb, exact.rgb)
            assert bool((imperfect.measured > 0).all())
    assert 0.06 < np.mean(errors) < 0.14


def test_points_fly_between_an_edges_two_surfaces_and_planes_stay_planes(monkeypatch):
    monkeypatch.setattr(imperfect, "_SCALE", 0.0)
    monkeypatch.setattr(imperfect, "_SMOOTH", 0.0)
    scene = made(0)
    exact = BoxRoom().view(Camera.from_fov(128, 128, 60, look_at(0.0, 0.0, torch.tensor([0.0, 0.0, -0.5]))))
    monkeypatch.setattr(ProceduralScene, "view", lambda self, number, size: exact)
    made_imperfect = ImperfectScene(scene).view(0, 128).measured
    ratio = made_imperfect / exact.measured
    assert (ratio - 1).abs().median() < 1e-4
    changed = (ratio - 1).abs() > 0.05
    assert 0.005 < changed.float().mean() < 0.15
    nearest, farthest = -_highest(-exact.measured), _highest(exact.measured)
    flying = (ratio - 1).abs() > 0.2
    assert (nearest[flying] < made_imperfect[flying]).all()
    assert (made_imperfect[flying] < farthest[flying]).all()


def _highest(values: torch.Tensor) -> torch.Tensor:
    """[H, W], of all pixels that the blur reaches."""
    return F.max_pool2d(values[None], 9, 1, 4)[0]
