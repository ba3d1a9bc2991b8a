"""A room behind a network's wavy distances: pytest tests/test_room_depth.py"""

import math

import numpy as np
import pytest
import torch

from tests.scenes import BoxRoom
from worldgen.embedded.room import beyond, fit_lines, fit_room, follow_colours, without_specks
from worldgen.embedded.room_depth import RoomDepth, RoomSettings
from worldgen.errors import UserError
from worldgen.geometry.equirect import directions
from worldgen.types import DistanceMap, Panorama, Prompts

INDOORS = Prompts("", "", "", True, "")
HEIGHT = 256


def furnished(room):
    """The room's panorama with a brown floor, white walls, a grey ceiling and a red pillar; its true distances."""
    rays = directions(HEIGHT, 2 * HEIGHT)
    _, distance = room.trace(torch.zeros(3), rays)
    xyz = rays * distance[..., None]
    shade = 0.02 * torch.randn(HEIGHT, 2 * HEIGHT, 1, generator=torch.Generator().manual_seed(0))
    floor, ceiling = (xyz[..., 1:2] > room.high[1] - 1e-3), (xyz[..., 1:2] < room.low[1] + 1e-3)
    rgb = torch.where(floor, torch.tensor([0.45, 0.3, 0.2]), torch.tensor([0.75, 0.74, 0.7]))
    rgb = torch.where(ceiling, torch.tensor([0.55, 0.55, 0.56]), rgb) + shade
    return Panorama(rgb.movedim(-1, 0).contiguous(), torch.zeros(HEIGHT, 2 * HEIGHT, dtype=torch.bool)), distance


def wavy(distance, size=0.12):
    waves = torch.sin(directions(HEIGHT, 2 * HEIGHT) @ torch.tensor([9.0, 7.0, -8.0]))
    return distance * torch.exp(size * waves)


def network(distance):
    return lambda panorama, prompts, track: DistanceMap(distance, torch.zeros_like(distance, dtype=torch.bool))


def error(found, truth):
    return (found / truth).log().abs()


EMPTY = BoxRoom(pillars=())
PANORAMA, TRUTH = furnished(EMPTY)


def test_the_fitted_room_has_the_rooms_measures():
    room = fit_room(wavy(TRUTH).numpy(), 0.2)
    assert room.floor_m == pytest.approx(1.6, rel=0.08)
    assert room.ceiling_m == pytest.approx(1.5, rel=0.08)
    assert error(torch.from_numpy(room.distance(HEIGHT)), TRUTH).median() < 0.05


def test_the_true_room_needs_no_fitting():
    room = fit_room(TRUTH.numpy(), 0.2)
    assert error(torch.from_numpy(room.distance(HEIGHT)), TRUTH).quantile(0.95) < 0.05


def test_waves_become_straight_walls():
    before = error(wavy(TRUTH), TRUTH)
    found = RoomDepth(network(wavy(TRUTH)))(PANORAMA, INDOORS)
    assert error(found.distance, TRUTH).mean() < 0.5 * before.mean()
    floor = directions(HEIGHT, 2 * HEIGHT)[..., 1] > math.sin(math.radians(50))
    fall = (found.distance * directions(HEIGHT, 2 * HEIGHT)[..., 1])[floor]
    assert fall.std() < 0.01 * fall.mean()
    assert not found.sky.any()


def test_a_hall_that_the_network_takes_for_a_chamber_gets_its_size_back():
    """Small networks know no halls: beyond a few metres their distances stop growing. The floor's end tells."""
    hall = BoxRoom(low=(-9.0, -4.0, -10.0), high=(8.0, 1.6, 9.0), pillars=())
    panorama, truth = furnished(hall)
    answer = 5 * torch.tanh(truth / 5)
    found = RoomDepth(network(answer))(panorama, INDOORS).distance
    level = directions(HEIGHT, 2 * HEIGHT)[..., 1].abs() < 0.1
    assert error(answer, truth)[level].median() > 0.5
    assert error(found, truth)[level].median() < 0.2


def test_what_stands_out_of_the_room_stays():
    room = BoxRoom(pillars=(((0.9, -1.5, 1.2), (1.5, 1.6, 1.8)),))
    panorama, truth = furnished(room)
    found = RoomDepth(network(wavy(truth, 0.05)))(panorama, INDOORS).distance
    pillar = (truth / TRUTH) < 0.5
    assert pillar.sum() > 500
    assert error(found, truth)[pillar].median() < 0.3
    assert error(found, truth)[pillar].median() < 0.5 * error(found, TRUTH)[pillar].median()


def test_walls_end_where_the_floor_does():
    room = fit_room((TRUTH * 0.85).numpy(), 0.2)
    room = type(room)(1.6, 1.5, room.walls_m)  # walls 15 % too near for this floor and ceiling
    moved = fit_lines(room, PANORAMA.rgb)
    assert error(torch.from_numpy(moved.distance(HEIGHT)), TRUTH).median() < 0.03
    assert moved.ceiling_m == pytest.approx(1.5, rel=0.1)


def test_blown_out_windows_are_not_near():
    rgb, answer = PANORAMA.rgb.clone(), TRUTH.clone()
    rgb[:, 100:140, 240:270] = 1.0
    answer[100:140, 240:270] = 0.3
    found = RoomDepth(network(answer))(Panorama(rgb, PANORAMA.photo), INDOORS).distance
    assert error(found, TRUTH)[105:135, 245:265].max() < 0.2


def test_beyond_is_a_soft_threshold():
    np.testing.assert_allclose(beyond(np.array([-1.0, -0.2, 0.0, 0.1, 0.5]), 0.2), [-0.8, 0, 0, 0, 0.3])


def test_steps_move_to_colour_edges_and_flat_colours_smooth():
    rgb = np.zeros((3, 32, 64), dtype=np.float32)
    rgb[:, :, 30:] = 1.0
    ramp = np.clip((np.arange(64) - 26) / 8.0, 0, 1) * np.ones((32, 1))
    followed = follow_colours(ramp, rgb, 4, 0.07, 3)
    step = followed[:, 30] - followed[:, 29]
    assert (step > 0.4).all()
    assert np.abs(np.diff(followed[:, 26:30])).max() < 0.1


def test_specks_vanish_round_the_back_too():
    values = np.zeros((32, 64))
    values[10, 0] = values[20, 63] = values[5, 30] = 9.0
    assert (without_specks(values) == 0).all()


@pytest.mark.parametrize(("key", "value"), [("tolerance", -0.1), ("tolerance", 1.0), ("largest", 0.0)])
def test_bad_settings_name_their_key(key, value):
    with pytest.raises(UserError, match=f"depth.*{key}"):
        RoomSettings(**{key: value})
