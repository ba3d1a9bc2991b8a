"""Points rendered with visibility, against the analytic room: pytest tests/test_points.py"""

import math
import platform
from dataclasses import replace
from itertools import pairwise

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenes import BoxRoom, room_cloud, specks
from worldgen.geometry import points
from worldgen.geometry.cameras import look_at, project, zdepth_to_distance
from worldgen.geometry.kernels import points as kernels
from worldgen.geometry.points import render_points, render_view, view_normals, view_points
from worldgen.types import Camera, PointCloud, View

ROOM = BoxRoom()
angles, pitches = st.floats(-180, 180, width=32), st.floats(-90, 90, width=32)
CORNERS = [torch.tensor([x, y, z]) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]


@pytest.fixture(params=["numba", pytest.param("torch", marks=pytest.mark.slow)])  # equal: the twins' own test
def renderer(request, monkeypatch) -> None:
    """Both ways to render, by numba as on the CPU and by torch as on a GPU."""
    if request.param == "torch":
        monkeypatch.setattr(points, "_render_by_numba", points._render_by_torch)


def plane(zdepth: float, half_m: float, spacing: float, colour: tuple[float, float, float]) -> PointCloud:
    """A square grid of points across the z axis."""
    ticks = torch.arange(-half_m, half_m + 1e-6, spacing)
    x, y = torch.meshgrid(ticks, ticks, indexing="xy")
    xyz = torch.stack([x.flatten(), y.flatten(), torch.full((x.numel(),), zdepth)], dim=1)
    normals = torch.tensor([0.0, 0.0, -1.0]).expand(len(xyz), 3)
    return PointCloud(xyz, torch.tensor(colour).expand(len(xyz), 3), normals, torch.full((len(xyz),), spacing))


@pytest.mark.parametrize("corner", CORNERS)
def test_the_room_from_a_corner_of_the_cube(corner):
    """Away from edges, where one pixel holds two things: distances within 1 %, colours as they are there."""
    for yaw_deg, pitch_deg in [(0, 0), (100, 20), (200, -30), (300, 10)]:
        camera = Camera.from_fov(256, 256, 90, look_at(yaw_deg, pitch_deg, corner))
        view, truth = render_points(room_cloud(512), camera), ROOM.view(camera)
        relative = ((view.distance / truth.distance - 1).abs())[view.known]
        assert view.known.float().mean() > 0.9  # the rest stands behind the pillar
        assert (relative < 0.01).float().mean() > 0.98
        assert (view.rgb - truth.rgb).abs().mean(0)[view.known].median() < 0.02
        assert (view.distance[~view.known] == 0).all()
        assert (view.rgb[:, ~view.known] == 0).all()


def test_what_the_cloud_was_lifted_from_has_no_holes():
    for yaw_deg in (0, 90, 180, 270):
        assert (
            render_points(room_cloud(512), Camera.from_fov(256, 256, 90, look_at(yaw_deg))).known.float().mean() > 0.999
        )


@pytest.mark.usefixtures("renderer")
def test_a_surface_seen_closer_than_it_was_sampled_has_no_pinholes():
    """0.4 m before a wall that was sampled from 3 m away."""
    camera = Camera.from_fov(256, 256, 60, look_at(-90, 0, torch.tensor([-2.6, 0.0, 0.0])))
    view, truth = render_points(room_cloud(512), camera), ROOM.view(camera)
    assert view.known.all()
    assert ((view.distance / truth.distance - 1).abs() < 0.01).all()
    assert (view.rgb - truth.rgb).abs().mean() < 0.02


