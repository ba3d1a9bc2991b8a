"""What stands higher than the photo reaches, and no sky behind it: trunks, foliage, cliffs go on upwards."""

import torch
import torch.nn.functional as F
from torch import Tensor

_STRETCH = 2.5  # the mirrored part is drawn out upwards: one looks up along what is tall
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


def grow_upwards(image: Tensor, known: Tensor) -> Tensor:
    """[C, H, W] -> [C, H, W]: above the topmost known row of every column, that column mirrored and drawn out."""
    height, width = known.shape
    rows = torch.arange(height)[:, None]
    top = torch.where(known.any(0), known.int().argmax(0), height // 2)
    reach = width // 128  # a smooth border, or neighbouring columns would shear
    padded = F.pad(top[None, None].float(), (2 * reach, 2 * reach), mode="circular")
    top = F.avg_pool1d(F.max_pool1d(padded, 2 * reach + 1, stride=1), 2 * reach + 1, stride=1)[0].ceil().long() + 1
    above = rows < top
    source = torch.where(above, top + (top - rows) / _STRETCH, rows.float()).clamp(max=height - 1)
    upper = source.floor()
    share = (source - upper) * above
    lower = (upper + 1).clamp(max=height - 1)
    shape = (image.shape[0], height, width)
    return (
        image.gather(1, upper.long().expand(shape)) * (1 - share) + image.gather(1, lower.long().expand(shape)) * share
    )
