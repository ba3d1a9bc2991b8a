"""How far a render is from the picture it should match: L1 and SSIM (3D Gaussian Splatting, Eq. 7)."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.splat.kernels.ssim import C1, C2, RADIUS, WINDOW, l1_ssim


def photometric_loss(render: Tensor, target: Tensor, weight: Tensor, ssim_share: float = 0.2) -> Tensor:
    """Mean over all pixels of weight ((1 - ssim_share) L1 + ssim_share (1 - SSIM)); differentiable in `render`.

    render, target: [3, H, W]; weight: [H, W] >= 0; returns a scalar. SSIM has the usual 11 x 11 Gaussian window of
    sigma 1.5. Pixels of weight 0 and pixels beyond the border do not count at all: windows are averages over the
    pixels that do, so that whatever a mask hides cannot reach the loss through a window that overlaps it.
    Dividing by all pixels, not by the weights' sum, lets a pixel count the same whichever view it is in.
    """
    if render.is_cuda or render.dtype == torch.float64:
        return plain_loss(render, target, weight, ssim_share)
    return _FusedLoss.apply(render, target, weight, ssim_share)


def plain_loss(render: Tensor, target: Tensor, weight: Tensor, ssim_share: float = 0.2) -> Tensor:
    """`photometric_loss` in torch, on any device and in any precision: the same shapes, [3, H, W] and [H, W]."""
    counted = weight > 0
    x, y = torch.where(counted, render, 0), torch.where(counted, target, 0)
    difference = (weight * (x - y).abs()).mean()
    dissimilarity = (weight * (1 - _ssim(x, y, counted))).mean()
    return (1 - ssim_share) * difference + ssim_share * dissimilarity


def _ssim(x: Tensor, y: Tensor, counted: Tensor) -> Tensor:
    """SSIM [3, H, W] of pictures that are 0 where not counted; 1 there."""
    mass = _blur(counted.to(x)[None])
    moments = _blur(torch.cat([x, y, x * x, y * y, x * y])) / torch.where(counted, mass, 1)
    mean_x, mean_y, square_x, square_y, product = moments.chunk(5)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    covariance, variances = product - mean_x * mean_y, square_x - mean_x**2 + square_y - mean_y**2
    return torch.where(counted, luminance * (2 * covariance + C2) / (variances + C2), 1)


def _blur(planes: Tensor) -> Tensor:
    """[C, H, W], zeros beyond the border."""
    count, window = len(planes), torch.from_numpy(WINDOW).to(planes)
    rows, columns = (window.view(shape).expand(count, 1, -1, -1) for shape in ((1, 1, -1, 1), (1, 1, 1, -1)))
    tall = F.conv2d(planes[None], rows, padding=(RADIUS, 0), groups=count)
    return F.conv2d(tall, columns, padding=(0, RADIUS), groups=count)[0]


class _FusedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, render: Tensor, target: Tensor, weight: Tensor, ssim_share: float) -> Tensor:
        x, y, counted = (np.ascontiguousarray(tensor.detach().numpy()) for tensor in (render, target, weight))
        loss, grad = l1_ssim(x, y, counted, ssim_share)
        ctx.save_for_backward(torch.from_numpy(grad))
        return torch.tensor(loss, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = ctx.saved_tensors
        return grad * grad_loss, None, None, None
