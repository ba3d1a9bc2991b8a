"""Completion of the analytic room from its cube: pytest tests/test_complete.py"""

import json
import math
from dataclasses import dataclass, replace

import pytest
import torch
from scenes import BoxRoom

from tests.benchmarks import completion, completion_scale
from worldgen.embedded.completer import DisocclusionCompleter
from worldgen.embedded.scene_layout import OriginVisibility, level_heights
from worldgen.errors import UserError
from worldgen.geometry.cameras import distance_to_zdepth, look_at, world_rays
from worldgen.geometry.points import render_points
from worldgen.recipe.complete import CompleteSettings, Completion, complete
from worldgen.recipe.cube import cube_cameras, cube_positions
from worldgen.recipe.hole_scores import HoleScores, reachable, thinned
from worldgen.recipe.lift import LiftSettings, lift
from worldgen.recipe.prompts import prompt_for
from worldgen.types import Camera, CompletedView, PointCloud, Prompt, Prompts, View, ViewDepth, Visit

PILLARS = (
    ((0.6, -1.5, 2.0), (1.1, 1.6, 2.5)),
    ((-1.9, -0.4, 1.2), (-1.4, 1.6, 1.8)),
    ((-0.5, 0.3, -3.0), (0.7, 1.6, -2.4)),
)
ROOM = BoxRoom(pillars=PILLARS)
SETTINGS = CompleteSettings(budget=4, size=96)
OUTDOORS = Prompts("a place", "the sky", "the ground", False, "test")
INDOORS = Prompts("a place", "the ceiling", "the floor", True, "test")
PAINT = torch.tensor([1.0, 0.0, 1.0])


class Painter:
    """Paints everything unknown in one colour, and remembers what it was asked."""

    def __init__(self):
        self.prompts, self.seeds, self.known = [], [], []

    def __call__(self, rgb, known, prompts, seeds):
        self.prompts += prompts
        self.seeds += seeds
        self.known += list(known == 1)
        return torch.where(known[:, None] == 1, rgb, PAINT[:, None, None])


def true_depth(rgb, camera):
    zdepth = distance_to_zdepth(camera, ROOM.view(camera).distance)
    return ViewDepth(zdepth, torch.ones_like(zdepth, dtype=torch.bool))


def no_depth(rgb, camera):
    raise AssertionError("the depth network was asked")


class InMemory:
    """Visits in a list."""

    def __init__(self):
        self.visits: list[Visit] = []

    def recall(self, number):
        return self.visits[number] if number < len(self.visits) else None

    def keep(self, number, visit):
        self.visits[number:] = [visit]


@dataclass
class Done:
    """What a completion made, and what it says of that."""

    completion: Completion
    visits: list[Visit]

    @property
    def views(self) -> list[CompletedView]:
        return [visit.completed for visit in self.visits if visit.completed is not None]

    @property
    def cloud(self) -> PointCloud:
        return PointCloud.joined([PointCloud.empty(), *(visit.points for visit in self.visits)])


def completed(cloud, prompts, painter, settings=SETTINGS, depth=no_depth, relief=0.0, seed=0, visits=None) -> Done:
    """By the embedded profile's completer."""
    completer = DisocclusionCompleter(painter, depth, settings.min_hole, relief)
    visits = visits or InMemory()
    return Done(complete(cloud, prompts, completer, no_depth, settings, visits, seed=seed), visits.visits)


@pytest.fixture(scope="module")
def cloud() -> PointCloud:
    panorama, distances = ROOM.panorama(256)
    return lift(panorama.rgb, distances, LiftSettings())


@pytest.fixture(scope="module")
def completed_and_painter(cloud):
    painter = Painter()
    return completed(cloud, OUTDOORS, painter, seed=7), painter


@pytest.fixture(scope="module")
def done(completed_and_painter):
    return completed_and_painter[0]


def unknown_share(cloud: PointCloud, size: int = 64) -> float:
    """Mean over views from the cube's corners that look back across it."""
    cameras = cube_cameras(cube_positions(2.0), size, 90)[7 : 14 * 14 : 17]
    return sum(1 - render_points(cloud, camera).known.float().mean().item() for camera in cameras) / len(cameras)


def test_holes_become_fewer(cloud, done):
    assert len(done.views) == 4
    assert unknown_share(cloud + done.cloud) < 0.6 * unknown_share(cloud)


def test_views_with_most_holes_come_first(done):
    shares = [one.inpainted.float().mean() for one in done.views]
    assert shares[0] == max(shares)
    assert all(share >= SETTINGS.min_hole / 2 for share in shares)


def test_known_content_is_kept_and_holes_are_painted(cloud, done):
    rendered = render_points(cloud, done.views[0].view.camera)
    first = done.views[0]
    assert not (first.inpainted & rendered.known).any()
    assert torch.equal(first.view.rgb[:, rendered.known], rendered.rgb[:, rendered.known])
    assert torch.equal(first.view.distance[rendered.known], rendered.distance[rendered.known])
    assert (first.view.rgb[:, first.inpainted] == PAINT[:, None]).all()
    assert first.view.known.all()
    assert (first.view.distance > 0).all()


