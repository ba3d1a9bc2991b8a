"""Scenes with known truth: exact where they say so, inconsistent as planted, the same world from everywhere."""

from dataclasses import replace

import hydra
import pytest
import torch
import torch.nn.functional as F

from eval.synthetic import scenes
from eval.synthetic.rendering import render
from eval.synthetic.scene_cameras import exact_cameras, generated_cameras, held_out_cameras, planted_offsets
from eval.synthetic.scenes import PanoramaScene, RoomScene
from eval.synthetic.shell import PanoramaShell, shell_of
from eval.synthetic.textured_room import ROOM, TexturedRoom
from tests.outdoors import meadow
from tests.scenes import BoxRoom
from worldgen.config import choice
from worldgen.embedded.geometric_depth import GeometricDepth
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at, project, world_rays
from worldgen.geometry.equirect import directions
from worldgen.splat.distortion import warp
from worldgen.types import Camera

SMALL = RoomScene(size=48, samples=1, generated=14, held_out=4, cloud_rows=32)


def pillar_shell() -> PanoramaShell:
    """With a pillar so near and so steep that it hides something."""
    panorama, distances = BoxRoom(pillars=(((0.7, -1.5, 0.9), (0.9, 1.6, 1.1)),)).panorama(128)
    return shell_of(panorama.rgb, distances.distance, steepest=8, round_deg=2)


OWN = {RoomScene: {}, PanoramaScene: {"depth": GeometricDepth()}}  # what has no default


@pytest.fixture(scope="module", params=["room", "shell"])
def truth(request):
    return TexturedRoom() if request.param == "room" else pillar_shell()


@pytest.fixture
def meadow_scene(monkeypatch) -> PanoramaScene:
    monkeypatch.setattr(scenes, "truth_panoramas", lambda: iter([("meadow", meadow(256)[0].rgb)]))
    return PanoramaScene(
        depth=GeometricDepth(), size=48, samples=1, generated=3, held_out=2, cloud_rows=64, panorama="meadow"
    )


def camera_at(*place: float, yaw_deg: float = 0.0, pitch_deg: float = 0.0, size: int = 64) -> Camera:
    return Camera.from_fov(size, size, 90, look_at(yaw_deg, pitch_deg, torch.tensor(place)))


def test_without_strength_every_view_is_the_truth():
    scene = replace(SMALL, warp_px=0.0, recolour=0.0)(seed=3)
    assert {view.generated for view in scene.views} == {True, False}
    for view in [*scene.views, *scene.held_out]:
        assert torch.equal(view.rgb, render(TexturedRoom(), view.camera, SMALL.samples))


def test_exact_and_held_out_views_are_the_truth_at_any_strength():
    scene = replace(SMALL, warp_px=3.0, recolour=0.2)(seed=3)
    for view in [*(view for view in scene.views if not view.generated), *scene.held_out]:
        assert torch.equal(view.rgb, render(TexturedRoom(), view.camera, SMALL.samples))
    assert all(bool(view.known.all()) for view in scene.held_out)


@pytest.mark.parametrize("warp_px", [0.5, 4.0])
def test_planted_warps_are_as_strong_as_they_say(warp_px):
    scene = RoomScene(size=96, warp_px=warp_px)
    first = len(exact_cameras(scene))
    for number in (first, first + 7):
        length_px = (planted_offsets(scene, 1, number, 96) * 96 / 2).norm(dim=0)
        assert length_px.square().mean().sqrt() == pytest.approx(warp_px, rel=0.01)
        assert planted_offsets(scene, 1, number, 96).diff(dim=-1).abs().max() * 96 / 2 < warp_px / 5  # smooth
    assert not planted_offsets(scene, 1, first - 1, 8).any()


def test_a_warped_view_is_the_truth_read_where_the_planted_offsets_point():
    scene = replace(SMALL, samples=2, generated=2, warp_px=3.0, recolour=0.0)
    made = scene(seed=5)
    for number, view in enumerate(made.views):
        if not view.generated:
            continue
        fine = render(TexturedRoom(), view.camera.resized(8 * 48, 8 * 48), 1)
        there = F.avg_pool2d(warp(fine, planted_offsets(scene, 5, number, 8 * 48)), 8)
        straight = F.avg_pool2d(fine, 8)
        inner = (..., slice(8, -8), slice(8, -8))
        error, moved = ((view.rgb - other)[inner].abs().mean() for other in (there, straight))
        assert error < 0.2 * moved
        assert moved > 0.02


