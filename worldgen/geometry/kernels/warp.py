"""Which pixels of a picture another camera sees, on the CPU, in numba.

Every thread draws its share of the pixels into an image of its own, and the nearest of all counts: the result does not
depend on the number of threads. The constants stand here because numba's cache looks at this file alone for changes.
"""

import numpy as np
from numba import njit, prange

COVER = 0.55  # of the way to the next pixel is hidden by one: a grid is closed from a half on
COVER_MIN_PX = 0.5
MAX_PX = 24.0  # no pixel is drawn larger,
STRETCH = 8.0  # nor this much larger than if its surface faced both cameras: its neighbours lie on others, then


@njit(parallel=True, cache=True, error_model="numpy")
def survivors(inverse, known, from_lens, motion, lens, width, height, near, tolerance, threads):
    """bool [H, W]: the known pixels that are seen from another camera.

    inverse: [H, W], 1 / zdepth; from_lens, lens: fx, fy, cx, cy in pixels; motion: [4, 4] from the one camera to the
    other; width, height: of the other's picture; near: metres, nearer points are not seen; tolerance: relative depth
    within which two pixels lie on one surface.
    """
    rows, columns = inverse.shape
    seen = np.zeros((rows, columns, 3), np.float32)
    for row in prange(rows):
        for column in range(columns):
            if known[row, column]:
                _place(inverse[row, column], row, column, from_lens, motion, lens, near, seen[row, column])
    nearest = np.zeros((threads, height, width), np.float32)
    for thread in prange(threads):
        for row in range(rows * thread // threads, rows * (thread + 1) // threads):
            for column in range(columns):
                here = seen[row, column, 2]
                if here > 0:
                    size = lens[0] * here / (from_lens[0] * inverse[row, column])
                    _cover(seen, row, column, min(size * np.float32(STRETCH), np.float32(MAX_PX)), nearest[thread])
    for row in prange(height):
        for thread in range(1, threads):
            for column in range(width):
                nearest[0, row, column] = max(nearest[0, row, column], nearest[thread, row, column])
    survives = np.zeros((rows, columns), np.bool_)
    for row in prange(rows):
        for column in range(columns):
            u, v, here = seen[row, column]
            if here > 0 and u >= 0 and u < width and v >= 0 and v < height:
                slope = _slope(seen, row, column, 0) + _slope(seen, row, column, 1)
                survives[row, column] = nearest[0, int(v), int(u)] <= here * (1 + tolerance) + slope
    return survives


@njit(forceinline=True)
def _place(inverse, row, column, from_lens, motion, lens, near, spot):
    """Writes pixel u, v and inverse zdepth in the other picture, if it lies before that camera."""
    z = np.float32(1.0) / inverse
    x = (column + np.float32(0.5) - from_lens[2]) / from_lens[0] * z
    y = (row + np.float32(0.5) - from_lens[3]) / from_lens[1] * z
    there = motion[2, 0] * x + motion[2, 1] * y + motion[2, 2] * z + motion[2, 3]
    if there > near:
        spot[2] = np.float32(1.0) / there
        spot[0] = lens[0] * (motion[0, 0] * x + motion[0, 1] * y + motion[0, 2] * z + motion[0, 3]) * spot[2] + lens[2]
        spot[1] = lens[1] * (motion[1, 0] * x + motion[1, 1] * y + motion[1, 2] * z + motion[1, 3]) * spot[2] + lens[3]


@njit(forceinline=True)
def _step(seen, row, column, axis):
    """To the next pixel of the same surface, the one whose inverse zdepth is closer: by how much that changes, and how
    far it lies in u and v; 0 where there is none."""
    change, u, v = np.float32(np.inf), np.float32(0.0), np.float32(0.0)
    for step in (-1, 1):
        y, x = row + step * (axis == 0), column + step * (axis == 1)
        if 0 <= y < seen.shape[0] and 0 <= x < seen.shape[1] and seen[y, x, 2] > 0:
            other = abs(seen[y, x, 2] - seen[row, column, 2])
            if other < change:
                change = other
                u, v = abs(seen[y, x, 0] - seen[row, column, 0]), abs(seen[y, x, 1] - seen[row, column, 1])
    return (change if change < np.inf else np.float32(0.0)), u, v


@njit(forceinline=True)
def _slope(seen, row, column, axis):
    """By how much the inverse zdepth changes to the next pixel of the same surface, or over one of the other camera's
    pixels if several lie in it: the nearest of these hides none of the others."""
    change, u, v = _step(seen, row, column, axis)
    return change / min(max(u, v, np.float32(1.0) / np.float32(STRETCH)), np.float32(1.0))


@njit(forceinline=True)
def _cover(seen, row, column, most, nearest):
    """Draws a pixel, as a rectangle that reaches those of its neighbours, into inverse zdepths [H, W]; the nearest
    stays. most: pixels that it may reach."""
    _, u0, v0 = _step(seen, row, column, 0)
    _, u1, v1 = _step(seen, row, column, 1)
    u, v, here = seen[row, column]
    reach_u = max(min((u0 + u1) * np.float32(COVER), most), np.float32(COVER_MIN_PX))
    reach_v = max(min((v0 + v1) * np.float32(COVER), most), np.float32(COVER_MIN_PX))
    height, width = nearest.shape
    if not (u + reach_u > 0 and u - reach_u < width and v + reach_v > 0 and v - reach_v < height):
        return
    left, right = max(0, int(np.ceil(u - reach_u - 0.5))), min(width, int(np.floor(u + reach_u - 0.5)) + 1)
    top, bottom = max(0, int(np.ceil(v - reach_v - 0.5))), min(height, int(np.floor(v + reach_v - 0.5)) + 1)
    for y in range(top, bottom):
        for x in range(left, right):
            if here > nearest[y, x]:
                nearest[y, x] = here
