"""The cube's cameras: pytest tests/test_cube.py"""

import pytest
import torch

from worldgen.geometry.cameras import look_at
from worldgen.recipe.cube import cube_cameras, cube_positions, cube_rotations


def test_six_face_centres_and_eight_corners():
    positions = cube_positions(2.0)
    assert len({tuple(p) for p in positions.tolist()}) == 14
    torch.testing.assert_close(positions[:6].norm(dim=1), torch.ones(6))
    assert (positions[6:].abs() == 1).all()
    torch.testing.assert_close(positions.sum(0), torch.zeros(3))


def test_rotations_look_at_the_faces_and_the_corners():
    forward = torch.stack([look_at(yaw, pitch)[:3, 2] for yaw, pitch in cube_rotations()])
    directions = torch.nn.functional.normalize(cube_positions(2.0), dim=1)
    torch.testing.assert_close(forward, directions, rtol=0, atol=1e-6)


def test_every_position_looks_in_every_direction():
    positions = cube_positions(3.0)
    cameras = cube_cameras(positions, 64, 90)
    assert len(cameras) == 14 * 14
    assert all(camera.fov_deg == pytest.approx(90) and camera.width == camera.height == 64 for camera in cameras)
    stands = torch.stack([camera.position for camera in cameras]).view(14, 14, 3)
    torch.testing.assert_close(stands, positions[:, None].expand(14, 14, 3))
