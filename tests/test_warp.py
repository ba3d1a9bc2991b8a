"""Warps against analytic truth: pytest tests/test_warp.py"""

from dataclasses import replace

import numba
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import BoxRoom

from worldgen.geometry.cameras import look_at, project, unproject
from worldgen.geometry.fill import erode
from worldgen.geometry.warp import came_back, forward_warp, round_trip_warp, seen_from
from worldgen.types import Camera, View

ROOM = BoxRoom()
HERE = Camera.from_fov(256, 192, 80, look_at(25))
THERE = Camera.from_fov(256, 192, 80, look_at(32, 5, torch.tensor([0.9, -0.3, 0.4])))


def truly_seen(view: View, camera: Camera) -> torch.Tensor:
    """bool [H, W]: which pixels of `view` show something that `camera` sees too."""
    xyz = unproject(view.camera, view.distance)
    pixel, zdepth = project(camera, xyz)
    size = torch.tensor([camera.width, camera.height])
    inside = (zdepth > 0) & ((pixel >= 0) & (pixel <= size)).all(-1)
    offset = xyz - camera.position
    distance = offset.norm(dim=-1)
    return inside & (ROOM.trace(camera.position, offset / distance[..., None])[1] > 0.999 * distance)


def test_forward_warp_shows_what_is_there():
    warped, truth = forward_warp(ROOM.view(HERE), THERE), ROOM.view(THERE)
    known = warped.known
    assert ((warped.distance / truth.distance - 1).abs()[known] < 0.01).float().mean() > 0.98
    assert (warped.rgb - truth.rgb).abs().mean(0)[known].median() < 0.02


def test_forward_warp_knows_what_both_cameras_see():
    warped = forward_warp(ROOM.view(HERE), THERE)
    both = truly_seen(ROOM.view(THERE), HERE)
    assert 0.3 < both.float().mean() < 0.95  # the pillar hides, and the picture ends
    sure = erode(both, 2) | erode(~both, 2)
    assert (warped.known == both)[sure].float().mean() > 0.99


def test_round_trip_keeps_exactly_what_survives():
    view = ROOM.view(HERE)
    kept = round_trip_warp(view, THERE)
    assert torch.equal(kept.rgb[:, kept.known], view.rgb[:, kept.known])
    assert torch.equal(kept.distance[kept.known], view.distance[kept.known])
    assert (kept.rgb[:, ~kept.known] == 0).all()
    both = truly_seen(view, THERE)
    sure = erode(both, 2) | erode(~both, 2)
    assert (kept.known == both)[sure].float().mean() > 0.99


PLACES = [[0.4, -0.1, 0.2], [0.9, -0.3, 0.4], [0.0, 0.0, 1.5], [0.0, 0.0, -1.5], [-1.2, 0.5, 0.0]]


@pytest.mark.parametrize("place", PLACES)
def test_what_survives_is_what_both_see_close_by_and_far_off(place):
    view, camera = ROOM.view(HERE), Camera.from_fov(192, 256, 70, look_at(32, 5, torch.tensor(place)))
    both = truly_seen(view, camera)
    sure = erode(both, 2) | erode(~both, 2)
    for kept in (seen_from(view, camera), came_back(view, camera)):
        assert (kept == both)[sure].float().mean() > 0.99
    assert (seen_from(view, camera) == came_back(view, camera)).float().mean() > 0.98


@pytest.mark.parametrize("size", [64, 256])
def test_nothing_is_lost_of_a_long_corridor_whose_pixels_lie_far_apart(size):
    corridor = BoxRoom(low=(-1.0, -1.0, -1.0), high=(1.0, 1.0, 80.0), pillars=())
    view = corridor.view(Camera.from_fov(64, 64, 90))
    camera = Camera.from_fov(size, size, 90, look_at(3.0, 0.0, torch.tensor([0.3, 0.2, 0.4])))
    pixel, zdepth = project(camera, unproject(view.camera, view.distance))
    inside = (zdepth > 0.05) & ((pixel >= 0) & (pixel < size)).all(-1)
    assert (seen_from(view, camera) == inside).float().mean() > 0.997


def test_what_survives_does_not_depend_on_the_number_of_threads():
    before, view = numba.get_num_threads(), ROOM.view(HERE)
    try:
        found = []
        for threads in {1, before}:
            numba.set_num_threads(threads)
            found.append(seen_from(view, THERE))
    finally:
        numba.set_num_threads(before)
    assert all(torch.equal(one, found[0]) for one in found)