def test_recolouring_changes_each_view_in_its_own_way():
    scene = replace(SMALL, warp_px=0.0, recolour=0.1)(seed=5)
    generated = [view for view in scene.views if view.generated]
    shifts = torch.stack([(view.rgb - render(TexturedRoom(), view.camera, 1)).mean(dim=(1, 2)) for view in generated])
    assert shifts.std(dim=0).min() > 0.01
    assert shifts.abs().max() < 0.3


def test_the_seed_decides_what_is_planted_and_nothing_of_the_world():
    first, again, other = (SMALL(seed) for seed in (1, 1, 2))
    for one, same, another in zip(first.views, again.views, other.views, strict=True):
        assert torch.equal(one.rgb, same.rgb)
        assert torch.equal(one.rgb, another.rgb) == (not one.generated)
    for one, same, another in zip(first.held_out, again.held_out, other.held_out, strict=True):
        assert torch.equal(one.rgb, same.rgb)
        assert not torch.equal(one.camera.c2w, another.camera.c2w)
    assert torch.equal(first.cloud.xyz, again.cloud.xyz)


def test_cameras_stand_in_the_cube_and_see_everything():
    scene = RoomScene()
    for seed in range(3):
        generated, held_out = generated_cameras(scene, seed), held_out_cameras(scene, seed)
        trained = torch.stack([camera.position for camera in generated] + [torch.zeros(3)])
        tested = torch.stack([camera.position for camera in held_out])
        assert tested.abs().max() <= scene.side_m / 2
        assert ROOM.clearance(torch.cat([trained, tested])).min() > 0.1
        assert torch.cdist(tested, trained).min() > 1e-3
        far = directions(16, 32) * 1000
        seen = sum(_in_picture(camera, far).int() for camera in generated)
        assert seen.min() >= 2


def _in_picture(camera: Camera, xyz: torch.Tensor) -> torch.Tensor:
    pixels, zdepth = project(camera, xyz)
    return (zdepth > 0) & (pixels >= 0).all(-1) & (pixels <= camera.width).all(-1)


@pytest.mark.parametrize(
    ("ray", "distance"),
    [
        ((0, -1, 0), 1.5),  # the ceiling
        ((0, 1, 0), 1.59),  # the mosaic lies on the floor
        ((0, 0, 1), 5.0),
        ((1, 0, 0), 3.5),
        ((-1, 0, 0), 2.5),  # the bookcase before the wall
        ((1.65, 0, 2), (1.65**2 + 4) ** 0.5),  # the pillar's front
        ((0, 1, 3.4), 2.5 * (1 + 1 / 3.4**2) ** 0.5),  # a crate's front
        ((-1, 1, 0.9), 1.6 * (1 + 1 + 0.9**2) ** 0.5),  # the floor beside the mosaic
    ],
)
def test_rays_from_the_origin_end_at_the_rooms_surfaces(ray, distance):
    unit = F.normalize(torch.tensor(ray, dtype=torch.float32), dim=0)
    assert float(ROOM.hit(torch.zeros(3), unit)[0]) == pytest.approx(distance, rel=1e-5)


def test_rays_end_on_surfaces_and_pass_through_air(truth):
    camera = camera_at(-0.9, 0.3, 0.9, yaw_deg=70, pitch_deg=-10)
    rays = world_rays(camera)
    distance = truth.distance(camera.position, rays)
    assert truth.clearance(camera.position + rays * distance[..., None]).abs().max() < 0.01
    for part in torch.linspace(0.02, 0.98, 40):
        assert truth.clearance(camera.position + rays * (part * distance)[..., None]).min() > -1e-4