def test_what_is_added_lies_behind_what_was_seen_and_near_the_room(cloud, done):
    assert not OriginVisibility(cloud).before(done.cloud.xyz).any()
    gap = ROOM.surface_gap(done.cloud.xyz)
    assert gap.median() < 0.15
    assert gap.quantile(0.9) < 1.0
    towards_origin = [render_points(c, Camera.from_fov(96, 96, 90, look_at(30))) for c in (cloud, cloud + done.cloud)]
    changed = (towards_origin[0].rgb - towards_origin[1].rgb).abs().amax(0) > 0.1
    assert changed.float().mean() < 0.01


def test_a_hole_in_the_floor_lies_on_the_floor(done):
    """Rays of inpainted pixels that truly hit the floor, found by the room itself."""
    for one in done.views:
        camera = one.view.camera
        truth = ROOM.view(camera)
        points = camera.position + (truth.distance[..., None] * world_rays(camera))
        floor = one.inpainted & (points[..., 1] > 1.599)
        if floor.sum() > 50:
            relative = (one.view.distance / truth.distance - 1).abs()[floor]
            assert relative.median() < 0.02
            return
    raise AssertionError("no view with a hole in the floor: the test's room is wrong")


def test_what_was_added_counts_for_all_views(cloud, done):
    cameras = [one.view.camera for one in done.views] + cube_cameras(cube_positions(2.0)[6:8], 96, 90)
    scores = HoleScores(cloud, cameras)
    before = scores.unknown()
    scores.add(done.cloud)
    assert (scores.unknown()[:4] < 0.4 * before[:4]).all()
    assert (scores.unknown() <= before).all()
    assert scores.unknown()[4:].mean() < 0.9 * before[4:].mean()


def test_a_camera_is_chosen_once(cloud):
    scores = HoleScores(cloud, cube_cameras(cube_positions(2.0)[6:7], 96, 90))
    chosen = []
    while best := scores.pick(1, 0.005, 0.6):
        chosen += best
    assert len(chosen) == len(set(chosen)) > 1
    assert (scores.unknown()[chosen][:-1] >= scores.unknown()[chosen][1:]).all()


def test_the_same_seed_gives_the_same_completion(cloud, done):
    again = completed(cloud, OUTDOORS, Painter(), seed=7)
    assert torch.equal(again.cloud.xyz, done.cloud.xyz)
    assert all(torch.equal(a.view.rgb, b.view.rgb) for a, b in zip(again.views, done.views, strict=True))


def test_the_inpainter_gets_seeds_prompts_and_no_foreground(completed_and_painter):
    done, painter = completed_and_painter
    assert painter.seeds == [7, 8, 9, 10]
    for one, prompt, known in zip(done.views, painter.prompts, painter.known, strict=True):
        assert prompt == prompt_for(one.view.camera, OUTDOORS)
        assert not (known & one.inpainted).any()
    first = done.views[0]
    hidden = ~painter.known[0] & ~first.inpainted
    xyz = first.view.camera.position + world_rays(first.view.camera) * first.view.distance[..., None]
    assert hidden.any()  # the thing that the hole lies behind
    off_the_walls = (xyz > torch.tensor(ROOM.low) + 0.2) & (xyz < torch.tensor(ROOM.high) - 0.05)
    assert off_the_walls.all(-1)[hidden].float().mean() > 0.8


def test_indoors_the_depth_network_adds_relief_within_bounds(cloud):
    """A network that sees everything 1.7 times too far, and ripples: only the ripples arrive."""
    ripples = 1 + 0.08 * torch.sin(torch.arange(96) * (2 * math.pi / 12))

    def network(rgb, camera):
        zdepth = 1.7 * distance_to_zdepth(camera, flat.view.distance) * ripples
        return ViewDepth(zdepth, torch.ones_like(zdepth, dtype=torch.bool))

    one_view = CompleteSettings(budget=1, size=96)
    flat = completed(cloud, INDOORS, Painter(), one_view).views[0]
    for bound in (0.04, 0.5):
        rich = completed(cloud, INDOORS, Painter(), one_view, network, bound).views[0]
        both = flat.inpainted & rich.inpainted
        ratio = (rich.view.distance / flat.view.distance)[both]
        assert both.sum() > 300
        assert (ratio - 1).abs().max() <= min(bound, 0.3) + 1e-4
        expected = ripples.expand(96, 96)[both]
        assert torch.corrcoef(torch.stack([ratio, expected]))[0, 1] > 0.6


def test_nothing_to_do():
    panorama, distances = BoxRoom(pillars=()).panorama(128)
    empty_room = lift(panorama.rgb, distances, LiftSettings())
    painter = Painter()
    done = completed(empty_room, OUTDOORS, painter)
    assert done.views == painter.prompts == []
    assert len(done.cloud) < 0.02 * len(empty_room)  # slits of a pixel or two in corners of the room
    assert ROOM.surface_gap(done.cloud.xyz).max() < 0.05


