"""Geometry in place of a network, outdoors: pytest tests/test_geometric_depth.py"""

import math

import numpy as np
import pytest
import torch

from tests.outdoors import GROUND_M, SKY_M, meadow
from worldgen.embedded.geometric_depth import GeometricDepth, GeometrySettings
from worldgen.embedded.ground import contact_latitude, reach_of_contact
from worldgen.embedded.outlines import follow_outlines
from worldgen.embedded.sky import sky_mask
from worldgen.errors import UserError
from worldgen.geometry.equirect import directions
from worldgen.types import DistanceMap, Panorama, Prompts

OUTDOORS = Prompts("", "", "", False, "")
HEIGHT = 512
PANORAMA, TRUTH, UPRIGHT = meadow(HEIGHT)
FOUND = GeometricDepth()(PANORAMA, OUTDOORS)
LON_DEG = (torch.arange(2 * HEIGHT) + 0.5) / (2 * HEIGHT) * 360 - 180
DOWN = directions(HEIGHT, 2 * HEIGHT)[..., 1]


def agreement(mask, truth):
    return float((mask & truth).sum() / (mask | truth).sum())


def test_the_sky_is_found_and_crisp():
    assert agreement(FOUND.sky, TRUTH.sky) > 0.98
    assert (FOUND.distance[FOUND.sky] == SKY_M).all()


def test_clouds_and_the_sun_are_sky_and_white_houses_are_not():
    rgb = PANORAMA.rgb.clone()
    for row, column, radius in ((60, 300, 30), (120, 650, 25), (170, 850, 12)):
        y, x = torch.meshgrid(torch.arange(HEIGHT) - row, torch.arange(2 * HEIGHT) - column, indexing="ij")
        rgb = torch.where(((y**2 + x**2) < radius**2) & TRUTH.sky, torch.tensor(0.97), rgb)
    assert agreement(sky_mask(rgb), TRUTH.sky) > 0.97


