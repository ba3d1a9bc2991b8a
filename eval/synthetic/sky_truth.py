"""Where the real panoramas show sky: `sky_mask` on the whole panorama, mended by hand where a look showed it wrong."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from eval.benchmarks.indoors import NEITHER, ROOMS
from eval.synthetic.panoramas import truth_panoramas
from worldgen.embedded.sky import sky_mask

_GRID = (512, 1024)  # the rows below count on it
_WOODS = frozenset({"forest", "muir_wood"})
_BLURRED = 2  # pixels at the outline that nobody can tell


class KnownSky(NamedTuple):
    """A panorama. rgb: [3, H, W]; sky, told: [512, 1024] floats, 1 where sky is seen, and where it was told."""

    name: str
    rgb: Tensor
    sky: Tensor
    told: Tensor


def known_skies() -> Iterator[KnownSky]:
    """All panoramas but those that are neither rooms nor open air. Windows of rooms are no sky."""
    for name, rgb in truth_panoramas():
        if name not in NEITHER:
            small = F.interpolate(rgb[None], _GRID, mode="area")[0]
            sky, told = _label(name, small)
            yield KnownSky(name, rgb, torch.from_numpy(sky).float(), torch.from_numpy(told).float())


def _label(name: str, rgb: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Sky, and where that was told, bool [512, 1024] each."""
    told = np.ones(_GRID, dtype=bool)
    if name in ROOMS:
        return ~told, told
    luma = (0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2]).numpy()
    row, column = np.indices(_GRID)
    if name in _WOODS:
        return _between_trees(luma, rgb[2].numpy(), row)
    sky = sky_mask(rgb).numpy()
    if name == "dawn":  # a cloud
        cloud = (row >= 200) & (row < 242) & (column >= 760) & (column < 890)
        sky |= cloud & (luma > 0.5)
        told &= sky | ~cloud | (luma <= 0.4)
    if name == "venice":  # a cloud
        sky |= (row >= 190) & (row < 232) & (column >= 325) & (column < 410) & (luma > 0.55)
    if name == "sunset":  # a skyline in haze
        told &= (row <= 232) | (row >= 256) | ((row <= 246) & (sky | (luma <= 0.45)))
    if name == "sky":  # its horizon is lost in haze
        told &= (row <= 232) | (row >= 275)
    if name == "sunrise":  # fog
        told &= sky | (row <= 200) | (row >= 262) | (luma <= 0.55)
    if name == "night":  # between branches
        told &= sky | (row <= 180) | (row >= 256) | (luma <= 0.45)
    return sky, told & ~_outline(sky, _BLURRED)


def _between_trees(luma: np.ndarray, blue: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gaps that are white are sky; what is half as bright may be leaves in the sun, and is not told."""
    above = row < 250
    sky = above & (luma > 0.93) & (blue > 0.9)
    told = sky | (luma <= np.where(above, 0.55, 0.6))
    near = ndimage.binary_dilation(sky, np.ones((3, 3)), _BLURRED)
    return sky, told & (sky | ~near)


def _outline(mask: np.ndarray, width: int) -> np.ndarray:
    square = np.ones((3, 3), dtype=bool)
    return ndimage.binary_dilation(mask, square, width) & ndimage.binary_dilation(~mask, square, width)
