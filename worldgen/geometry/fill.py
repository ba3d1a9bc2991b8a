"""Masks and smooth filling of holes in images."""

import math

import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter1d
from torch import Tensor


def erode(mask: Tensor, radius: int) -> Tensor:
    """A bool mask [H, W] less its pixels `radius` px (square) or nearer to a False one; the border does not erode."""
    return ~dilate(~mask, radius)


def dilate(mask: Tensor, radius: int) -> Tensor:
    """A bool mask [H, W] grown by `radius` pixels (square), pixel by pixel: windows of a wide radius take seconds."""
    for dim, length in enumerate(mask.shape):
        for _ in range(radius):
            grown = mask.clone()
            grown.narrow(dim, 1, length - 1).logical_or_(mask.narrow(dim, 0, length - 1))
            grown.narrow(dim, 0, length - 1).logical_or_(mask.narrow(dim, 1, length - 1))
            mask = grown
    return mask


def split_holes(known: Tensor, pinhole_px: int) -> tuple[Tensor, Tensor]:
    """The unknown pixels of bool [H, W] as (holes, pinholes): what is at most 2 `pinhole_px` wide is a pinhole."""
    core = erode(~known, pinhole_px)
    holes = dilate(core, pinhole_px + 1) & ~known
    return holes, ~known & ~holes


def push_pull(image: Tensor, weight: Tensor) -> Tensor:
    """Fills an image [C, H, W] smoothly where `weight` [H, W] (bool, or 0..1) is small.

    Pull: weighted averages on ever coarser grids; push: holes take the next coarser grid's value (Gortler et al.,
    "The Lumigraph", 1996). Weight 1 keeps a pixel as it is; an image without any weight comes back as zeros.
    """
    weight = weight.to(image.dtype)[None]
    return _push_pull(image * weight, weight)


def _push_pull(premultiplied: Tensor, weight: Tensor) -> Tensor:
    own = premultiplied / weight.clamp(min=1e-6)
    height, width = weight.shape[-2:]
    if max(height, width) == 1 or bool((weight >= 1).all()):
        return own
    half = (max(1, (height + 1) // 2), max(1, (width + 1) // 2))
    both = F.interpolate(torch.cat([premultiplied, weight])[None], half, mode="area")[0]
    colour, mean_weight = both[:-1], both[-1:]
    gained = (4 * mean_weight).clamp(max=1) / mean_weight.clamp(min=1e-6)
    coarse = _push_pull(colour * gained, mean_weight * gained)
    behind = F.interpolate(coarse[None], (height, width), mode="bilinear", align_corners=False)[0]
    return premultiplied + (1 - weight) * behind


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of an image [C, H, W], sigma in pixels; beyond the border the border goes on."""
    reach = math.ceil(3 * sigma)
    if image.device.type == "cpu":  # half the time of torch's, a third where sigma is large
        rows = gaussian_filter1d(image.numpy(), sigma, axis=2, mode="nearest", radius=reach)
        return torch.from_numpy(gaussian_filter1d(rows, sigma, axis=1, mode="nearest", radius=reach))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=image.device) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    channels = image.shape[0]
    padded = F.pad(image[None], (reach,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(rows, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)[0]


def enlarge(panorama: Tensor, height: int, width: int) -> Tensor:
    """A coarse panorama [C, h, w] on a finer grid [C, height, width], smooth round the back, too."""
    coarse = panorama.shape[-1]
    margin = max(1, coarse // 32)
    padded = F.pad(panorama[None], (margin, margin, 0, 0), mode="circular")
    x = (torch.arange(width, device=panorama.device) + 0.5) / width * coarse + margin
    y = (torch.arange(height, device=panorama.device) + 0.5) / height * 2 - 1
    grid = torch.stack(torch.meshgrid(x / (coarse + 2 * margin) * 2 - 1, y, indexing="xy"), -1)
    return F.grid_sample(padded, grid[None], "bilinear", "border", align_corners=False)[0]
