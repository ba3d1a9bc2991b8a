"""Prompts from a photo's statistics, without a language model."""

import math

import numpy as np
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from worldgen.errors import expect
from worldgen.models.protocols import Adapter
from worldgen.types import Prompts

_ROWS = 96  # the statistics are those of a thumbnail: they shall not depend on the photo's resolution
_SMOOTH = 0.02  # luma gradient per thumbnail pixel below which a sky or a painted ceiling counts as smooth
_BIAS = -0.25
_WEIGHTS = {  # statistic: (mean, spread, weight > 0 for indoors); logistic regression on rooms, nature and panoramas
    "top_brighter": (0.099, 0.193, -0.26),
    "straight_lines": (0.288, 0.108, 1.03),
    "smooth_top_blue": (-0.009, 0.151, -1.14),
    "gradient": (0.037, 0.017, 0.61),
    "saturation": (0.282, 0.137, -1.07),
    "dark_share": (0.069, 0.102, 0.63),
}


_SKY_BLUE, _SKY_BLUE_SHARE = 0.08, 0.04  # how much bluer than red a blue sky is; part of the photo. Rooms: 0.02 at most
_SKY_LUMA, _SKY_SHARE = 0.5, 0.03  # of a sky of any colour, at least
_AS_BRIGHT, _OUTSHINES = 0.09, 0.3  # most of the rest that may be as bright; how much darker half of it is, in luma
_SKY_STEEP = 0.03  # luma gradient per thumbnail pixel that a blue sky may have
_UNDER_BLUE_SKY = 0.1  # how likely a photo with a blue sky is taken indoors for all that: windows may reach its top
_FOR_BRIGHT_SKY = 0.75  # log odds: ceilings and backdrops may outshine the rest, too


class TemplatePrompter(Adapter):
    """Fulfils Prompter: tells indoor from outdoor by simple statistics and fills templates. It recognises nothing.

    style: only False; whoever asks for the medium is told who can name it.
    """

    def __init__(self, style: bool = False) -> None:
        expect("prompts.style", style, not style, "false: templates name no medium, prompts=vlm does")

    def __call__(self, rgb: Tensor) -> Prompts:
        """rgb [3, H, W] in [0, 1], the photo."""
        thumbnail = _thumbnail(rgb)
        probability = indoor_probability(rgb)
        indoor = probability > 0.5
        sure = max(probability, 1 - probability)
        by = "a blue sky" if shows_blue_sky(thumbnail) else "colour and texture"
        luma = float(thumbnail.mean())
        light = "dark" if luma < 0.22 else "dim" if luma < 0.38 else "bright" if luma > 0.6 else "even"
        third = _ROWS // 3
        above, below = _colour_name(thumbnail[:, :third]), _colour_name(thumbnail[:, -third:])
        place = "an indoor room" if indoor else "an outdoor landscape"
        return Prompts(
            atmosphere=f"{place} in {light} light, wide empty view, no people, photograph",
            sky=f"{above} ceiling, plain" if indoor else f"{above} sky, empty",
            ground=f"{below} floor, plain" if indoor else f"{below} ground, open",
            indoor=indoor,
            source=f"template: {'indoor' if indoor else 'outdoor'} guessed from {by} ({sure:.0%} sure),"
            " nothing was recognised",
        )


def indoor_probability(rgb: Tensor) -> float:
    """How likely a photo [3, H, W] was taken indoors, judging by its statistics and by signs of a sky."""
    thumbnail = _thumbnail(rgb)
    measured = _statistics(thumbnail)
    score = _BIAS
    for name, (mean, spread, weight) in _WEIGHTS.items():
        score += weight * min(2.5, max(-2.5, (measured[name] - mean) / spread))
    if outshines_rest(thumbnail):
        score -= _FOR_BRIGHT_SKY
    probability = 1 / (1 + math.exp(-score))
    return min(probability, _UNDER_BLUE_SKY) if shows_blue_sky(thumbnail) else probability