def test_what_is_not_measured_hides_nothing():
    view = ROOM.view(HERE)
    known, distance = torch.ones_like(view.known), view.distance.clone()
    known[:, 100:120], distance[:, 100:120] = False, 0.1  # rubbish before everything else
    distance[:10] = 0
    distance[10:12], known[10:12] = torch.nan, False
    kept = seen_from(View(HERE, view.rgb, known, distance), THERE)
    elsewhere = torch.ones_like(known)
    elsewhere[:13], elsewhere[:, 98:122] = False, False
    assert (kept == seen_from(view, THERE))[elsewhere].float().mean() > 0.99
    assert not kept[:12].any()
    assert not kept[:, 100:120].any()


def test_a_round_trip_to_the_same_place_loses_nothing():
    view = ROOM.view(HERE)
    assert round_trip_warp(view, HERE).known.float().mean() > 0.995


def test_unknown_pixels_stay_unknown():
    view = ROOM.view(HERE)
    known = torch.ones_like(view.known)
    known[:, :100] = False
    kept = round_trip_warp(View(HERE, view.rgb, known, view.distance), THERE)
    assert not kept.known[:, :100].any()
    assert kept.known.any()


@pytest.mark.parametrize("warp", [forward_warp, round_trip_warp])
def test_warps_need_distances(warp):
    view = ROOM.view(HERE)
    with pytest.raises(ValueError, match="distances"):
        warp(View(HERE, view.rgb, view.known), THERE)


@given(st.floats(-40, 40), st.floats(-30, 30), st.lists(st.floats(-0.8, 0.8), min_size=3, max_size=3))
@settings(max_examples=15)
def test_what_comes_back_is_a_part_of_what_was_known_in_its_own_colours(yaw_deg, pitch_deg, place):
    camera = Camera.from_fov(64, 48, 80, look_at(25))
    view = ROOM.view(camera)
    known = torch.rand(48, 64, generator=torch.Generator().manual_seed(0)) < 0.9
    kept = round_trip_warp(
        View(camera, view.rgb, known, view.distance),
        Camera.from_fov(64, 48, 80, look_at(25 + yaw_deg, pitch_deg, torch.tensor(place))),
    )
    assert not (kept.known & ~known).any()
    assert torch.equal(kept.rgb, view.rgb * kept.known)
    assert torch.equal(kept.distance, view.distance * kept.known)


@given(st.floats(-180, 180), st.lists(st.floats(-5, 5), min_size=3, max_size=3))
@settings(max_examples=15)
def test_a_warp_does_not_mind_where_the_world_lies(yaw_deg, place):
    motion = look_at(yaw_deg, 0.0, torch.tensor(place))
    view, there = ROOM.view(HERE.resized(64, 48)), THERE.resized(64, 48)
    moved_view = View(replace(view.camera, c2w=motion @ view.camera.c2w), view.rgb, view.known, view.distance)
    plain, moved = forward_warp(view, there), forward_warp(moved_view, replace(there, c2w=motion @ there.c2w))
    alike = (plain.known == moved.known) & ((plain.rgb - moved.rgb).abs().amax(0) < 1e-2)
    assert alike.float().mean() > 0.98  # rounding decides at the edges of things


@pytest.mark.parametrize(("drop_m", "pitch_deg"), [(0.9, 0.0), (1.1, 20.0), (0.9, -20.0)])
def test_nothing_is_lost_of_a_floor_that_the_other_camera_sees_at_a_grazing_angle(drop_m, pitch_deg):
    """Several rows of pixels lie in one of the other camera's, which only the nearest reaches."""
    hall = BoxRoom(low=(-30.0, -20.0, -30.0), high=(30.0, 1.4, 30.0), pillars=())
    view = hall.view(Camera.from_fov(128, 128, 80, look_at(0.0, -8.0)))
    camera = Camera.from_fov(128, 128, 80, look_at(8.0, pitch_deg, torch.tensor([0.0, drop_m, 0.0])))
    pixel, zdepth = project(camera, unproject(view.camera, view.distance))
    inside = (zdepth > 0.05) & ((pixel >= 0) & (pixel < 128)).all(-1)
    assert (inside & ~seen_from(view, camera)).sum() < 0.015 * inside.sum()
