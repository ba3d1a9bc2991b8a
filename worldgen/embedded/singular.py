"""Whether a photo shows things that come once: copies of them all round would be the first that everybody sees."""

import torch
import torch.nn.functional as F
from torch import Tensor

_ROWS = 64  # of the thumbnail: things shall count, not their texture
_PATCH = 5
_APART = 0.15  # of the width: what is nearer is the same thing
_SHIFT = 3  # rows up and down in which the like is looked for
_SHARE = 0.9  # of the photo has its like up to the strangeness that is told


def strangeness(rgb: Tensor) -> float:
    """How unlike all other places at its height (mirrored ones, too) the strangest tenth of a photo [3, H, W] is.

    A root mean square difference of colours, 0..1, of patches of a thumbnail.
    """
    thumbnail = _thumbnail(rgb)
    width = thumbnail.shape[-1]
    here = _patches(thumbnail)
    column = torch.arange(width)
    least = torch.full((_ROWS, width), torch.inf)
    for there, place in ((here, column), (_patches(thumbnail.flip(-1)), column.flip(0))):
        near = (column[:, None] - place).abs() < _APART * width
        for shift in range(-_SHIFT, _SHIFT + 1):
            rows = slice(max(0, shift), _ROWS + min(0, shift))
            difference = torch.cdist(here[rows], there.roll(shift, 0)[rows]).masked_fill(near, torch.inf)
            least[rows] = torch.minimum(least[rows], difference.amin(2))
    return float((least / here.shape[-1] ** 0.5).quantile(_SHARE))


def _thumbnail(rgb: Tensor) -> Tensor:
    width = min(4 * _ROWS, max(_ROWS // 3, round(_ROWS * rgb.shape[2] / rgb.shape[1])))
    return F.interpolate(rgb[None], (_ROWS, width), mode="area")


def _patches(image: Tensor) -> Tensor:
    """[1, 3, R, W] -> [R, W, 3 * _PATCH ** 2]: what surrounds every pixel."""
    padded = F.pad(image, (_PATCH // 2,) * 4, mode="reflect")
    return F.unfold(padded, _PATCH)[0].T.reshape(*image.shape[2:], -1)
