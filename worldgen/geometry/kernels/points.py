"""Points rendered with visibility on the CPU, in numba; geometry/points_by_torch.py does the same to be read.

Rows are independent, and the points of a row keep their order: the result depends neither on the number of threads nor
on how a cloud is cut into pieces. The constants stand here because numba's cache looks at this file alone for changes.
"""

import numpy as np
from numba import njit, prange

CORE = 0.75  # radius of the disc that hides what lies behind, in spacings: a square grid is closed from 1/sqrt(2) on
SMOOTH = 1.0  # radius of the disc that is blended, in spacings
CORE_MIN_PX = 0.71  # a point covers the pixel that it falls into, wherever in it
SMOOTH_MIN_PX = 1.0
MAX_PX = 24.0  # no spacing counts for more
SLOPE_LIMIT = 0.5  # a disc's inverse depth changes by at most this part of itself within its radius
GAP_REACH = 3.0  # how far to look across a gap, in discs of the surface on its sides
GAP_SIDES = 6  # of 8 directions in which something nearer shows a gap: a slit has 6, an inner corner 5

DISC = 9
"""A disc's numbers: pixel u, v; inverse zdepth and its gradient per pixel; spacing in pixels (< 0: not seen); rgb."""
CHUNKS = 64
"""Into how many a cloud's points are cut for the threads."""
BAND_ROWS = 16
"""Rows of a picture that one thread draws."""
TILE = 8
"""Rows and columns of a piece of the picture whose surroundings are looked at once for all of its pixels."""