@pytest.mark.usefixtures("renderer")
@pytest.mark.parametrize(("x", "y", "zdepth"), [(0.0, 0.0, 2.0), (-1.2, 0.7, 3.0), (1.9, -1.9, 2.0)])
def test_a_point_lands_within_a_pixel(x, y, zdepth):
    point = PointCloud(
        torch.tensor([[x, y, zdepth]]), torch.ones(1, 3), torch.tensor([[0, 0, -1.0]]), torch.tensor([0.01])
    )
    camera = Camera.from_fov(128, 128, 90)
    view = render_points(point, camera)
    rows, columns = torch.nonzero(view.known, as_tuple=True)
    centre = torch.stack([columns.float().mean() + 0.5, rows.float().mean() + 0.5])
    assert (centre - project(camera, point.xyz)[0][0]).norm() < 1
    length = math.sqrt(x * x + y * y + zdepth * zdepth)
    torch.testing.assert_close(view.distance[view.known], torch.full((len(rows),), length), rtol=0.01, atol=0)


@pytest.mark.usefixtures("renderer")
@pytest.mark.parametrize("sparser", [1, 2])
def test_no_background_through_a_foreground(sparser):
    """Not even where the foreground's points are further apart than they say."""
    spacing = 0.01
    near = plane(1.0, 0.5, spacing * sparser, (0.0, 1.0, 0.0))
    near = PointCloud(near.xyz, near.rgb, near.normals, torch.full_like(near.spacing, spacing))
    far = plane(3.0, 4.0, 0.01, (1.0, 0.0, 0.0))
    camera = Camera.from_fov(256, 256, 90)  # a spacing is 1.28 px of the near plane
    view = render_points(near + far, camera)
    inside = torch.zeros(256, 256, dtype=torch.bool)
    inside[68:188, 68:188] = True  # the near plane's 128 px, less a rim
    assert view.known[inside].all()
    assert (view.rgb[0][inside] == 0).all()
    assert (view.rgb[1][inside] > 0.999).all()
    outside = torch.zeros(256, 256, dtype=torch.bool)
    outside[:60], outside[196:] = True, True
    assert (view.rgb[0][outside] == 1).all()


@pytest.mark.usefixtures("renderer")
def test_a_slit_between_two_things_stays_open():
    """8 px wide: no gap of one surface. The background is seen through it."""
    left, far = plane(1.0, 0.5, 0.01, (0.0, 1.0, 0.0)), plane(3.0, 4.0, 0.01, (1.0, 0.0, 0.0))
    near = left[left.xyz[:, 0].abs() > 0.03]
    view = render_points(near + far, Camera.from_fov(256, 256, 90))
    assert (view.rgb[0, 100:156, 126:130] == 1).all()


@pytest.mark.usefixtures("renderer")
def test_surfaces_at_a_slant_do_not_hide_themselves():
    ground = plane(0.0, 20.0, 0.05, (0.0, 0.0, 1.0))
    ground = PointCloud(
        torch.stack([ground.xyz[:, 0], torch.full((len(ground),), 1.6), ground.xyz[:, 1]], dim=1),
        ground.rgb,
        torch.tensor([0.0, -1.0, 0.0]).expand(len(ground), 3),
        ground.spacing,
    )
    camera = Camera.from_fov(128, 128, 90)
    view = render_points(ground, camera)
    rows = torch.arange(80, 128)  # down to where the rows of points are still denser than those of pixels
    expected = 1.6 / ((rows + 0.5 - 64) / 64)
    zdepth = view.distance[80:, 64] * torch.cos(torch.atan((rows + 0.5 - 64) / 64)) / math.hypot(1, 0.5 / 64)
    assert view.known[80:].all()
    torch.testing.assert_close(zdepth, expected, rtol=2e-3, atol=0)


@pytest.mark.usefixtures("renderer")
def test_nothing_behind_the_camera_or_before_the_near_plane_is_drawn():
    behind = plane(-1.0, 1.0, 0.05, (1.0, 1.0, 1.0))
    close = plane(0.03, 0.02, 0.01, (1.0, 1.0, 1.0))
    assert not render_points(behind + close, Camera.from_fov(64, 64, 90)).known.any()


@pytest.mark.usefixtures("renderer")
def test_an_empty_cloud_leaves_everything_unknown():
    empty = plane(1.0, 1.0, 0.5, (1.0, 1.0, 1.0))[:0]
    camera = Camera.from_fov(40, 24, 90)
    assert not render_points(empty, camera).known.any()
    assert not render_points([empty, empty], camera).known.any()


