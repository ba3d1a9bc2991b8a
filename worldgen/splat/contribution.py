"""How much each Gaussian adds to pictures: what may be left out, and what is lost by it."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from worldgen.splat.harmonics import SH_C0
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, Gaussians

_TAKEN_OVER = 0.5  # of the area of those that go
_MOST_GROWTH = 2.0  # times as long, whatever was left to it


def contributions(gaussians: Gaussians, cameras: Iterable[Camera]) -> Tensor:
    """[N]: how much each Gaussian adds: to one picture the sum of its weights, alpha times what is left of the light;
    to many the root of the sum of squares, so that what matters much somewhere is ahead of what matters a little
    everywhere.

    A picture is the sum of colours times weights, so the weights are its gradient with respect to the colours.
    """
    grey = gaussians.map(lambda tensor: tensor.detach())
    colours = torch.zeros_like(grey.sh[:, :1]).requires_grad_()
    plain = Gaussians(
        grey.means, grey.quats, grey.log_scales, grey.opacity_logits, colours, antialiased=gaussians.antialiased
    )
    squares = torch.zeros(len(gaussians), device=grey.means.device)
    for camera in cameras:
        (gradient,) = torch.autograd.grad(rasterize(plain, camera).rgb[0].sum(), colours)
        squares += (gradient[:, 0, 0] / SH_C0).square()
    return squares.sqrt()


def thinned(gaussians: Gaussians, count: int, cameras: Iterable[Camera]) -> Gaussians:
    """At most `count` Gaussians [N, ...], in their order: those that add most to what the cameras see.

    Each that goes leaves half of the area that it covered to the nearest that stays, or there would be holes; half,
    because they overlap.
    """
    if len(gaussians) <= count:
        return gaussians
    stays = torch.zeros(len(gaussians), dtype=torch.bool, device=gaussians.means.device)
    stays[contributions(gaussians, cameras).topk(count).indices] = True
    kept, gone = gaussians.map(lambda tensor: tensor[stays]), gaussians.map(lambda tensor: tensor[~stays])
    left = torch.zeros_like(kept.opacity_logits).index_add_(0, _nearest(kept.means, gone.means), _area(gone))
    growth = (1 + _TAKEN_OVER * left / _area(kept)).sqrt().clamp(max=_MOST_GROWTH)
    return replace(kept, log_scales=kept.log_scales + growth.log()[:, None])


def _area(gaussians: Gaussians) -> Tensor:
    """[N], of the ellipse that a Gaussian's two longer axes span, as far as it is opaque; only up to one factor."""
    return gaussians.log_scales.topk(2, dim=1).values.sum(dim=1).exp() * gaussians.opacity_logits.sigmoid()


def _nearest(places: Tensor, asked: Tensor) -> Tensor:
    """[M] of int64: which of the places [N, 3] is nearest to each of those asked for [M, 3]."""
    found = cKDTree(places.detach().cpu().numpy()).query(asked.detach().cpu().numpy())[1]
    return torch.as_tensor(found, device=places.device)


@torch.no_grad()
def picture_loss_db(full: Gaussians, variant: Gaussians, cameras: Iterable[Camera]) -> list[float]:
    """PSNR of what each camera sees of `variant` against what it sees of `full`, dB, pictures [3, H, W] in [0, 1]."""
    errors = [
        (rasterize(full, camera).rgb.clamp(0, 1) - rasterize(variant, camera).rgb.clamp(0, 1)).square().mean()
        for camera in cameras
    ]
    return [-10 * error.clamp(min=1e-10).log10().item() for error in errors]
