"""Which direction is filled when (paper, "Panorama synthesis")."""

import pytest
import torch

from worldgen.geometry.cameras import look_at
from worldgen.geometry.equirect import from_perspective
from worldgen.recipe.schedules import ANCHORED, HORIZON, SEQUENTIAL
from worldgen.types import Camera


def directions_of(looks):
    return [(look.yaw_deg % 360, look.pitch_deg) for look in looks]


def test_anchored_fills_sky_and_ground_in_front_and_behind_while_the_anchor_stands():
    assert directions_of(ANCHORED.with_anchor) == [(0, 45), (180, 45), (0, -45), (180, -45)]


def test_anchored_goes_round_the_horizon_next_and_to_the_sides_last():
    assert ANCHORED.without_anchor[:8] == HORIZON
    assert sorted(directions_of(ANCHORED.without_anchor[8:])) == [(90, -45), (90, 45), (270, -45), (270, 45)]


def test_sequential_has_no_anchor_and_starts_with_the_horizon():
    assert SEQUENTIAL.with_anchor == ()
    assert SEQUENTIAL.without_anchor[:8] == HORIZON
    assert len(SEQUENTIAL.without_anchor) == 16


def test_both_look_in_the_same_directions():
    assert set(ANCHORED.with_anchor + ANCHORED.without_anchor) == set(SEQUENTIAL.without_anchor)


def test_horizon_goes_right_and_left_by_turns_and_meets_at_the_back():
    assert [view.yaw_deg for view in HORIZON] == [0, 45, -45, 90, -90, 135, -135, 180]
    assert {view.fov_deg for view in HORIZON} == {85}
    assert {view.pitch_deg for view in HORIZON} == {0}


@pytest.mark.parametrize("schedule", [ANCHORED, SEQUENTIAL])
def test_views_are_told_what_they_show(schedule):
    said = {-45.0: "ground", 0.0: "atmosphere", 45.0: "sky"}
    for view in schedule.with_anchor + schedule.without_anchor:
        assert view.prompt == said[view.pitch_deg]
        assert view.fov_deg == (85 if view.pitch_deg == 0 else 120)


@pytest.mark.parametrize("schedule", [ANCHORED, SEQUENTIAL])
def test_views_see_every_direction(schedule):
    seen = torch.zeros(32, 64, dtype=torch.bool)
    for view in schedule.with_anchor + schedule.without_anchor:
        camera = Camera.from_fov(8, 8, view.fov_deg, look_at(view.yaw_deg, view.pitch_deg))
        seen |= from_perspective(torch.zeros(1, 8, 8), camera, 32, 64)[1]
    assert bool(seen.all())