@given(
    st.integers(1, 4000), st.integers(0, 99), angles, pitches, st.floats(20, 150), st.sampled_from([0.01, 0.03, 0.5])
)
@settings(max_examples=25)
def test_torch_does_what_the_kernels_do(count, seed, yaw_deg, pitch_deg, fov_deg, tolerance):
    """But where rounding decides whether a pixel's centre lies in a disc, or one disc behind another."""
    camera = Camera.from_fov(61, 47, fov_deg, look_at(yaw_deg, pitch_deg, torch.tensor([0.2, -0.1, 0.3])))
    arguments = [specks(count, seed)], camera, 0.05, tolerance, 0.1
    rgb, inverse = points._render_by_numba(*arguments)
    twin_rgb, twin_inverse = points._render_by_torch(*arguments)
    alike = ((rgb - twin_rgb).abs().amax(0) < 1e-3) & ((inverse - twin_inverse).abs() < 1e-3 * inverse.clamp(min=0.1))
    assert alike.float().mean() > 0.995


@given(st.lists(st.integers(0, 700), max_size=4), st.integers(0, 99), angles)
@settings(max_examples=25)
def test_clouds_in_pieces_look_like_the_joined_cloud(cuts, seed, yaw_deg):
    cloud, camera = specks(700, seed), Camera.from_fov(40, 30, 90, look_at(yaw_deg))
    ends = [0, *sorted(cuts), 700]
    whole = render_points(cloud, camera)
    pieces = render_points([cloud[a:b] for a, b in pairwise(ends)], camera)
    for name in ("rgb", "known", "distance"):
        assert torch.equal(getattr(pieces, name), getattr(whole, name)), name


def test_a_pole_of_discs_that_overlap_the_pictures_edge_is_the_same_either_way():
    """The largest discs there are, centred on each corner and far outside."""
    camera = Camera.from_fov(40, 30, 90)
    ticks = torch.tensor([-1.6, -1.0, 0.0, 1.0, 1.6])
    x, y = (grid.flatten() for grid in torch.meshgrid(ticks, 0.75 * ticks, indexing="xy"))
    xyz = torch.stack([x, y, torch.ones_like(x)], dim=1)
    cloud = PointCloud(xyz, xyz.abs() / 2, torch.tensor([[0.0, 0.0, -1.0]]).expand(25, 3), torch.full((25,), 5.0))
    rgb, inverse = points._render_by_numba([cloud], camera, 0.05, 0.03, 0.1)
    twin_rgb, twin_inverse = points._render_by_torch([cloud], camera, 0.05, 0.03, 0.1)
    torch.testing.assert_close(twin_rgb, rgb, atol=1e-5, rtol=0)
    torch.testing.assert_close(twin_inverse, inverse, atol=1e-6, rtol=0)


def test_the_same_picture_from_any_number_of_threads(set_threads):
    camera = Camera.from_fov(120, 90, 80, look_at(30, 10, CORNERS[3]))
    views = []
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        set_threads(threads)
        views.append([render_points(room_cloud(512), camera), render_view(ROOM.view(camera), camera.resized(100, 75))])
    for one, many in zip(*views, strict=True):
        assert torch.equal(one.rgb, many.rgb)
        assert torch.equal(one.distance, many.distance)


@pytest.mark.usefixtures("renderer")
def test_a_view_becomes_points_and_is_rendered_back():
    camera = Camera.from_fov(96, 64, 75, look_at(25, -15, torch.tensor([0.3, -0.2, 0.5])))
    view = ROOM.view(camera)
    everywhere = torch.ones_like(view.known)
    points = view_points(view, everywhere)
    assert ROOM.surface_gap(points.xyz).max() < 1e-4
    back = render_points(points, camera)
    assert back.known.all()
    torch.testing.assert_close(back.rgb, view.rgb, rtol=0, atol=0.15)
    assert ((back.distance / view.distance - 1).abs() < 0.01).float().mean() > 0.98


