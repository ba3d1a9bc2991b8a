"""Bilateral grids: colour corrections, one per image, as gsplat's trainer offers them.

After "Bilateral Guided Radiance Field Processing" (Wang et al. 2024, arXiv 2406.00448): every image has a coarse grid
of affine colour transforms over the picture's plane and luma; what lies between its nodes is trilinear. A render is
corrected before it is compared with its picture, so that pictures whose colours disagree need not agree in the scene.
The grids serve training alone; the finished world is rendered without them.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgen.splat.kernels.bilateral import LUMA, correct_forward, correct_gradients


class BilateralGrids(nn.Module):
    """One grid of affine colour transforms per image; all of them the identity at first.

    images: how many; luma, rows, columns: nodes per axis. `deviations` [images, 12, luma, rows, columns] is what the
    grids differ by from the identity, each 12 a row-major 3 x 4 matrix.

    zero_mean decides what holds the scene's colours. Where some views are compared uncorrected (the panorama's),
    those do, and the grids are free (False): generated views may all be too warm. Where every view is corrected
    nothing does: the scene could take on any tint while all grids undo it. Then (True) the mean over the images is
    subtracted from the deviations, so that the corrections average to the identity at every node: a change common to
    all images cannot be expressed, and the scene keeps the colours that its pictures have on average. The mean runs
    over images, not over each image's own grid as the distortion's does: one picture brighter than the others as a
    whole is just what must be corrected.
    """

    def __init__(self, images: int, luma: int = 8, rows: int = 16, columns: int = 16, zero_mean: bool = False) -> None:
        super().__init__()
        self.deviations = nn.Parameter(torch.zeros(images, 12, luma, rows, columns))
        self.zero_mean = zero_mean

    def deviation(self, image: int) -> Tensor:
        """What this image is corrected by, [12, luma, rows, columns]: its grid less the identity."""
        own = self.deviations[image]
        return own - self.deviations.mean(dim=0) if self.zero_mean else own

    def forward(self, rgb: Tensor, image: int) -> Tensor:
        """rgb [3, H, W], coloured as the image with this number is, [3, H, W]; not clamped to [0, 1]."""
        return correct(rgb, self.deviation(image))

    def smoothness(self, image: int | None = None) -> Tensor:
        """Total variation of the grids (Wang et al. 2024), a scalar []; 0 where each is one transform throughout.

        The squared differences of neighbours along each axis, averaged, and added over the three axes; the mean over
        all images or that of one. A step that looks at one image needs that one alone: over a round it is the same.
        """
        if image is None:
            grids = self.deviations - self.deviations.mean(dim=0) if self.zero_mean else self.deviations
        else:
            grids = self.deviation(image)
        axes = [axis for axis in (-3, -2, -1) if grids.shape[axis] > 1]
        return sum((grids.diff(dim=axis).square().mean() for axis in axes), start=grids.new_zeros(()))


def correct(rgb: Tensor, deviation: Tensor) -> Tensor:
    """rgb [3, H, W] plus what its pixels' transforms add: deviation [12, L, Y, X] read at (luma, y, x).

    The outermost nodes lie on the picture's edges and at luma 0 and 1 (`align_corners=True`); beyond, the luma's last
    node holds. Differentiable in both, in rgb also through the luma that decides where a pixel reads.
    """
    if rgb.is_cuda or rgb.dtype == torch.float64:
        return _plain_correct(rgb, deviation)
    return _FusedCorrect.apply(rgb, deviation)


def _plain_correct(rgb: Tensor, deviation: Tensor) -> Tensor:
    """The same in torch, on any device and in any precision."""
    height, width = rgb.shape[1:]
    x = (torch.arange(width, device=rgb.device).to(rgb) + 0.5) / width * 2 - 1
    y = (torch.arange(height, device=rgb.device).to(rgb) + 0.5) / height * 2 - 1
    luma = torch.einsum("c,chw->hw", rgb.new_tensor(LUMA), rgb) * 2 - 1
    at = torch.stack([*torch.meshgrid(x, y, indexing="xy"), luma], dim=-1)
    read = F.grid_sample(deviation[None], at[None, None], "bilinear", "border", align_corners=True)
    matrix = read.reshape(3, 4, height, width)
    return rgb + (matrix[:, :3] * rgb).sum(dim=1) + matrix[:, 3]


class _FusedCorrect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rgb: Tensor, deviation: Tensor) -> Tensor:
        rgb, grid = rgb.detach().contiguous(), deviation.detach().permute(2, 3, 1, 0).contiguous()
        ctx.save_for_backward(rgb, grid)
        return torch.from_numpy(correct_forward(rgb.numpy(), grid.numpy()))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        rgb, grid = (tensor.numpy() for tensor in ctx.saved_tensors)
        to_rgb, parts = correct_gradients(rgb, grid, grad.contiguous().numpy())
        return torch.from_numpy(to_rgb), torch.from_numpy(parts.sum(axis=0)).permute(3, 2, 0, 1)