def test_no_sky_is_seen_below_the_horizon_nor_in_a_canopy():
    mirror = torch.cat([PANORAMA.rgb[:, : HEIGHT // 2], PANORAMA.rgb[:, : HEIGHT // 2].flip(1)], dim=1)
    assert not sky_mask(mirror)[HEIGHT // 2 :].any()
    leaves = torch.rand(3, 256, 512, generator=torch.Generator().manual_seed(0))
    assert not sky_mask(leaves).any()


def test_the_ground_is_a_plane_without_ripples():
    near = ~UPRIGHT & (DOWN > GROUND_M / 7)
    height = (FOUND.distance * DOWN)[near]
    assert (height - GROUND_M).abs().quantile(0.99) < 1e-4


def test_upright_things_stand_where_they_meet_the_ground():
    for first, last, tolerance in ((-30, 15, 0.12), (160, 180, 0.2)):
        there = UPRIGHT & (first < LON_DEG) & (last > LON_DEG)
        ratio = (FOUND.distance / TRUTH.distance)[there].log().abs()
        assert ratio.median() < tolerance
    trunk = UPRIGHT & (LON_DEG > 86) & (LON_DEG < 94)
    ratio = (FOUND.distance / TRUTH.distance)[trunk].log().abs()
    assert (ratio < 0.2).float().mean() > 0.8


def test_walls_are_upright():
    """In one direction all of a wall has the same level distance."""
    level = FOUND.distance * (1 - DOWN.square()).sqrt()
    for column in (500, 520, 540):
        wall = UPRIGHT[:, column] & (FOUND.distance[:, column] < 30)
        assert wall.sum() > 60
        assert level[wall, column].std() < 1e-3 * level[wall, column].mean()


def test_nothing_floats_between_a_thing_and_the_sky():
    """Every pixel is sky, or no farther than where upright things end."""
    solid = FOUND.distance[~FOUND.sky]
    assert solid.max() <= GeometrySettings().farthest_m
    assert FOUND.distance.isfinite().all()
    assert FOUND.distance.min() > 1


def test_turning_the_panorama_turns_the_distances():
    shift = 256
    turned = GeometricDepth()(Panorama(PANORAMA.rgb.roll(shift, 2), PANORAMA.photo), OUTDOORS)
    ratio = (turned.distance / FOUND.distance.roll(shift, 1)).log().abs()
    assert (ratio < 0.02).float().mean() > 0.98
    assert agreement(turned.sky, FOUND.sky.roll(shift, 1)) > 0.999


def test_an_empty_plain_has_no_wall_at_arms_length():
    down = directions(256, 512)[..., 1:2]
    noise = torch.randn(256, 512, 1, generator=torch.Generator().manual_seed(1))
    grass = torch.tensor([0.35, 0.5, 0.2]) * (1 + 0.2 * noise)
    sky = torch.tensor([0.5, 0.7, 0.95]) * (1 + 0.3 * down)
    rgb = torch.where(down > 0, grass, sky).clamp(0, 1).movedim(-1, 0)
    found = GeometricDepth()(Panorama(rgb, torch.zeros(256, 512, dtype=torch.bool)), OUTDOORS)
    ground = down[..., 0] > math.sin(math.radians(4))
    torch.testing.assert_close((found.distance * down[..., 0])[ground], torch.full((int(ground.sum()),), GROUND_M))


def test_a_network_adds_bounded_relief_to_upright_things_only():
    waves = torch.exp(2 * torch.sin(directions(HEIGHT, 2 * HEIGHT) @ torch.tensor([20.0, 30.0, 20.0])))

    def network(panorama, prompts, track):
        return DistanceMap(5 * waves, torch.zeros_like(panorama.photo))

    rough = GeometricDepth(GeometrySettings(relief=0.15), network)(PANORAMA, OUTDOORS)
    ratio = rough.distance / FOUND.distance
    assert ratio.max() <= 1.15 + 1e-4
    assert ratio.min() >= 1 / 1.15 - 1e-4
    assert ratio.max() > 1.1
    assert (ratio[~UPRIGHT & (DOWN > 0.3)] == 1).float().mean() > 0.999
    assert (rough.distance[FOUND.sky] == SKY_M).all()


def test_the_contact_line_of_a_straight_wall_is_smooth_and_right():
    sky = sky_mask(PANORAMA.rgb)
    reach = reach_of_contact(contact_latitude(PANORAMA.rgb, sky), GROUND_M, 60.0)
    lon = (np.arange(512) + 0.5) / 512 * 2 * math.pi - math.pi
    facing = (lon > math.radians(-45)) & (lon < math.radians(15))
    ratio = reach[facing] * np.cos(lon[facing]) / 8
    assert abs(np.median(ratio) - 1) < 0.1
    assert np.abs(np.diff(ratio)).max() < 0.05


def test_ends_of_things_move_to_the_outline_and_gentle_changes_stay():
    reach = np.full(64, 20.0)
    reach[30:40] = 5.0
    rgb = np.ones((3, 128, 256), dtype=np.float32)
    rgb[:, :, 122:159] = 0.2  # the picture's outline is two pixels off on the left, one on the right
    level = follow_outlines(reach, rgb, search_deg=8)
    assert set(np.unique(level)) == {5.0, 20.0}
    assert (level[:, 122:159] == 5).all()
    assert (level == 5).sum() == 128 * 37
    slope = np.linspace(10, 14, 64)
    slope = np.concatenate([slope, slope[::-1]])
    np.testing.assert_allclose(follow_outlines(slope, rgb)[0][4::8], slope[2::4], rtol=0.02)


@pytest.mark.parametrize(
    ("key", "value"),
    [("camera_height_m", 0.0), ("farthest_m", 1.0), ("farthest_m", 500.0), ("sky_m", -1.0), ("relief", 1.0)],
)
def test_bad_settings_name_their_key(key, value):
    with pytest.raises(UserError, match=f"depth.*{key}"):
        GeometrySettings(**{key: value})
