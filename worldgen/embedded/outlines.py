"""Ends of upright things drawn where the picture has their outlines, row by row, so that silhouettes are crisp."""

import numpy as np
from scipy import ndimage

_TORN = 0.1  # relative step between neighbouring directions from which on it is the end of a thing

_ASIDE = 0.2  # price, in summed colour change, of an outline's step aside from one row to the next


def follow_outlines(reach: np.ndarray, rgb: np.ndarray, search_deg: float = 1.4) -> np.ndarray:
    """Level distances [W'] of every direction's upright thing, and the panorama rgb [3, H, W], to [H, W].

    Gentle changes are interpolated. Every step is moved, row by row, to the strongest upright edge within
    `search_deg`, along a path that runs on from row to row; so a leaning trunk keeps its outline.
    """
    height, width = rgb.shape[1:]
    coarse = len(reach)
    place = (np.arange(width) + 0.5) / width * coarse
    torn = np.abs(np.log(reach / np.roll(reach, -1))) > _TORN  # between a column and the one to its right
    level = np.broadcast_to(_interpolated(reach, torn, place), (height, width)).copy()
    ends = np.flatnonzero(torn)
    if len(ends) == 0:
        return level
    middle = np.round((ends + 1) * width / coarse).astype(int)
    room = np.minimum(np.diff(middle, append=middle[0] + width), np.diff(middle, prepend=middle[-1] - width)) // 2
    half = max(2, round(search_deg / 360 * width))
    offsets = np.arange(-half, half + 1)
    strength = _upright_edges(rgb)[:, (middle[:, None] + offsets) % width]  # [H, ends, offsets], left of that column
    strength[:, np.abs(offsets) > np.minimum(room - 1, half)[:, None]] = -1e3
    shift = offsets[_strongest_paths(strength)]  # [H, ends]
    for k, end in enumerate(ends):
        left, right = reach[end], reach[(end + 1) % coarse]
        for offset in range(-half, half):
            column = (middle[k] + offset) % width
            moved = (offset < shift[:, k]) != (offset < 0)
            level[moved, column] = np.where(offset < shift[moved, k], left, right)
    return level


def _interpolated(values: np.ndarray, torn: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Values [W'] round the circle read at `place` (columns, edges at whole numbers), never across a tear."""
    count = len(values)
    first = np.floor(place - 0.5).astype(int)
    share = place - 0.5 - first
    before, after = values[first % count], values[(first + 1) % count]
    nearer = np.where(share < 0.5, before, after)
    return np.where(torn[first % count], nearer, before * (1 - share) + after * share)


def _upright_edges(rgb: np.ndarray) -> np.ndarray:
    """[H, W]: how much the colour changes between a pixel's left neighbour and the pixel, over a few rows."""
    smooth = ndimage.uniform_filter1d(rgb, 5, axis=1, mode="nearest")
    return np.abs(smooth - np.roll(smooth, 1, axis=2)).sum(0)


def _strongest_paths(strength: np.ndarray) -> np.ndarray:
    """strength [H, K, N] to places [H, K]: K paths from bottom to top, at most one place aside per row."""
    height, paths, places = strength.shape
    best = strength[-1]
    came = np.zeros((height, paths, places), dtype=np.int8)
    outside = np.full((paths, 1), -np.inf)
    for row in range(height - 2, -1, -1):
        moves = np.stack(
            [np.hstack([outside, best[:, :-1]]) - _ASIDE, best, np.hstack([best[:, 1:], outside]) - _ASIDE]
        )
        choice = moves.argmax(0)
        came[row] = choice - 1
        best = np.take_along_axis(moves, choice[None], 0)[0] + strength[row]
    path = np.empty((height, paths), dtype=np.int64)
    path[0] = best.argmax(-1)
    for row in range(height - 1):
        path[row + 1] = path[row] + np.take_along_axis(came[row], path[row][:, None], 1)[:, 0]
    return path
