"""Gaussians from a cloud: what the cloud shows, without holes, however many points it is thinned to."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenes import BoxRoom, room_cloud
from worldgen.geometry.cameras import look_at
from worldgen.splat.initialise import frames, gaussians_from_cloud, thin
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, PointCloud


def shell(count: int, radius_m: float, seed: int = 0) -> PointCloud:
    """Points all round the origin, facing it."""
    rays = F.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)), dim=1)
    spacing = torch.full((count,), radius_m * (4 * torch.pi / count) ** 0.5)
    return PointCloud(radius_m * rays, torch.full((count, 3), 0.3), -rays, spacing)


def rotate(quats: torch.Tensor, vector: tuple[float, float, float]) -> torch.Tensor:
    """Unit quaternions [N, 4], wxyz, applied to one vector: q v q*."""
    w, axis = quats[:, :1], quats[:, 1:]
    v = torch.tensor(vector, dtype=axis.dtype).expand_as(axis)
    return v + 2 * torch.linalg.cross(axis, torch.linalg.cross(axis, v) + w * v)


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda n: sum(x * x for x in n) > 1e-3),
    st.tuples(*[st.floats(-1, 1)] * 3),
)
def test_z_becomes_the_normal_and_x_lies_along(normal, along):
    normal, along = F.normalize(torch.tensor([normal]), dim=1), torch.tensor([along])
    quats = frames(normal, along)
    in_surface = along - (along * normal).sum() * normal
    assert torch.allclose(quats.norm(dim=1), torch.ones(1), atol=1e-5)
    assert torch.allclose(rotate(quats, (0, 0, 1)), normal, atol=2e-3)
    if in_surface.norm() > 1e-2:
        assert torch.allclose(rotate(quats, (1, 0, 0)), F.normalize(in_surface, dim=1), atol=5e-3)


@pytest.mark.parametrize("normal", [[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
def test_frames_of_the_axes_are_exact(normal):
    quats = frames(torch.tensor([normal]), torch.tensor([[1.0, 0.0, 0.0]]))
    assert torch.allclose(rotate(quats, (0, 0, 1)), torch.tensor([normal]), atol=1e-6)
    assert torch.allclose(rotate(quats, (1, 0, 0)), torch.tensor([[1.0, 0.0, 0.0]]), atol=1e-6)


@pytest.mark.parametrize("max_count", [100_000, 4000, 1000])
@pytest.mark.parametrize("pitch_deg", [0.0, -60.0])
def test_the_room_is_closed_and_has_its_colours(max_count, pitch_deg):
    room, gaussians = BoxRoom(), gaussians_from_cloud(room_cloud(96), max_count)
    camera = Camera.from_fov(48, 48, 80, look_at(25, pitch_deg))
    render = rasterize(gaussians, camera)
    assert render.alpha.min() > 0.8
    smooth = F.avg_pool2d(room.view(camera).rgb, 8)
    assert (F.avg_pool2d(render.rgb / render.alpha, 8) - smooth).abs().mean() < 0.06


@pytest.mark.parametrize("degree", [0, 2])
def test_the_constant_harmonic_is_the_colour(degree):
    cloud = shell(50, 2.0)
    gaussians = gaussians_from_cloud(cloud, 100, degree)
    assert gaussians.sh.shape == (50, (degree + 1) ** 2, 3)
    assert torch.allclose(0.5 + 0.28209479 * gaussians.sh[:, 0], cloud.rgb, atol=1e-6)
    assert (gaussians.sh[:, 1:] == 0).all()


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 3000), max_count=st.integers(1, 3000), seed=st.integers(0, 99))
def test_never_too_many_and_always_finite(count, max_count, seed):
    gaussians = gaussians_from_cloud(shell(count, 3.0, seed), max_count)
    assert 1 <= len(gaussians) <= max_count
    assert all(torch.isfinite(tensor).all() for tensor in gaussians.tensors().values())
    if count <= max_count:
        assert len(gaussians) == count


def test_degenerate_points_do_no_harm():
    cloud = shell(20, 1.0)
    cloud.xyz[0], cloud.spacing[1], cloud.normals[2] = float("nan"), float("inf"), float("nan")
    cloud.xyz[3], cloud.spacing[4], cloud.normals[5] = 0.0, 0.0, 0.0
    gaussians = gaussians_from_cloud(cloud, 100)
    assert len(gaussians) == 17
    assert all(torch.isfinite(tensor).all() for tensor in gaussians.tensors().values())
    assert rasterize(gaussians, Camera.from_fov(16, 16, 90)).rgb.isfinite().all()


def test_thinning_is_even_over_directions_and_uses_the_budget():
    thinned = thin(shell(60_000, 5.0), 5000)
    assert 4500 <= len(thinned) <= 5000
    # Octants split into equal areas by |x| > |y| > |z| and so on: 48 triangles of equal size.
    octant = (thinned.xyz > 0).long() @ torch.tensor([1, 2, 4])
    ranks = thinned.xyz.abs().argsort(dim=1) @ torch.tensor([9, 3, 1])
    counts = torch.unique(octant * 27 + ranks, return_counts=True)[1]
    assert len(counts) == 48
    assert counts.max() < 1.5 * counts.min()


def test_thinning_keeps_the_area_and_averages_the_colour():
    cloud = shell(20_000, 5.0)
    thinned = thin(cloud, 2000)
    assert thinned.spacing.square().sum() == pytest.approx(cloud.spacing.square().sum().item(), rel=1e-4)
    assert torch.allclose(thinned.rgb, torch.full_like(thinned.rgb, 0.3), atol=1e-4)
    assert torch.allclose(thinned.normals.norm(dim=1), torch.ones(len(thinned)), atol=1e-5)


def test_what_lies_behind_keeps_its_own_points():
    near, far = shell(5000, 2.0, seed=1), shell(5000, 4.0, seed=2)
    distance = thin(near + far, 1500).xyz.norm(dim=1)
    assert ((distance < 2.1) | (distance > 3.9)).all()
    assert 0.4 < (distance > 3).float().mean() < 0.6


def test_the_same_cloud_gives_the_same_gaussians():
    cloud = shell(5000, 2.0)
    first, again = (gaussians_from_cloud(cloud, 800, seed=3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.tensors().values(), again.tensors().values(), strict=True))


def test_guesses_are_round_and_let_light_through():
    cloud = shell(200, 2.0)
    known, guessed = gaussians_from_cloud(cloud, 1000), gaussians_from_cloud(cloud, 1000, guessed=True)
    assert torch.allclose(guessed.opacity_logits.sigmoid(), torch.tensor(0.1))
    assert (known.opacity_logits > guessed.opacity_logits).all()
    assert (guessed.log_scales.amax(dim=1) - guessed.log_scales.amin(dim=1)).max() < 1e-6
    assert torch.equal(known.means, guessed.means)
