"""Where the completed views stand and look: the 2 m cube of paper step 8."""

import itertools
import math

import torch
from torch import Tensor

from worldgen.geometry.cameras import look_at
from worldgen.types import Camera


def cube_positions(side_m: float) -> Tensor:
    """[14, 3]: the 6 face centres, then the 8 corners, of an axis-aligned cube round the origin; metres."""
    return _faces_and_corners() * (side_m / 2)


def cube_rotations() -> list[tuple[float, float]]:
    """14 (yaw_deg, pitch_deg): towards the 6 face centres (front, back, right, left, up, down) and the 8 corners."""
    angles = []
    for x, y, z in _faces_and_corners().tolist():
        angles.append((math.degrees(math.atan2(x, z)), math.degrees(math.atan2(-y, math.hypot(x, z)))))
    return angles


def cube_cameras(positions: Tensor, size: int, fov_deg: float) -> list[Camera]:
    """A square camera for every position [N, 3] and every rotation of the cube, position by position."""
    return [
        Camera.from_fov(size, size, fov_deg, look_at(yaw_deg, pitch_deg, position))
        for position in positions
        for yaw_deg, pitch_deg in cube_rotations()
    ]


def _faces_and_corners() -> Tensor:
    faces = [(0, 0, 1), (0, 0, -1), (1, 0, 0), (-1, 0, 0), (0, -1, 0), (0, 1, 0)]
    return torch.tensor(faces + list(itertools.product((-1, 1), repeat=3)), dtype=torch.float32)