@njit(parallel=True, cache=True, error_model="numpy")
def project_points(xyz, rgb, normals, spacing, w2c, lens, width, height, near, discs, counts):
    """Points as discs [N, DISC], and how many of each chunk touch each band of rows, counts [CHUNKS, bands].

    xyz, rgb, normals: [N, 3]; spacing: [N] metres; w2c: [4, 4]; lens: fx, fy, cx, cy in pixels; near: metres.
    """
    count = len(xyz)
    for chunk in prange(CHUNKS):
        for i in range(count * chunk // CHUNKS, count * (chunk + 1) // CHUNKS):
            _project(xyz[i], normals[i], spacing[i], w2c, lens, width, near, discs[i])
            low, high = _bands_of(discs[i], height)
            if low < high:
                discs[i, 6:] = rgb[i]
            for band in range(low, high):
                counts[chunk, band] += 1


@njit(parallel=True, cache=True, error_model="numpy")
def project_view(rgb, distance, known, from_lens, motion, lens, width, height, near, discs, counts):
    """The pixels of a view as discs [H * W, DISC], as `project_points` makes them of its points and normals.

    rgb: [3, H, W]; distance: [H, W] metres along the ray; known: bool [H, W]; from_lens, lens: fx, fy, cx, cy of the
    view and of the picture; motion: [4, 4] from the one camera to the other. What is not known is not drawn.
    """
    rows, columns = distance.shape
    inverse = np.empty((rows, columns), np.float32)
    for row in prange(rows):
        y = (np.float32(row) + np.float32(0.5) - from_lens[3]) / from_lens[1]
        for column in range(columns):
            x = (np.float32(column) + np.float32(0.5) - from_lens[2]) / from_lens[0]
            ahead = np.float32(1.0) / np.sqrt(np.float32(1.0) + x * x + y * y)
            inverse[row, column] = np.float32(1.0) / max(distance[row, column] * ahead, np.float32(1e-6))
    for chunk in prange(CHUNKS):
        for row in range(rows * chunk // CHUNKS, rows * (chunk + 1) // CHUNKS):
            b = (np.float32(row) + np.float32(0.5) - from_lens[3]) / from_lens[1]
            for column in range(columns):
                disc = discs[row * columns + column]
                disc[5] = -1.0
                if not known[row, column]:
                    continue
                here = inverse[row, column]
                z = np.float32(1.0) / here
                a = (np.float32(column) + np.float32(0.5) - from_lens[2]) / from_lens[0]
                slope_a = from_lens[0] * _gentler(inverse, known, row, column, 0, 1)
                slope_b = from_lens[1] * _gentler(inverse, known, row, column, 1, 0)
                nx, ny, nz = slope_a, slope_b, here - a * slope_a - b * slope_b
                scale = np.float32(-1.0) / max(np.sqrt(nx * nx + ny * ny + nz * nz), np.float32(1e-12))
                _project(
                    (a * z, b * z, z),
                    (nx * scale, ny * scale, nz * scale),
                    z / from_lens[0],
                    motion,
                    lens,
                    width,
                    near,
                    disc,
                )
                low, high = _bands_of(disc, height)
                if low < high:
                    disc[6], disc[7], disc[8] = rgb[0, row, column], rgb[1, row, column], rgb[2, row, column]
                for band in range(low, high):
                    counts[chunk, band] += 1


@njit(forceinline=True)
def _gentler(values, known, row, column, down, right):
    """Of the differences to the next and from the last pixel the smaller one; 0 where neither is known."""
    step = np.float32(np.inf)
    y, x = row - down, column - right
    if y >= 0 and x >= 0 and known[y, x]:
        step = values[row, column] - values[y, x]
    y, x = row + down, column + right
    if y < values.shape[0] and x < values.shape[1] and known[y, x]:
        forward = values[y, x] - values[row, column]
        step = forward if abs(forward) < abs(step) else step
    return step if abs(step) < np.float32(np.inf) else np.float32(0)


@njit(parallel=True, cache=True, error_model="numpy")
def draw_discs(discs, starts, first, width, height, tolerance):
    """Rgb [3, H, W], inverse zdepth [H, W], and disc sizes in pixels [H, W]; 0 where there is no disc.

    discs: [N, DISC] in pieces that begin at starts [P + 1]; first: int64 [P, bands], how many discs of each piece touch
    each band; it is written to. tolerance: relative depth within which discs blend.
    """
    bands = first.shape[1]
    total = 0
    band_starts = np.zeros(bands + 1, np.int64)
    for band in range(bands):
        for piece in range(len(first)):
            total, first[piece, band] = total + first[piece, band], total
        band_starts[band + 1] = total
    order = np.empty(total, np.int32)
    for piece in prange(len(first)):
        for i in range(starts[piece], starts[piece + 1]):
            low, high = _bands_of(discs[i], height)
            for band in range(low, high):
                order[first[piece, band]] = i
                first[piece, band] += 1
    image = np.zeros((3, height, width), np.float32)
    inverse, sizes = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    for band in prange(bands):
        rows = (band * BAND_ROWS, min(height, (band + 1) * BAND_ROWS))
        members = order[band_starts[band] : band_starts[band + 1]]
        nearest = _nearest(members, discs, rows, width)
        _blend(members, discs, _behind(nearest, tolerance), rows, image, inverse, sizes)
    return image, inverse, sizes


@njit(forceinline=True)
def _project(point, normal, spacing, w2c, lens, width, near, disc):
    """Writes a disc: pixel u, v, inverse zdepth and its gradient per pixel, spacing in pixels (< 0: not seen)."""
    x = w2c[0, 0] * point[0] + w2c[0, 1] * point[1] + w2c[0, 2] * point[2] + w2c[0, 3]
    y = w2c[1, 0] * point[0] + w2c[1, 1] * point[1] + w2c[1, 2] * point[2] + w2c[1, 3]
    z = w2c[2, 0] * point[0] + w2c[2, 1] * point[1] + w2c[2, 2] * point[2] + w2c[2, 3]
    disc[5] = -1.0
    if not z > near:
        return
    inverse = np.float32(1.0) / z
    u = lens[0] * x * inverse + lens[2]
    v = lens[1] * y * inverse + lens[3]
    size = min(spacing * lens[0] * inverse, np.float32(MAX_PX))
    reach = max(size, np.float32(SMOOTH_MIN_PX))
    if not (u > -reach and u < width + reach):
        return
    nx = w2c[0, 0] * normal[0] + w2c[0, 1] * normal[1] + w2c[0, 2] * normal[2]
    ny = w2c[1, 0] * normal[0] + w2c[1, 1] * normal[1] + w2c[1, 2] * normal[2]
    nz = w2c[2, 0] * normal[0] + w2c[2, 1] * normal[1] + w2c[2, 2] * normal[2]
    # On the plane n.X = n.P, inverse zdepth is affine in the pixel: (nx a + ny b + nz) / n.P.
    offset = nx * x + ny * y + nz * z
    offset = -max(abs(offset), np.float32(1e-6)) if offset < 0 else max(offset, np.float32(1e-6))
    slope_u, slope_v = nx / (lens[0] * offset), ny / (lens[1] * offset)
    limit = np.float32(SLOPE_LIMIT) * inverse / reach
    shrink = min(np.float32(1.0), limit / max(abs(slope_u) + abs(slope_v), np.float32(1e-12)))
    disc[0], disc[1], disc[2] = u, v, inverse
    disc[3], disc[4] = slope_u * shrink, slope_v * shrink
    disc[5] = size


@njit(forceinline=True)
def _bands_of(disc, height):
    """The half-open range of bands that a disc touches."""
    if disc[5] < 0:
        return 0, 0
    reach = max(disc[5] * np.float32(SMOOTH), np.float32(SMOOTH_MIN_PX))
    if not (disc[1] + reach > 0 and disc[1] - reach < height):
        return 0, 0
    low = max(0, int(disc[1] - reach)) // BAND_ROWS
    high = min(height - 1, int(disc[1] + reach)) // BAND_ROWS
    return low, high + 1


@njit(forceinline=True)
def _pixels(centre, reach, low, high):
    """The half-open range of pixels whose centres lie within `reach`, cut to [low, high)."""
    return max(low, int(np.ceil(centre - reach - 0.5))), min(high, int(np.floor(centre + reach - 0.5)) + 1)


@njit
def _nearest(members, discs, rows, width):
    """Inverse zdepth [rows, W] of the nearest core disc; 0 where there is none."""
    nearest = np.zeros((rows[1] - rows[0], width), np.float32)
    for i in members:
        u, v, inverse, slope_u, slope_v, size, _, _, _ = discs[i]
        reach = max(size * np.float32(CORE), np.float32(CORE_MIN_PX))
        left, right = _pixels(u, reach, 0, width)
        top, bottom = _pixels(v, reach, rows[0], rows[1])
        for row in range(top, bottom):
            dv = row + np.float32(0.5) - v
            for column in range(left, right):
                du = column + np.float32(0.5) - u
                if du * du + dv * dv <= reach * reach:
                    here = inverse + slope_u * du + slope_v * dv
                    if here > nearest[row - rows[0], column]:
                        nearest[row - rows[0], column] = here
    return nearest


@njit
def _behind(nearest, tolerance):
    """The least inverse zdepth [rows, W] that still belongs to the nearest; infinite where there is none."""
    least = np.empty(nearest.shape, np.float64)
    for row in range(nearest.shape[0]):
        for column in range(nearest.shape[1]):
            here = nearest[row, column]
            least[row, column] = here * (1 - tolerance) if here > 0 else np.inf
    return least


@njit
def _blend(members, discs, least, rows, image, inverse_image, size_image):
    """Means over the discs that lie no farther than `least`, weighted by how close to their centre a pixel lies."""
    width = least.shape[1]
    sums = np.zeros((rows[1] - rows[0], width, 6), np.float32)
    for i in members:
        u, v, inverse, slope_u, slope_v, size, red, green, blue = discs[i]
        reach = max(size * np.float32(SMOOTH), np.float32(SMOOTH_MIN_PX))
        left, right = _pixels(u, reach, 0, width)
        top, bottom = _pixels(v, reach, rows[0], rows[1])
        for row in range(top, bottom):
            dv = row + np.float32(0.5) - v
            y = row - rows[0]
            for column in range(left, right):
                du = column + np.float32(0.5) - u
                away = du * du + dv * dv
                here = inverse + slope_u * du + slope_v * dv
                if away < reach * reach and here >= least[y, column]:
                    inside = np.float32(1.0) - away / (reach * reach)
                    weight = inside * inside
                    sums[y, column, 0] += weight * red
                    sums[y, column, 1] += weight * green
                    sums[y, column, 2] += weight * blue
                    sums[y, column, 3] += weight * here
                    sums[y, column, 4] += weight * size
                    sums[y, column, 5] += weight
    for row in range(rows[0], rows[1]):
        for column in range(width):
            weight = sums[row - rows[0], column, 5]
            if weight > 0:
                for channel in range(3):
                    image[channel, row, column] = sums[row - rows[0], column, channel] / weight
                inverse_image[row, column] = sums[row - rows[0], column, 3] / weight
                size_image[row, column] = sums[row - rows[0], column, 4] / weight


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
    """rgb and inverse zdepth with gaps filled: pixels that lie between two close pixels of one surface, the nearest."""
    height, width = inverse.shape
    reaches, _ = _surroundings(inverse, size)
    rgb_out, inverse_out = rgb.copy(), inverse.copy()
    for row in prange(height):
        for column in range(width):
            if inverse[row, column] > 0:
                continue
            for channel in range(3):
                rgb_out[channel, row, column] = 0
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
                        rgb_out[channel, row, column] = 0
                weight = np.float32(1) / (ahead + behind)
                for channel in range(3):
                    between = part * rgb[channel, y0, x0] + (1 - part) * rgb[channel, y1, x1]
                    rgb_out[channel, row, column] += weight * between
                inverse_out[row, column] += weight * here
                weights += weight
            if weights > 0:
                for channel in range(3):
                    rgb_out[channel, row, column] /= weights
                inverse_out[row, column] /= weights
    return rgb_out, inverse_out


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
