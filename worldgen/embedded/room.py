"""The room that a panorama's distances suggest: level floor, level ceiling, upright walls; and how far to trust it.

A small network's distances are right at large and wavy in detail. Where a plain room explains them nearly, the room
is the better answer; what it does not explain (furniture, doorways) keeps the network's.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from worldgen.embedded.ground import CONTACT_COLUMNS, ContactCosts, contact_latitude, reach_of_contact
from worldgen.geometry.equirect import directions

_FLOOR_DEG = 35.0  # what lies this far below the horizon counts as floor, above it as ceiling, when both are measured
_WALL_BAND_DEG = (-28.0, 8.0)  # latitudes in which walls are measured: furniture is lower, ceilings are higher
_LINE = ContactCosts(steepest_deg=55.0, wrong_side=0.04, nearer=0.3, farther=0.05, outline=0.6)
_SLACK = 1.25  # how much nearer than the network's a wall may be at the price of a farther one
_NARROW = 21  # of 512 directions: what is narrower is no wall
_FARTHER = 3.5  # how many times as far as the network's a wall may be
_FARTHEST_WALL_M = 40.0


@dataclass(frozen=True, eq=False)
class Room:
    """floor_m, ceiling_m: metres below and above the camera; walls_m: [W] level distance of the wall per direction."""

    floor_m: float
    ceiling_m: float
    walls_m: np.ndarray

    def distance(self, height: int) -> np.ndarray:
        """[height, 2 height] metres along the ray."""
        level = 1 / _resampled(1 / self.walls_m, 2 * height)
        return self.distance_within(np.broadcast_to(level, (height, 2 * height)))

    def distance_within(self, level: np.ndarray) -> np.ndarray:
        """The same with the walls' level distances [H, 2H] given pixel by pixel."""
        down = directions(*level.shape)[..., 1].numpy()
        wall = level / np.sqrt(np.maximum(1 - down**2, 1e-9))
        flat = np.where(down > 0, self.floor_m, self.ceiling_m) / np.maximum(np.abs(down), 1e-9)
        return np.minimum(wall, flat)