@given(angles, st.floats(-60, 60), st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3), st.floats(0.3, 1))
@settings(max_examples=20)
def test_a_view_is_rendered_as_its_points_are(yaw_deg, pitch_deg, place, share):
    """But where rounding decides whether a pixel's centre lies in a disc, or one disc behind another."""
    full = ROOM.view(Camera.from_fov(64, 48, 80, look_at(yaw_deg)))
    view = replace(full, known=torch.rand(48, 64, generator=torch.Generator().manual_seed(0)) < share)
    camera = Camera.from_fov(70, 52, 70, look_at(yaw_deg + 15, pitch_deg, torch.tensor(place)))
    seen, twin = render_view(view, camera), render_points(view_points(view, view.known), camera)
    alike = ((seen.rgb - twin.rgb).abs().amax(0) < 1e-3) & (seen.known == twin.known)
    alike &= (seen.distance - twin.distance).abs() <= 1e-3 * twin.distance
    assert alike.float().mean() > 0.997


@pytest.mark.parametrize("place", [[0.4, -0.1, 0.2], [0.0, 0.0, 1.5], [0.0, 0.0, -1.5]])
def test_a_view_is_rendered_as_torch_does_it(place):
    view = ROOM.view(Camera.from_fov(64, 48, 80, look_at(25)))
    camera = Camera.from_fov(90, 52, 70, look_at(40, 10, torch.tensor(place)))
    rgb, inverse = points._render_by_torch([view_points(view, view.known)], camera, 0.05, 0.03, 0.1)
    distance = zdepth_to_distance(camera, torch.where(inverse > 0, 1 / inverse, torch.zeros_like(inverse)))
    seen = render_view(view, camera)
    alike = ((seen.rgb - rgb).abs().amax(0) < 1e-3) & (seen.known == (inverse > 0))
    alike &= (seen.distance - distance).abs() <= 1e-3 * distance
    assert seen.known.float().mean() > 0.3
    assert alike.float().mean() > 0.997


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="looks for that processor's instructions")
def test_a_views_discs_are_computed_several_at_once():
    """What numba cannot vectorise takes ten times as long, and nothing else would tell."""
    compiled = numba.njit(error_model="numpy")(kernels._disc_row.py_func)
    lens, line = (np.float32(50),) * 4, np.ones((3, 66), np.float32)
    motion = (np.float32(0.5),) * 12
    compiled(tuple(line), 3, lens, motion, lens, np.float32(64), np.float32(0.05), np.empty((6, 64), np.float32))
    assert any("divps" in assembly for assembly in compiled.inspect_asm().values())


def test_normals_are_exact_on_planes_and_face_the_camera():
    camera = Camera.from_fov(128, 96, 80, look_at(200, -25, torch.tensor([0.5, 0.2, -0.5])))
    view = ROOM.view(camera)
    normals = view_normals(camera, view.distance, view.known)
    assert (normals.abs().amax(-1) > 0.999).float().mean() > 0.97
    rays = view_points(view, view.known).xyz - camera.position
    assert ((normals.flatten(0, 1) * rays).sum(-1) < 0).all()


def test_normals_do_not_look_beyond_the_mask():
    camera = Camera.from_fov(64, 64, 90)
    distance = ROOM.view(camera).distance
    left = torch.zeros(64, 64, dtype=torch.bool)
    left[:, :32] = True
    spoilt = torch.where(left, distance, 0.1 * distance)
    torch.testing.assert_close(
        view_normals(camera, spoilt, left)[left], view_normals(camera, distance, left)[left], rtol=0, atol=0
    )


def test_points_need_distances():
    camera = Camera.from_fov(8, 8, 90)
    known = torch.ones(8, 8, dtype=torch.bool)
    with pytest.raises(ValueError, match="no distances"):
        view_points(View(camera, torch.zeros(3, 8, 8), known), known)
