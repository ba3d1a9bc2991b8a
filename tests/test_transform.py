"""Gaussians in another frame: what a camera that went along sees stays the same, whatever the rotation."""

import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from worldgen.geometry.cameras import look_at
from worldgen.splat.harmonics import harmonics, harmonics_rotation
from worldgen.splat.quaternions import quaternion_product
from worldgen.splat.rasterize import rasterize
from worldgen.splat.transform import transformed
from worldgen.types import Camera, Gaussians

LEVEL = 1 / 255


def rotation(seed: int) -> torch.Tensor:
    return torch.from_numpy(Rotation.random(random_state=seed).as_matrix())


def scene(degree: int, count: int = 300) -> Gaussians:
    """Long, flat, coloured by direction: whatever is not turned along shows."""
    generator = torch.Generator().manual_seed(degree)
    means = torch.randn(count, 3, generator=generator) * torch.tensor([1.5, 1.0, 0.7]) + torch.tensor([0.0, 0.0, 4.0])
    return Gaussians(
        means=means,
        quats=torch.randn(count, 4, generator=generator),
        log_scales=torch.randn(count, 3, generator=generator) - 2,
        opacity_logits=torch.randn(count, generator=generator),
        sh=0.5 * torch.randn(count, (degree + 1) ** 2, 3, generator=generator),
    )


def seen(gaussians: Gaussians, c2w: torch.Tensor) -> torch.Tensor:
    return rasterize(gaussians, Camera.from_fov(64, 48, 70.0, c2w)).rgb


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_camera_that_goes_along_sees_the_same(degree, scale):
    gaussians, c2w, turn = scene(degree), look_at(10.0, 5.0, torch.tensor([0.3, -0.2, 0.1])), rotation(degree)
    along = c2w.clone()
    along[:3, :3] = turn.float() @ c2w[:3, :3]
    along[:3, 3] = scale * turn.float() @ c2w[:3, 3]
    before = seen(gaussians, c2w)
    after = seen(transformed(gaussians, turn, scale), along)
    assert before.std() > 0.1
    assert (after - before).abs().mean() < 0.02 * LEVEL  # single pixels may differ where a splat is cut off
    assert (after - before).abs().max() < 2 * LEVEL


def test_the_comparison_notices_harmonics_and_quaternions_left_behind():
    gaussians, turn = scene(3), rotation(0)
    along = torch.eye(4)
    along[:3, :3] = turn.float()
    whole, before = transformed(gaussians, turn), seen(gaussians, torch.eye(4))
    for name in ("sh", "quats"):
        partly = Gaussians(**{**whole.tensors(), name: gaussians.tensors()[name]})
        assert (seen(partly, along) - before).abs().mean() > 2 * LEVEL


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_rotations_of_harmonics_are_a_group_of_orthogonal_matrices(degree):
    one, other = rotation(1), rotation(2)
    first, second = harmonics_rotation(one, degree), harmonics_rotation(other, degree)
    torch.testing.assert_close(first @ first.T, torch.eye(2 * degree + 1, dtype=torch.float64), atol=1e-10, rtol=0)
    torch.testing.assert_close(harmonics_rotation(other @ one, degree), second @ first, atol=1e-10, rtol=0)
    generator = torch.Generator().manual_seed(degree)
    rays = torch.nn.functional.normalize(torch.randn(50, 3, generator=generator, dtype=torch.float64), dim=1)
    band = slice(degree**2, (degree + 1) ** 2)
    values = torch.randn(2 * degree + 1, generator=generator, dtype=torch.float64)
    turned = harmonics(rays @ one, (degree + 1) ** 2)[:, band] @ values
    torch.testing.assert_close(harmonics(rays, (degree + 1) ** 2)[:, band] @ (first @ values), turned)


def test_quaternions_multiply_as_rotations_do():
    one, other = Rotation.random(random_state=1), Rotation.random(random_state=2)
    left, right = (torch.from_numpy(turn.as_quat()).roll(1) for turn in (one, other))
    expected = torch.from_numpy((one * other).as_quat()).roll(1)
    assert math.isclose(abs(float(quaternion_product(left, right) @ expected)), 1, abs_tol=1e-12)


def test_an_antialiased_scene_stays_one():
    gaussians = Gaussians(**scene(1).tensors(), antialiased=True)
    assert transformed(gaussians, rotation(0)).antialiased
