"""How far the ground reaches in every direction of an outdoor panorama before something upright begins.

One line round the horizon, the contact line, found as the cheapest path through colour, edges and a prior: where the
pictures say little it stays smooth and moderately far, which is wrong by less than a wall at arm's length.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from worldgen.embedded.sky import colour_density

CONTACT_COLUMNS = 512
_ROWS = 512  # of the whole panorama's height; only those of the search band are used
_ROUNDS = 2  # the ground found so far teaches the ground's colours
_SURE = 2.0  # log odds of a pixel that count at most: one that is surely wrong shall not outweigh its neighbours
_MARGIN = 6  # rows under the line that teach nothing
_NADIR = 0.94  # share of the height below which a panorama shows its tripod, or what an inpainter made of the pole


@dataclass(frozen=True)
class ContactCosts:
    """What the contact line pays; latitudes in degrees below the horizon."""

    steepest_deg: float = 32.0  # nothing upright is looked for nearer than this
    wrong_side: float = 0.08  # per row: a pixel on the wrong side of the line, by its log odds
    edge: float = 3.2  # gained where colours change most across the line
    typical_height_m: float = 8.0  # of what stands upright: its skyline tells how far off it is when nothing else does
    camera_height_m: float = 1.6
    nearer: float = 0.02  # per row below the latitude that is expected
    farther: float = 0.02  # per row above it
    bend: float = 0.12  # per squared row between neighbouring columns: slopes are cheaper than stairs ...
    largest_jump: float = 30.0  # ... but no more than this: things do end ...
    outline: float = 0.93  # ... and by this share less where the picture shows an upright outline


def contact_latitude(
    rgb: Tensor,
    sky: Tensor,
    costs: ContactCosts | None = None,
    expected: np.ndarray | None = None,
    log_odds: Tensor | None = None,
) -> np.ndarray:
    """rgb [3, H, W], sky bool [H, W] -> [512] radians below the horizon, > 0, one per direction, left to right.

    expected: [512] radians, where the line is thought to be; None: where the skyline suggests it. log_odds: [h, w],
    that places are ground; None: colours tell, those of the ground below the line, and of what is above it.
    """
    costs = costs or ContactCosts()
    small = F.interpolate(rgb[None], (_ROWS, CONTACT_COLUMNS), mode="area")[0].numpy().transpose(1, 2, 0)
    small_sky = F.interpolate(sky[None, None].float(), (_ROWS, CONTACT_COLUMNS), mode="area")[0, 0].numpy() > 0.5
    first, last = _ROWS // 2, _ROWS // 2 + round(costs.steepest_deg / 180 * _ROWS)
    latitude_deg = (np.arange(first, last) - first + 0.5) * 180 / _ROWS
    nearer = latitude_deg[:, None] - (_expected_deg(small_sky, costs) if expected is None else np.degrees(expected))
    fixed = -costs.edge * _edges(small)[first:last]
    fixed += np.where(nearer > 0, costs.nearer * nearer, -costs.farther * nearer) * _ROWS / 180
    largest_jump = costs.largest_jump * (1 - costs.outline * _outlines(small))

    def cheapest(odds: np.ndarray) -> np.ndarray:
        # Line at row k: rows k and below are ground, the rows above it, down from the horizon, are not.
        odds = np.where(small_sky, -_SURE, odds)[first:last]
        above = np.cumsum(odds, 0) - odds
        cost = fixed + costs.wrong_side * (2 * above - odds.sum(0))
        return first + _cheapest_loop(cost, costs.bend, largest_jump)

    if log_odds is not None:
        odds = F.interpolate(log_odds[None, None], small_sky.shape, mode="bilinear", align_corners=False)[0, 0]
        line = cheapest(odds.clamp(-_SURE, _SURE).numpy())
    else:
        row = np.arange(_ROWS)[:, None]
        line = np.full(CONTACT_COLUMNS, last - 1)
        for _ in range(_ROUNDS):
            ground = (row > line + _MARGIN) & (row < _NADIR * _ROWS)
            upright = ~small_sky & (row < np.minimum(line - _MARGIN, first - _MARGIN)) & (row > 0.22 * _ROWS)
            line = cheapest(_ground_odds(small, ground, upright))
    return np.radians((line - first + 0.5) * 180 / _ROWS)


def reach_of_contact(contact: np.ndarray, camera_height_m: float, farthest_m: float) -> np.ndarray:
    """Latitudes below the horizon [W] of the contact line to level distances [W] in metres.

    The line comes in whole rows; neighbours of nearly the same row are averaged (their inverse distances, as a
    straight wall's is the smoothest), ends of things stay sharp.
    """
    inverse = np.tan(contact) / camera_height_m
    smooth = inverse.copy()
    offsets = range(-9, 10)
    for _ in range(3):
        total, weights = np.zeros_like(smooth), np.zeros_like(smooth)
        for offset in offsets:
            other = np.roll(smooth, offset)
            weight = np.exp(-0.5 * (offset / 5) ** 2 - 0.5 * ((other - smooth) / 0.01) ** 2)
            total += weight * other
            weights += weight
        smooth = total / weights
    return 1 / np.maximum(smooth, 1 / farthest_m)


def _expected_deg(sky: np.ndarray, costs: ContactCosts) -> np.ndarray:
    """[W] degrees below the horizon where a thing of typical height that reaches the skyline would meet the ground."""
    half = len(sky) // 2
    skyline = 90 * (1 - sky[:half].argmin(0) / half)
    skyline = ndimage.median_filter(skyline, 15, mode="wrap")
    return np.clip(skyline * costs.camera_height_m / (costs.typical_height_m - costs.camera_height_m), 0.7, 6.0)


def _ground_odds(rgb: np.ndarray, ground: np.ndarray, upright: np.ndarray) -> np.ndarray:
    """[H, W], log odds in [-_SURE, _SURE] that a colour is that of the known `ground`, and not of what stands up."""
    blurred = ndimage.gaussian_filter(rgb, (1, 1, 0), mode=("nearest", "wrap", "nearest"))
    ground_count = colour_density(blurred, rgb[ground]) * ground.mean() + 0.01
    upright_count = colour_density(blurred, rgb[upright]) * upright.mean() + 0.01 if upright.any() else 0.01
    return np.clip(np.log(ground_count / upright_count), -_SURE, _SURE)


def _edges(rgb: np.ndarray) -> np.ndarray:
    """[H, W] in 0..1: how much the colour changes from just above a row to just below it."""
    smooth = ndimage.uniform_filter(rgb, (4, 5, 1), mode=("nearest", "wrap", "nearest"))
    change = np.linalg.norm(np.roll(smooth, 2, 0) - np.roll(smooth, -2, 0), axis=-1)
    return np.minimum(change / 0.35, 1.0)


def _outlines(rgb: np.ndarray) -> np.ndarray:
    """[W] in 0..1: how clear an upright edge runs between each column and the one to its left, about the horizon."""
    band = rgb[round(0.3 * len(rgb)) : round(0.53 * len(rgb))]
    band = ndimage.uniform_filter(band, (7, 1, 1), mode="nearest")
    change = np.linalg.norm(band - np.roll(band, 1, 1), axis=-1)
    unbroken = np.quantile(ndimage.maximum_filter(change, (1, 3), mode="wrap"), 0.35, axis=0)
    return np.minimum((unbroken / 0.2) ** 1.5, 1.0)


def _cheapest_loop(cost: np.ndarray, bend: float, largest_jump: np.ndarray) -> np.ndarray:
    """The row per column [W] of the closed path through cost [R, W].

    A step of n rows from the column to the left costs n^2 * bend, at most that column's largest_jump [W].
    """
    rows, columns = cost.shape
    step = np.square(np.arange(rows)[:, None] - np.arange(rows)[None]) * bend
    start = int(np.argmin(cost.min(0)))  # the surest column: the loop is cut there and nowhere shows it
    order = np.roll(np.arange(columns), -start)
    first_row = int(np.argmin(cost[:, start]))
    best = np.full(rows, math.inf)
    best[first_row] = 0.0
    came = np.zeros((columns + 1, rows), dtype=np.int64)
    for place in range(1, columns + 1):
        column = order[place % columns]
        total = best[None] + np.minimum(step, largest_jump[column])
        came[place] = total.argmin(1)
        best = total.min(1) + cost[:, column]
    path = np.empty(columns, dtype=np.int64)
    row = first_row
    for place in range(columns, 0, -1):
        row = came[place][row]
        path[order[place - 1]] = row
    return path
