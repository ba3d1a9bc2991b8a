"""Which pixels of a photo are sky: a linear rule on EfficientNet-Lite0's features, then the photo's own edges.

The rule is learned from panoramas whose sky is known: `python -m eval.experiments.photo_skies --write` makes its file.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.embedded.efficientnet_lite import EfficientNetLite0, load_network
from worldgen.embedded.linear_rule import read_rule
from worldgen.embedded.random_walk import settled
from worldgen.embedded.sky import guided
from worldgen.models import assets

CELL = 8
"""Pixels of the resized photo along a side of what is judged at once."""

RULE = Path(__file__).with_name("photo_sky.npz")
"""Weights [FEATURES] and bias of the log odds."""

_BLOCKS = (4, 10, 14)  # edges and textures; parts; scenes
_CHANNELS = (40, 112, 192)
_HAND_MADE = 15
FEATURES = sum(_CHANNELS) + _HAND_MADE
"""Numbers that tell of a cell."""

_SIDE = 320  # pixels that the photo's longer side is resized to
_LEAST = 64
_EDGE_SHARE = 160  # the last filter reaches as far as this part of the longer side
_EDGE_EPSILON = 1e-4


class PhotoSky:
    """`photo_sky` by a network that is loaded for the call and freed after it: a run asks once."""

    def __call__(self, rgb: Tensor) -> Tensor:
        """rgb [3, H, W] in [0, 1], a photo -> bool [H, W], True where it shows sky."""
        return photo_sky(load_network(assets.fetch("efficientnet")), rgb)


def photo_sky(network: EfficientNetLite0, rgb: Tensor) -> Tensor:
    """rgb [3, H, W] in [0, 1], a photo -> bool [H, W], True where it shows sky."""
    return drawn(rule_odds(network, rgb), rgb)


def rule_odds(network: EfficientNetLite0, rgb: Tensor) -> Tensor:
    """Log odds that a cell of a photo [3, H, W] is sky: [h, w]."""
    return read_rule(RULE).odds(cell_features(network, resized(rgb)))


def resized(rgb: Tensor) -> Tensor:
    """A photo [3, H, W] as it is judged: [3, CELL * h, CELL * w]."""
    sides = [max(_LEAST, round(n * _SIDE / max(rgb.shape[1:]) / CELL) * CELL) for n in rgb.shape[1:]]
    return F.interpolate(rgb[None], sides, mode="bilinear", antialias=True, align_corners=False)[0].clamp(0, 1)


def cell_features(network: EfficientNetLite0, rgb: Tensor) -> Tensor:
    """What is known of each cell of a resized photo [3, CELL * h, CELL * w]: [FEATURES, h, w]."""
    cells = rgb.shape[1] // CELL, rgb.shape[2] // CELL
    with torch.inference_mode():
        maps = network.maps(rgb[None], after=_BLOCKS)
        spread = [F.interpolate(one, cells, mode="bilinear", align_corners=False)[0] for one in maps]
        return torch.cat([*spread, _hand_made(rgb)])


def drawn(odds: Tensor, rgb: Tensor) -> Tensor:
    """Log odds of cells [h, w] as a mask bool [H, W] that ends at the edges of their photo rgb [3, H, W]."""
    soft = settled(odds.sigmoid(), rgb)
    whole = F.interpolate(soft[None, None], rgb.shape[1:], mode="bilinear", align_corners=False)[0, 0]
    radius = max(2, max(rgb.shape[1:]) // _EDGE_SHARE)
    return torch.from_numpy(guided(whole.numpy(), _luma(rgb).numpy(), radius, _EDGE_EPSILON, "nearest") > 0.5)


def _hand_made(rgb: Tensor) -> Tensor:
    """Colour, brightness among the photo's cells, roughness at two scales, height: [_HAND_MADE, h, w]."""
    colour = F.avg_pool2d(rgb[None], CELL)[0]
    luma, strongest = _luma(colour), colour.amax(0) + 0.05
    rank = luma.flatten().argsort().argsort().view_as(luma) / luma.numel()
    saturation = (colour.amax(0) - colour.amin(0)) / strongest
    blue = (colour[2] - colour[0]) / strongest
    green = (colour[1] - 0.5 * colour[0] - 0.5 * colour[2]) / strongest
    fine, coarse = _roughness(rgb, CELL), _roughness(rgb, 4 * CELL)
    height, width = luma.shape
    down = ((torch.arange(height) + 0.5) / height)[:, None].expand(height, width)
    alone = [luma, luma**2, rank, rank**2, saturation, blue, green, fine, coarse, down, down**2]
    return 2 * torch.stack([*alone, down * rank, down * blue, down * coarse, rank * coarse])


def _roughness(rgb: Tensor, size: int) -> Tensor:
    """Logarithm of how much brightness differs in squares of that many pixels round each cell: [h, w]."""
    luma = _luma(rgb)[None, None]
    margin = (size - CELL) // 2

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, size, CELL, margin, count_include_pad=False)[0, 0]

    return torch.log((mean(luma**2) - mean(luma) ** 2).clamp(min=0).sqrt() + 0.01)


def _luma(rgb: Tensor) -> Tensor:
    """[3, H, W] -> [H, W]."""
    return 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2]
