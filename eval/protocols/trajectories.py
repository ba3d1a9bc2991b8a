"""Where a world is looked at from: seeded closed paths inside the cube that the recipe completes, and its corners.

The paper states no trajectories for its "VR-like renders"; these reach everywhere that a visitor may stand.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldgen.geometry.cameras import look_at
from worldgen.recipe.cube import cube_positions

_REACH = 0.9  # of the way from the origin to the cube's faces; the corners are looked at from the corners
_HARMONICS = 2
_PITCH_DEG = 15.0
_CORNERS = 8


@dataclass(frozen=True, eq=False)
class Place:
    """A camera's name and where it stands and looks: c2w [4, 4], OpenCV axes, metres."""

    name: str
    c2w: Tensor


def path_places(path: int, views: int, side_m: float, seed: int) -> list[Place]:
    """`views` places along one closed path, evenly in time, while the head turns once round and nods a little."""
    generator = np.random.default_rng([seed, path])
    swings = generator.normal(size=(3, 2 * _HARMONICS))
    start_yaw, start_nod = generator.uniform(0, 360), generator.uniform(0, 2 * math.pi)
    reach = np.abs(_curve(swings, np.linspace(0, 1, 512))).max()
    times = np.arange(views) / views
    positions = _curve(swings, times) / reach * (_REACH * side_m / 2)
    places = []
    for number, (time, position) in enumerate(zip(times, positions, strict=True)):
        pitch_deg = _PITCH_DEG * math.sin(2 * math.pi * time + start_nod)
        pose = look_at(start_yaw + 360 * time, pitch_deg, torch.tensor(position, dtype=torch.float32))
        places.append(Place(f"path{path}-{number:02}", pose))
    return places


def corner_places(side_m: float, seed: int) -> list[Place]:
    """One level look from each of the cube's corners; the first direction is drawn, the others are spread evenly."""
    start_yaw = np.random.default_rng(seed).uniform(0, 360)
    corners = cube_positions(side_m)[-_CORNERS:]
    # Three eighths of a turn from one to the next: neighbouring corners look different ways.
    return [
        Place(f"corner{number}", look_at(start_yaw + 135.0 * number, 0.0, position))
        for number, position in enumerate(corners)
    ]


def _curve(swings: np.ndarray, times: np.ndarray) -> np.ndarray:
    """[T, 3]: a closed, smooth curve, the sum of a few harmonics of amplitudes `swings` [3, 2 * harmonics]."""
    phases = 2 * math.pi * times[:, None] * np.arange(1, _HARMONICS + 1)
    return np.concatenate([np.cos(phases), np.sin(phases)], axis=1) @ swings.T
