"""Brings the statistics of what was invented towards those of a photo seen as finely: colour and texture, both clamped.

What a photo shows is not what the sky looks like. So brightness keeps its mean, colour moves by no more than a few
steps, and the energy of each band of detail by no more than a gain.
"""

import math

import torch
from torch import Tensor

from worldgen.geometry.fill import blur

SIGMAS_PX = (1.0, 2.0, 4.0)  # the bands of detail end there (Burt and Adelson, "The Laplacian Pyramid", 1983)
MOST_SHIFT = 0.03  # of the mean of an opponent colour, of a range of 1
FADE_PX = 3.0  # within three of these from what is known the change fades to nothing
_FLAT = 1 / 255  # added to spreads: a flat picture has no style to match, and rounding is none
_FEWEST = 64  # pixels that have statistics
_TO_OPPONENT = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [1.0, -1.0, 0.0], [-0.5, -0.5, 1.0]])


def match_statistics(
    painted: Tensor, invented: Tensor, photo: Tensor, own: Tensor, colour: float, texture: float, most_gain: float
) -> Tensor:
    """A view [3, h, w] in [0, 1] with the statistics of its `invented` pixels, bool [h, w], nearer to the photo's.

    photo: [3, h', w'], as many pixels to a degree, there where `own`, bool [h', w'], is True. colour, texture: 0 = as
    it was, 1 = all that the clamps allow. most_gain: of a spread, up or down. Other pixels stay to the bit.
    """
    if int(invented.sum()) < _FEWEST or int(own.sum()) < _FEWEST:
        return painted
    ours, theirs = _bands(painted), _bands(photo)
    change = torch.zeros_like(painted)
    for mine, wanted in zip(ours[:-1], theirs[:-1], strict=True):
        gain = _gain(mine[:, invented], wanted[:, own], texture, most_gain)
        change += (gain - 1)[:, None, None] * mine
    change += _colour_change(ours[-1], invented, theirs[-1][:, own], colour, most_gain)
    back = torch.linalg.inv(_TO_OPPONENT.to(painted))
    changed = painted + fade_in(invented) * torch.einsum("ij,jhw->ihw", back, change)
    return torch.where(invented, changed.clamp(0, 1), painted)


def fade_in(invented: Tensor) -> Tensor:
    """bool [h, w] to [h, w]: 0 where it is False, rising from its border to 1 within three FADE_PX."""
    inside = invented.float()
    return inside * (2 * blur(inside[None], FADE_PX)[0] - 1).clamp(0, 1)


def _bands(rgb: Tensor) -> list[Tensor]:
    """Opponent colours of [3, h, w]: luma, red-green, blue-yellow; detail by bands, the finest first, and the rest."""
    rest = torch.einsum("ij,jhw->ihw", _TO_OPPONENT.to(rgb), rgb)
    found, before = [], 0.0
    for sigma in SIGMAS_PX:
        smooth = blur(rest, math.sqrt(sigma**2 - before**2))
        found.append(rest - smooth)
        rest, before = smooth, sigma
    return [*found, rest]


def _gain(ours: Tensor, theirs: Tensor, strength: float, most: float) -> Tensor:
    """[3]: what brings the spread of [3, n] towards that of [3, m]."""
    spreads = [(values - values.mean(1, keepdim=True)).square().mean(1).sqrt() + _FLAT for values in (ours, theirs)]
    return (spreads[1] / spreads[0]).clamp(1 / most, most) ** strength


def _colour_change(coarse: Tensor, invented: Tensor, theirs: Tensor, strength: float, most: float) -> Tensor:
    """[3, h, w]: what the coarse picture lacks of the photo's contrast, saturation and, a little, tint."""
    mine = coarse[:, invented]
    mean = mine.mean(1)[:, None, None]
    shift = (theirs.mean(1) - mine.mean(1)).clamp(-MOST_SHIFT, MOST_SHIFT)
    shift[0] = 0  # a sky may be brighter than all that the photo shows
    gain = _gain(mine, theirs, strength, most)[:, None, None]
    return (gain - 1) * (coarse - mean) + strength * shift[:, None, None]
