"""Whether what a photo shows highest up is sky, or what stands higher than it reaches: trunks, cliffs."""

import torch
import torch.nn.functional as F
from torch import Tensor

_SMOOTH = 0.04  # luma step per pixel of a coarse panorama that a sky may have
_SKY_SHARE = 0.06  # of that band; forests have 0 to 0.04, streets 0.18 and more
_BAND = 12  # its rows, below the photo's border, that tell whether there is sky
_GRID = (128, 256)


def shows_sky(rgb: Tensor, known: Tensor) -> bool:
    """Whether some of what is known highest up, on a panorama [3, H, W], is smooth."""
    share = F.interpolate(known[None, None].float(), _GRID, mode="area")[0, 0]
    luma = F.interpolate((rgb * known)[None], _GRID, mode="area")[0].mean(0) / share.clamp(min=1e-6)
    whole = share > 0.99
    steep = torch.maximum((luma - luma.roll(1, 1)).abs(), (luma - luma.roll(1, 0)).abs())
    steep = F.max_pool2d(steep[None, None], 3, stride=1, padding=1)[0, 0]
    depth = whole.cumsum(0)
    band = whole & (depth > 2) & (depth <= _BAND)
    return bool(band.any()) and float((steep < _SMOOTH)[band].float().mean()) > _SKY_SHARE