def test_what_two_views_see_in_common_has_one_colour(truth):
    first = camera_at(0.8, -0.3, -0.6, yaw_deg=20, pitch_deg=-10)
    second = camera_at(-0.67, 0.47, 0.57)  # in no surface's plane: rays that run along one pass it or not, by rounding
    rays = world_rays(first)
    colours, distance = truth.trace(first.position, rays, 1e-4)
    there = first.position + rays * distance[..., None] - second.position
    reach = there.norm(dim=-1)
    again, seen_m = truth.trace(second.position, there / reach[..., None], 1e-4)
    visible = (seen_m / reach - 1).abs() < 2e-3
    assert 0.5 < visible.float().mean() < 1  # most, and some is hidden
    assert (seen_m < reach)[~visible].float().mean() > 0.98  # all, unless one aims at a very edge
    error = (again - colours)[visible].abs()
    assert error.mean() < 0.004
    assert error.quantile(0.98) < 0.03


def test_edges_of_a_draped_panorama_become_slopes_in_front_of_which_nothing_moves():
    distance = meadow(64)[1].distance.clamp(max=30)
    surface = shell_of(torch.zeros(3, 64, 128), distance, steepest=3, round_deg=2)
    before = (distance.log()[:, 1:] - distance.log()[:, :-1]).abs() / (torch.pi / 64)
    assert before[24:40].max() > 10
    assert surface.steepest < 1.3 * 3
    close = F.max_pool2d(distance[None], 9, 1, 4)[0] < 4  # nothing far is near
    assert close.any()
    assert (surface.log_distance.exp() / distance - 1)[close].abs().max() < 0.05


def test_hidden_surfaces_have_points_too():
    origin = torch.zeros(3)
    cloud = SMALL(seed=0).cloud
    reach = cloud.xyz.norm(dim=-1)
    hidden = ROOM.hit(origin, cloud.xyz / reach[:, None])[0] < 0.97 * reach
    assert 50 < hidden.sum() < 0.5 * len(cloud)
    assert ROOM.clearance(cloud.xyz).abs().max() < 0.02
    assert not cloud.sky.any()


def test_a_panorama_scene_is_exact_in_front_and_knows_its_sky(meadow_scene):
    scene = meadow_scene(seed=0)
    assert scene.name == "panorama-2px"
    exact = [view for view in scene.views if not view.generated]
    for view in exact:
        assert torch.equal(view.weight > 0, world_rays(view.camera)[..., 2] >= 0)
    assert 5 < len(exact) < len(exact_cameras(replace(meadow_scene, exact_deg=360.0)))
    sky = scene.cloud.sky
    assert 0.2 < sky.float().mean() < 0.6
    assert scene.cloud.xyz[sky].norm(dim=-1).min() > 0.7 * meadow_scene.far_m
    assert scene.cloud.xyz[sky][:, 1].max() < 0  # above the horizon


def test_a_panorama_that_is_not_there_is_named(meadow_scene):
    with pytest.raises(UserError, match=r"^scene.panorama: venus, wanted one of meadow$"):
        replace(meadow_scene, panorama="venus")(seed=0)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (RoomScene, "size", 8),
        (RoomScene, "samples", 0),
        (RoomScene, "generated", -1),
        (RoomScene, "side_m", 0.0),
        (RoomScene, "warp_px", -1.0),
        (RoomScene, "warp_px", 100.0),
        (RoomScene, "nodes", 1),
        (RoomScene, "recolour", float("nan")),
        (RoomScene, "exact_deg", 0),
        (RoomScene, "held_out", -2),
        (RoomScene, "cloud_rows", 4),
        (PanoramaScene, "far_m", 1.0),
        (PanoramaScene, "steepest", 0.0),
        (PanoramaScene, "round_deg", 0.0),
        (PanoramaScene, "surface_rows", 8),
    ],
)
def test_wrong_settings_name_their_key(kind, key, value):
    with pytest.raises(UserError, match=rf"^scene\.{key}: .*, wanted "):
        kind(**{key: value}, **OWN[kind])


def test_a_cube_that_does_not_fit_in_is_told():
    with pytest.raises(UserError, match=r"^scene\.side_m: 3\.1, wanted a cube"):
        replace(SMALL, side_m=3.1)(seed=0)


@pytest.mark.parametrize("kind", [RoomScene, PanoramaScene])
def test_the_configs_state_the_defaults(kind):
    config = choice("scene", kind.kind)
    found = hydra.utils.instantiate(config)
    assert found == hydra.utils.instantiate(config)  # or a sweep makes a scene for every fit
    assert found == kind(**{name: getattr(found, name) for name in OWN[kind]})
    assert set(config) - {"_target_"} == set(kind.__dataclass_fields__) - {"kind"}