def shows_blue_sky(rgb: np.ndarray) -> bool:
    """Whether something smooth at the top of a thumbnail [3, 96, W] is blue."""
    red, green, blue = rgb
    luma = _luma(rgb)
    is_blue = (blue > red + _SKY_BLUE) & (blue >= green) & (luma > _SKY_LUMA / 2)
    return bool(_connected_to_top(is_blue & (np.hypot(*_slopes(luma)) < _SKY_STEEP)).mean() > _SKY_BLUE_SHARE)


def outshines_rest(rgb: np.ndarray) -> bool:
    """Whether something smooth at the top of a thumbnail [3, 96, W] outshines nearly all of the rest: a sky of any
    colour does, and so may a ceiling or a backdrop."""
    luma = _luma(rgb)
    bright = _connected_to_top((luma > _SKY_LUMA) & (np.hypot(*_slopes(luma)) < _SMOOTH))
    rest = luma[~ndimage.binary_dilation(bright, iterations=2)]
    if bright.mean() < _SKY_SHARE or not rest.size:
        return False
    sky = np.median(luma[bright])
    return bool((rest > sky - 0.02).mean() < _AS_BRIGHT and sky - np.median(rest) > _OUTSHINES)


def _thumbnail(rgb: Tensor) -> np.ndarray:
    """[3, 96, W] float32."""
    width = min(4 * _ROWS, max(_ROWS // 3, round(_ROWS * rgb.shape[2] / rgb.shape[1])))
    small = F.interpolate(rgb[None], (_ROWS, width), mode="bilinear", antialias=True, align_corners=False)
    return small[0].clamp(0, 1).numpy()


def _statistics(rgb: np.ndarray) -> dict[str, float]:
    """The six numbers that the score is made of; rgb [3, 96, W]."""
    red, _, blue = rgb
    luma = _luma(rgb)
    across, along = _slopes(luma)
    gradient = np.hypot(across, along)
    third = _ROWS // 3
    smooth = ndimage.maximum_filter(gradient, 3) < _SMOOTH
    top = _connected_to_top(smooth | (luma > 0.97))
    if top.sum() < 20:
        top = np.broadcast_to(np.arange(_ROWS)[:, None] < _ROWS // 5, luma.shape)
    angle = np.arctan2(np.abs(along), np.abs(across))
    edges = gradient > 0.04
    upright_or_level = (angle < 0.12) | (angle > math.pi / 2 - 0.12)
    return {
        "top_brighter": float(luma[:third].mean() - luma[-third:].mean()),
        "straight_lines": float(upright_or_level[edges].mean()) if edges.sum() > 20 else 0.2,
        "smooth_top_blue": float((blue - red)[top].mean()),
        "gradient": float(gradient.mean()),
        "saturation": float(((rgb.max(0) - rgb.min(0)) / (rgb.max(0) + 1e-3)).mean()),
        "dark_share": float((luma < 0.15).mean()),
    }


def _luma(rgb: np.ndarray) -> np.ndarray:
    return 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2]


def _slopes(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Across and along, per pixel."""
    return ndimage.sobel(luma, 1) / 8, ndimage.sobel(luma, 0) / 8


def _connected_to_top(mask: np.ndarray) -> np.ndarray:
    """The parts of a mask that reach its first two rows."""
    labels, _ = ndimage.label(mask)
    touching = np.unique(labels[:2])
    return np.isin(labels, touching[touching > 0])


def _colour_name(rgb: np.ndarray) -> str:
    """One word for the mean colour of [3, H, W]."""
    red, green, blue = (float(channel) for channel in rgb.mean((1, 2)))
    low, high = min(red, green, blue), max(red, green, blue)
    if high - low < 0.12 * high:
        return "dark" if high < 0.25 else "white" if high > 0.8 else "grey"
    if blue == high:
        return "purple" if red > green * 1.05 else "blue"
    if green == high:
        return "green"
    return "brown" if high < 0.6 else "yellow" if green > 0.85 * red else "orange"