def test_holes_too_small_for_a_view_are_filled_from_their_background(cloud):
    """With no picture, and no paint, but with points in colours of the room."""
    painter = Painter()
    settings = CompleteSettings(budget=4, size=96, min_hole=0.25, max_hole=0.3)
    done = completed(cloud, OUTDOORS, painter, settings)
    assert done.views == painter.prompts == []
    assert unknown_share(cloud + done.cloud) < 0.9 * unknown_share(cloud)
    assert not (done.cloud.rgb == PAINT).all(-1).any()


def test_no_budget_no_views(cloud):
    assert completed(cloud, OUTDOORS, Painter(), CompleteSettings(budget=0, size=96)).visits == []


def test_what_stands_before_the_seen_is_pushed_behind_it(cloud):
    """Pixels that look past a pillar's edge, wrongly at half their distance: behind the pillar is the next place."""
    seen = OriginVisibility(cloud)
    truth = ROOM.view(Camera.from_fov(96, 96, 90, look_at(0, 0, torch.tensor([0.6, 0.0, -0.3]))))
    wrong = View(truth.camera, truth.rgb, truth.known, truth.distance * 0.5)
    everywhere = torch.ones_like(truth.known)
    xyz = truth.camera.position + world_rays(truth.camera) * wrong.distance[..., None]
    before = seen.before(xyz.flatten(0, 1)).view(96, 96)
    pushed, placed = seen.pushed_behind(wrong, everywhere)
    assert before.float().mean() > 0.9
    assert placed.float().mean() > 0.99
    assert torch.equal(pushed.distance[~before], wrong.distance[~before])
    assert (pushed.distance[before] > wrong.distance[before]).all()
    assert (pushed.distance <= truth.distance * 1.09).float().mean() > 0.95
    xyz = truth.camera.position + world_rays(truth.camera) * pushed.distance[..., None]
    assert not seen.before(xyz[placed]).any()


def test_cameras_keep_clear_of_walls():
    panorama, distances = BoxRoom((-0.8, -1.5, -4.0), (3.5, 1.6, 5.0), ()).panorama(128)
    narrow = lift(panorama.rgb, distances, LiftSettings())
    moved = reachable(narrow, cube_positions(2.0), 0.3)
    assert moved[:, 0].min() > -0.55
    assert moved[:, 0].max() == pytest.approx(1.0)
    aligned = torch.nn.functional.cosine_similarity(moved, cube_positions(2.0), dim=1)
    assert (aligned > 0.9999).all()


def test_thinned_clouds_cover_the_same(cloud):
    thin = thinned(cloud, 0.05)
    assert len(thin) < len(cloud) / 4
    assert render_points(thin, Camera.from_fov(24, 24, 90)).known.float().mean() > 0.95


def test_scores_are_what_a_real_render_sees(cloud):
    cameras = cube_cameras(cube_positions(2.0), 64, 90)[::9]
    (best,) = HoleScores(cloud, cameras).pick(1, 0.0, 1.0)
    unknown = torch.tensor([1 - render_points(cloud, camera).known.float().mean() for camera in cameras])
    assert unknown[best] > 0.8 * unknown.max()


def test_level_heights_are_floor_and_ceiling(cloud):
    assert level_heights(cloud) == pytest.approx([1.6, -1.5], abs=1e-3)


def test_prompts_follow_the_pitch():
    cameras = [Camera.from_fov(8, 8, 90, look_at(40, pitch_deg)) for pitch_deg in (45, 0, -45)]
    without_people = replace(OUTDOORS, negative="people")
    texts = ("the sky", "a place", "the ground")
    assert [prompt_for(camera, without_people) for camera in cameras] == [Prompt(text, "people") for text in texts]


@pytest.mark.parametrize(
    "wrong",
    [
        {"budget": -1},
        {"side_m": 0},
        {"size": 8},
        {"fov_deg": 200},
        {"min_hole": 0.7},
        {"clearance_m": -1},
        {"pinhole_px": 40},
        {"order": "random"},
        {"at_once": 0},
        {"budget": 1.5},
    ],
)
def test_wrong_settings_name_their_key(wrong):
    with pytest.raises(UserError, match=f"complete.{next(iter(wrong))}"):
        CompleteSettings(**wrong)


def test_thinning_nothing_leaves_nothing(cloud):
    assert len(thinned(cloud[:0], 0.01)) == 0


def test_the_benchmark_at_scale_runs(capsys):
    completion_scale.main(["--points", "20000", "--size", "48", "--views", "3", "--at-once", "2"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["points"] == 20000
    assert figures["views_with_holes"] == 3
    assert figures["peak_mb"] > 0


def test_the_benchmark_of_completion_runs():
    figures = completion.measured(height=64, size=48)
    assert 0 < figures["holes"] < 1
    assert figures["one view, smooth inpainter"]["wall_ms"] > 0
