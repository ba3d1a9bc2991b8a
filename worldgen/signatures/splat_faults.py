"""Things that float, haze and ghosts: where in a view of a world they are. None needs a true picture."""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.geometry.cameras import distance_to_zdepth, pixel_rays, project
from worldgen.geometry.points import render_points
from worldgen.splat.harmonics import SH_C0
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, Gaussians, PointCloud

_SLACK = 0.1  # of a distance: so much nearer than the surface floats nothing
_LEEWAY_PX = 2  # a splat of a foreground's rim may be centred so far beside it
_NEAR_M = 0.05
_OPAQUE = 0.5  # the opacity from which on a pixel has a depth


def faults(gaussians: Gaussians, cloud: PointCloud | None, camera: Camera, step_m: float = 0.02) -> Tensor:
    """[3, h, w] in [0, 1], a picture of what is wrong with what `camera` sees of a world: see the functions below.

    Red: floating weight, 0 without a cloud. Green: spread in depth. Blue: change under a step.
    """
    floating, spread = _weights(gaussians, cloud, camera)
    return torch.stack([floating, spread, step_change(gaussians, camera, step_m)]).clamp(0, 1)


def floating_weight(gaussians: Gaussians, cloud: PointCloud, camera: Camera) -> Tensor:
    """[h, w]: the share of each pixel's colour that comes from before the cloud's surface."""
    return _weights(gaussians, cloud, camera)[0]


def depth_spread(gaussians: Gaussians, camera: Camera) -> Tensor:
    """[h, w]: the standard deviation, along each pixel's ray, of the logarithm of the depth that its colour comes from:
    0 where one surface makes it, 0.35 where half of it comes from twice as far as the other half."""
    return _weights(gaussians, None, camera)[1]


@torch.no_grad()
def _weights(gaussians: Gaussians, cloud: PointCloud | None, camera: Camera) -> tuple[Tensor, Tensor]:
    """Floating weight and spread in depth, [h, w] each, by one render of Gaussians whose colours say where they are."""
    pixels, zdepth = project(camera, gaussians.means)
    depth = (zdepth.clamp(min=_NEAR_M) / _NEAR_M).log()
    floats = torch.zeros_like(depth) if cloud is None else _floats(pixels, zdepth, cloud, camera)
    colours = torch.stack([floats, depth, depth**2], dim=1)
    plain = replace(gaussians, sh=((colours - 0.5) / SH_C0)[:, None])
    render = rasterize(plain, camera)
    share = render.rgb / render.alpha.clamp(min=1e-6)
    seen = render.alpha >= _OPAQUE
    spread = (share[2] - share[1] ** 2).clamp(min=0).sqrt()
    return torch.where(seen, render.rgb[0], 0), torch.where(seen, spread, 0)


def _floats(pixels: Tensor, zdepth: Tensor, cloud: PointCloud, camera: Camera) -> Tensor:
    """[N], 1 for centres at `pixels` [N, 2] and `zdepth` [N] that lie before the cloud's surface, 0 for all others."""
    surface = render_points(cloud, camera)
    nearest = distance_to_zdepth(camera, surface.measured).masked_fill(~surface.known, 0)
    around = 2 * _LEEWAY_PX + 1  # of what is near, the nearest; what is unknown counts as in front of everything
    nearest = -F.max_pool2d(-nearest[None], around, stride=1, padding=_LEEWAY_PX)[0]
    column, row = pixels.floor().nan_to_num(-1).clamp(-1, 1e6).long().unbind(-1)
    inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height) & (zdepth > _NEAR_M)
    limit = nearest[row.clamp(0, camera.height - 1), column.clamp(0, camera.width - 1)]
    return (inside & (zdepth < (1 - _SLACK) * limit)).float()


@torch.no_grad()
def step_change(gaussians: Gaussians, camera: Camera, step_m: float = 0.02) -> Tensor:
    """[h, w]: how much each pixel's colour (mean absolute difference, 0 to 1) changes under a step to the right, where
    the step's own parallax is undone. 0 where the depth that undoes it is none, or hidden from one of both places.
    """
    aside = camera.c2w.clone()
    aside[:3, 3] += step_m * camera.c2w[:3, 0]
    stepped = replace(camera, c2w=aside)
    here, there = rasterize(gaussians, camera), rasterize(gaussians, stepped)
    depth, other = (render.zdepth / render.alpha.clamp(min=1e-6) for render in (here, there))
    rays = pixel_rays(camera)
    points = rays / rays[..., 2:] * depth[..., None]
    world = points @ camera.c2w[:3, :3].T + camera.c2w[:3, 3]
    pixels, expected = project(stepped, world.reshape(-1, 3))
    size = torch.tensor([camera.width, camera.height])
    grid = (2 * pixels / size - 1).reshape(1, camera.height, camera.width, 2)
    found = F.grid_sample(torch.cat([there.rgb, other[None], there.alpha[None]])[None], grid, align_corners=False)[0]
    expected = expected.reshape(depth.shape)
    alike = (found[3] / expected.clamp(min=1e-6)).clamp(min=1e-6).log().abs() < math.log1p(_SLACK)
    fine = (here.alpha >= _OPAQUE) & (found[4] >= _OPAQUE) & (grid[0].abs() <= 1).all(dim=-1) & alike
    return torch.where(fine, (found[:3].clamp(0, 1) - here.rgb.clamp(0, 1)).abs().mean(dim=0), 0)