def fit_room(distance: np.ndarray, tolerance: float, trusted: np.ndarray | None = None) -> Room:
    """The room behind distances [H, 2H].

    tolerance: log difference that a straight wall may explain away; trusted: bool [H, 2H], where walls may be measured.
    """
    height, width = distance.shape
    down = directions(height, width)[..., 1].numpy()
    latitude_deg = np.degrees(np.arcsin(down))
    fall = distance * down
    floor = float(np.median(fall[latitude_deg > _FLOOR_DEG]))
    ceiling = float(np.median(-fall[latitude_deg < -_FLOOR_DEG]))
    band = (latitude_deg > _WALL_BAND_DEG[0]) & (latitude_deg < _WALL_BAND_DEG[1])
    wall = band & (fall < 0.85 * floor) & (-fall < 0.85 * ceiling)
    if trusted is not None:
        wall &= trusted
    level = np.where(wall, distance * np.sqrt(1 - down**2), np.nan)
    counted = wall.sum(0) >= 2
    if counted.sum() < width // 4:
        measured = np.full(width, float(np.median(distance)))
    else:
        measured = np.full(width, np.nan)
        measured[counted] = np.nanmedian(level[:, counted], axis=0)
        known = np.flatnonzero(counted)
        measured = np.interp(np.arange(width), known, measured[known], period=width)
    smooth = ndimage.median_filter(np.log(measured), max(3, width // 60), mode="wrap")
    smooth = ndimage.gaussian_filter(smooth, width / 180, mode="wrap")
    straight = np.log(_rectangle(np.exp(smooth)))
    return Room(floor, ceiling, np.exp(straight + beyond(smooth - straight, tolerance)))


def fit_lines(room: Room, rgb: Tensor) -> Room:
    """The room with its walls where the floor ends in the picture rgb [3, H, W], and the ceiling where they end.

    A small network takes a large room for a small one: a line farther off than its own costs little, a nearer much.
    """
    nowhere = torch.zeros(rgb.shape[1:], dtype=torch.bool)
    walls = _resampled(room.walls_m, CONTACT_COLUMNS)
    floor_line = contact_latitude(rgb, nowhere, _LINE, np.arctan(_SLACK * room.floor_m / walls))
    moved = np.minimum(reach_of_contact(floor_line, room.floor_m, _FARTHEST_WALL_M), _FARTHER * walls)
    moved = ndimage.median_filter(moved, _NARROW, mode="wrap")
    ceiling_line = contact_latitude(rgb.flip(1), nowhere, _LINE, np.arctan(_SLACK * room.ceiling_m / walls))
    ceiling = float(np.median(moved * np.tan(ceiling_line)))
    return Room(room.floor_m, min(max(ceiling, 0.6 * room.ceiling_m), 4 * room.ceiling_m), moved)


def _resampled(values: np.ndarray, count: int) -> np.ndarray:
    """[W] round the circle to [count]."""
    place = (np.arange(count) + 0.5) / count * len(values) - 0.5
    return np.interp(place, np.arange(len(values)), values, period=len(values))


def beyond(excess: np.ndarray, tolerance: float) -> np.ndarray:
    """What of `excess` lies beyond +-tolerance: 0 within, less the tolerance outside (soft threshold)."""
    return np.sign(excess) * np.maximum(np.abs(excess) - tolerance, 0)


def _rectangle(walls: np.ndarray) -> np.ndarray:
    """The rectangle round the origin nearest to level distances [W], as level distances [W]."""
    angle = ((np.arange(len(walls)) + 0.5) / len(walls) - 0.5) * 2 * math.pi
    best, best_miss = walls, math.inf
    for turn in np.radians(np.arange(0, 90, 3)):
        facing = np.cos(angle[None] - (turn + np.arange(4) * math.pi / 2)[:, None])  # [4, W]
        reach = np.full(4, np.median(walls))
        for _ in range(6):
            hits = reach[:, None] / np.where(facing > 0.05, facing, np.nan)
            nearest = np.nanargmin(hits, axis=0)
            for side in range(4):
                mine = nearest == side
                if mine.any():
                    reach[side] = np.median(walls[mine] * facing[side, mine])
        rectangle = np.nanmin(hits, axis=0)
        miss = np.minimum(np.abs(np.log(walls / rectangle)), 0.3).mean()
        if miss < best_miss:
            best, best_miss = rectangle, miss
    return best


def without_specks(values: np.ndarray, size: int = 5) -> np.ndarray:
    """Median filter of equirectangular [H, W]."""
    wrapped = np.pad(values, ((0, 0), (size, size)), mode="wrap")
    return ndimage.median_filter(wrapped, size, mode="nearest")[:, size:-size]


def follow_colours(values: np.ndarray, rgb: np.ndarray, radius: int, colour_spread: float, rounds: int) -> np.ndarray:
    """Joint bilateral filter of values [H, W] under rgb [3, H, W], equirectangular: steps move to colour edges."""
    offsets = [(dy, dx) for dy in range(-radius, radius + 1) for dx in range(-radius, radius + 1)]
    for _ in range(rounds):
        total, weights = np.zeros_like(values), np.zeros_like(values)
        for dy, dx in offsets:
            shifted = _shifted(rgb, dy, dx)
            near = math.exp(-2 * (dy * dy + dx * dx) / radius**2)
            weight = near * np.exp(-0.5 * np.square(rgb - shifted).sum(0) / colour_spread**2)
            total += weight * _shifted(values[None], dy, dx)[0]
            weights += weight
        values = total / weights
    return values


def _shifted(image: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """[C, H, W] moved by whole pixels: round the back, and repeated at the poles."""
    rows = np.clip(np.arange(image.shape[1]) - dy, 0, image.shape[1] - 1)
    return np.roll(image[:, rows], dx, axis=2)
