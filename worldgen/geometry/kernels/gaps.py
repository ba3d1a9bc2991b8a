"""Gaps in pictures of points on the CPU, in numba: what shows through is dropped, slits of one surface are closed.

geometry/points_by_torch.py does the same to be read. Rows are independent: the result does not depend on the number of
threads. The constants stand here because numba's cache looks at this file alone for changes.
"""

import numpy as np
from numba import njit, prange

GAP_REACH = 3.0  # how far to look across a gap, in discs of the surface on its sides
GAP_SIDES = 6  # of 8 directions in which something nearer shows a gap: a slit has 6, an inner corner 5
TILE = 8  # rows and columns of a piece of the picture whose surroundings are looked at once for all of its pixels


@njit(parallel=True, cache=True, error_model="numpy")
def unhidden(inverse, size, gap):
    """Inverse zdepth [H, W] with 0 where at least 6 of 8 directions meet something nearer within a few of its discs."""
    height, width = inverse.shape
    reaches, peaks = _surroundings(inverse, size)
    out = inverse.copy()
    for row in prange(height):
        for column in range(width):
            tile = row // TILE, column // TILE
            threshold = inverse[row, column] * (1 + gap)
            if threshold == 0 or threshold >= peaks[tile]:
                continue
            open_sides = 0
            for direction in range(9):
                dy, dx = direction // 3 - 1, direction % 3 - 1
                if dy == 0 and dx == 0:
                    continue
                open_sides += 1
                for step in range(1, reaches[tile] + 1):
                    y, x = row + dy * step, column + dx * step
                    if not (0 <= y < height and 0 <= x < width):
                        break
                    if inverse[y, x] > threshold and step <= GAP_REACH * size[y, x]:
                        open_sides -= 1
                        break
                if open_sides > 8 - GAP_SIDES:  # as of most pixels, after three directions
                    break
            if open_sides <= 8 - GAP_SIDES:
                out[row, column] = 0
    return out


@njit(parallel=True, cache=True, error_model="numpy")
def closed(rgb, inverse, size, gap):
    """Inverse zdepth with gaps filled, and rgb in place: pixels that lie between two close pixels of one surface, the
    nearest. Unknown pixels that stay so become black."""
    height, width = inverse.shape
    reaches, _ = _surroundings(inverse, size)
    inverse_out = inverse.copy()
    for row in prange(height):
        for column in range(width):
            if inverse[row, column] > 0:
                continue
            for channel in range(3):
                rgb[channel, row, column] = 0
            farthest = reaches[row // TILE, column // TILE]
            if farthest == 0:
                continue
            weights, nearest = np.float32(0), np.float32(0)
            for axis in range(4):
                dy, dx = (0, 1, 1, 1)[axis], (1, 0, 1, -1)[axis]
                ahead = _reach(inverse, size, farthest, row, column, dy, dx)
                if ahead == 0:
                    continue
                behind = _reach(inverse, size, farthest, row, column, -dy, -dx)
                if behind == 0:
                    continue
                y0, x0, y1, x1 = row + dy * ahead, column + dx * ahead, row - dy * behind, column - dx * behind
                if abs(inverse[y0, x0] - inverse[y1, x1]) > gap * max(inverse[y0, x0], inverse[y1, x1]):
                    continue
                part = np.float32(behind) / (ahead + behind)
                here = part * inverse[y0, x0] + (1 - part) * inverse[y1, x1]
                if here < nearest * (1 - gap):
                    continue
                if here > nearest * (1 + gap):
                    nearest, weights, inverse_out[row, column] = here, np.float32(0), np.float32(0)
                    for channel in range(3):
                        rgb[channel, row, column] = 0
                weight = np.float32(1) / (ahead + behind)
                for channel in range(3):
                    between = part * rgb[channel, y0, x0] + (1 - part) * rgb[channel, y1, x1]
                    rgb[channel, row, column] += weight * between
                inverse_out[row, column] += weight * here
                weights += weight
            if weights > 0:
                for channel in range(3):
                    rgb[channel, row, column] /= weights
                inverse_out[row, column] /= weights
    return inverse_out


@njit(parallel=True, cache=True, error_model="numpy")
def _surroundings(inverse, size):
    """Of each tile of the picture: from how many pixels away another one may close or hide something in it, int64, and
    the largest inverse zdepth of those that do, float32; both 0 where there is none."""
    height, width = inverse.shape
    rows, columns = -(-height // TILE), -(-width // TILE)
    own, peak = np.zeros((rows, columns), np.int64), np.zeros((rows, columns), np.float32)
    for i in prange(rows):
        for row in range(i * TILE, min(height, (i + 1) * TILE)):
            for column in range(width):
                if inverse[row, column] > 0:
                    j = column // TILE
                    own[i, j] = max(own[i, j], int(GAP_REACH * size[row, column]))
                    peak[i, j] = max(peak[i, j], inverse[row, column])
    reaches, peaks = np.zeros((rows, columns), np.int64), np.zeros((rows, columns), np.float32)
    around = own.max() // TILE + 1
    for i in prange(rows):
        for j in range(columns):
            for y in range(max(0, i - around), min(rows, i + around + 1)):
                for x in range(max(0, j - around), min(columns, j + around + 1)):
                    if own[y, x] > (max(abs(y - i), abs(x - j)) - 1) * TILE:
                        reaches[i, j] = max(reaches[i, j], own[y, x])
                        peaks[i, j] = max(peaks[i, j], peak[y, x])
    return reaches, peaks


@njit
def _reach(inverse, size, farthest, row, column, dy, dx):
    """How many steps to the first known pixel; 0 if it is too far for its size, or there is none."""
    height, width = inverse.shape
    for step in range(1, farthest + 1):
        y, x = row + dy * step, column + dx * step
        if not (0 <= y < height and 0 <= x < width):
            return 0
        if inverse[y, x] > 0:
            return step if step <= GAP_REACH * size[y, x] else 0
    return 0
