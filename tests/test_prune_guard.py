"""Pruning opens no hole: alpha never falls by more than the tolerance, and what nothing depends on may go."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from worldgen.geometry.cameras import look_at, project
from worldgen.splat.density import DensitySettings, GradientRecord, refine, select
from worldgen.splat.prune_guard import cameras_around, removable
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, Gaussians

CAMERAS = [
    Camera.from_fov(40, 32, 80.0, look_at(yaw_deg, 0.0, torch.tensor([x, 0.0, 0.0])))
    for yaw_deg, x in ((0, 0.0), (15, -0.4), (-15, 0.4))
]
ROUNDING = 1e-6  # of alpha, a sum in float32


def discs(means: torch.Tensor, sigma_m: float, opacity: float) -> Gaussians:
    count = len(means)
    return Gaussians(
        means=means,
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(count, 1),
        log_scales=torch.full((count, 3), sigma_m).log(),
        opacity_logits=torch.full((count,), opacity).logit(),
        sh=torch.zeros(count, 1, 3),
    )


def together(*parts: Gaussians) -> Gaussians:
    return Gaussians(
        *(torch.cat(tensors) for tensors in zip(*(part.tensors().values() for part in parts), strict=True))
    )


def largest_fall(gaussians: Gaussians, removed: torch.Tensor, cameras: list[Camera] = CAMERAS) -> float:
    before, after = ([rasterize(g, c).alpha for c in cameras] for g in (gaussians, select(gaussians, ~removed)))
    return max(float((one - other).max()) for one, other in zip(before, after, strict=True))


def layers(x: float, count: int = 300) -> Gaussians:
    """So transparent that each alone would be pruned, and together nearly opaque: 1 - 0.9955^300 = 0.74."""
    z = torch.linspace(2.5, 3.0, count)
    return discs(torch.stack([torch.full_like(z, x), torch.zeros_like(z), z], dim=1), 0.6, 0.0045)


def wall(x: float) -> Gaussians:
    y, dx = torch.meshgrid(torch.linspace(-1.5, 1.5, 31), torch.linspace(-1.0, 1.0, 21), indexing="ij")
    return discs(torch.stack([x + dx.flatten(), y.flatten(), torch.full((y.numel(),), 4.0)], dim=1), 0.1, 0.99)


def test_layers_that_cover_together_stay_and_those_before_a_wall_are_prunable():
    parts = [layers(-1.2), layers(1.2), wall(1.6)]
    gaussians = together(*parts)
    candidates = gaussians.opacity_logits.sigmoid() < 0.005
    assert candidates.sum() == 600
    assert largest_fall(gaussians, candidates) > 0.5
    goes = removable(gaussians, candidates, CAMERAS)
    assert not (goes & ~candidates).any()
    assert largest_fall(gaussians, goes) <= 0.01 + ROUNDING
    assert not goes[:300].any()
    assert goes[300:600].all()


def test_refinement_with_the_guard_opens_no_hole():
    gaussians = together(layers(-1.2), layers(1.2), wall(1.6))
    count = len(gaussians)
    nowhere, settings = torch.zeros(count, dtype=torch.bool), DensitySettings()
    arguments = gaussians, GradientRecord.empty(count), gaussians.means.norm(dim=1), nowhere, settings
    came = refine(*arguments, torch.Generator(), prunable=partial(removable, cameras=CAMERAS))
    kept = torch.zeros(count, dtype=torch.bool)
    kept[came.origin] = True
    assert largest_fall(gaussians, ~kept) <= 0.01 + ROUNDING
    assert (~kept).sum() == 300


def test_a_lone_splat_beyond_the_rasterisers_cap_stays():
    gaussians = discs(torch.tensor([[0.0, 0.0, 3.0]]), 0.3, 0.9999999)
    assert not removable(gaussians, torch.ones(1, dtype=torch.bool), CAMERAS).any()


def test_what_one_camera_keeps_is_seen_by_those_before_it():
    """The rasteriser stops before the splat that would take the light to 1e-4. Without the two candidates it draws the
    opaque splat behind them; with one of them, which the second camera needs, it stops, and the other one is missed."""
    along_z = torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 2.5], [0.0, 0.0, 4.0]])
    parts = zip(along_z, (0.1, 0.1, 0.3), (0.94, 0.5, 0.9999), strict=True)
    gaussians = together(*(discs(place[None], sigma_m, opacity) for place, sigma_m, opacity in parts))
    from_the_side = look_at(90.0, 0.0, torch.tensor([-2.0, 0.0, 2.0]))
    cameras = [Camera.from_fov(8, 8, 0.2), Camera.from_fov(8, 8, 8.0, from_the_side)]
    both, second = torch.tensor([True, True, False]), torch.tensor([False, True, False])
    assert largest_fall(gaussians, both, cameras[:1]) <= 0 < 0.02 < largest_fall(gaussians, second, cameras[:1])
    assert not removable(gaussians, both, cameras).any()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("antialiased", [False, True])
def test_alpha_never_falls_further_than_the_tolerance(seed, antialiased):
    random = torch.Generator().manual_seed(seed)
    count, tolerance = 500, (0.002, 0.01, 0.1)[seed % 3]
    z = 0.5 + 4 * torch.rand(count, generator=random)
    means = torch.cat([(2 * torch.rand(count, 2, generator=random) - 1) * z[:, None], z[:, None]], dim=1)
    gaussians = Gaussians(
        means=means,
        quats=torch.randn(count, 4, generator=random),
        log_scales=torch.log(0.06 * z)[:, None] + 0.5 * torch.randn(count, 3, generator=random),
        opacity_logits=5 * torch.randn(count, generator=random),
        sh=torch.randn(count, 4, 3, generator=random),
        antialiased=antialiased,
    )
    candidates = torch.rand(count, generator=random) < 0.5
    goes = removable(gaussians, candidates, CAMERAS, tolerance)
    assert not (goes & ~candidates).any()
    assert largest_fall(gaussians, candidates) > tolerance
    assert largest_fall(gaussians, goes) <= tolerance + ROUNDING
    assert 20 < goes.sum() < candidates.sum()


def test_without_candidates_or_cameras_nothing_is_in_the_way():
    gaussians, none = layers(0.0, 5), torch.zeros(5, dtype=torch.bool)
    assert not removable(gaussians, none, CAMERAS).any()
    assert removable(gaussians, ~none, []).all()


def test_cameras_look_all_round_from_every_place():
    places = torch.tensor([[0.0, 0.0, 0.0], [1.0, -1.0, 1.0]])
    cameras = cameras_around(places, 24)
    assert len(cameras) == 12
    random = torch.Generator().manual_seed(1)
    directions = F.normalize(torch.randn(2000, 3, generator=random), dim=1)
    for index, place in enumerate(places):
        seen = torch.zeros(2000, dtype=torch.int64)
        for camera in cameras[6 * index : 6 * index + 6]:
            assert torch.equal(camera.position, place)
            pixels, zdepth = project(camera, place + directions)
            seen += (zdepth > 0) & (pixels > 0).all(dim=1) & (pixels < 24).all(dim=1)
        assert (seen == 1).float().mean() > 0.99  # all but the few on an edge
        assert (seen <= 1).all()
