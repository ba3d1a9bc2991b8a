"""How much each Gaussian adds to pictures: what may be left out, and what is lost by it."""

from collections.abc import Iterable

import torch
from torch import Tensor

from worldgen.splat.harmonics import SH_C0
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera, Gaussians


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


def largest_contributors(gaussians: Gaussians, count: int, cameras: Iterable[Camera]) -> Gaussians:
    """At most `count` Gaussians [N, ...], in their order: those that add most to what the cameras see."""
    if len(gaussians) <= count:
        return gaussians
    kept = contributions(gaussians, cameras).topk(count).indices.sort().values
    return gaussians.map(lambda tensor: tensor[kept])


@torch.no_grad()
def picture_loss_db(full: Gaussians, variant: Gaussians, cameras: Iterable[Camera]) -> list[float]:
    """PSNR of what each camera sees of `variant` against what it sees of `full`, dB, pictures [3, H, W] in [0, 1]."""
    errors = [
        (rasterize(full, camera).rgb.clamp(0, 1) - rasterize(variant, camera).rgb.clamp(0, 1)).square().mean()
        for camera in cameras
    ]
    return [-10 * error.clamp(min=1e-10).log10().item() for error in errors]
