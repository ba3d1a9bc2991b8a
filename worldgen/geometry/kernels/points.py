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

DISC = 9
"""A disc's numbers: pixel u, v; inverse zdepth and its gradient per pixel; spacing in pixels; rgb."""
CHUNKS = 64
"""Into how many a cloud's points are cut for the threads."""
BAND_ROWS = 16
"""Rows of a picture that one thread draws."""


@njit(parallel=True, cache=True, error_model="numpy")
def project_points(xyz, rgb, normals, spacing, w2c, lens, width, height, near, discs, starts, ends, counts):
    """Points as discs, those that touch the picture, in their order: each chunk's from discs[starts] to discs[ends].

    xyz, rgb, normals: [N, 3]; spacing: [N] metres; w2c: [4, 4]; lens: fx, fy, cx, cy in pixels; near: metres; discs:
    [N, DISC]; starts: int64 [CHUNKS]. Writes discs, ends [CHUNKS] and how many of each chunk touch each band of rows,
    counts [CHUNKS, bands].
    """
    count = len(xyz)
    motion, to_lens = _rows_of(w2c), (lens[0], lens[1], lens[2], lens[3])
    for chunk in prange(CHUNKS):
        at = starts[chunk]
        for i in range(count * chunk // CHUNKS, count * (chunk + 1) // CHUNKS):
            point, normal = (xyz[i, 0], xyz[i, 1], xyz[i, 2]), (normals[i, 0], normals[i, 1], normals[i, 2])
            spot = _disc(point, normal, spacing[i], motion, to_lens, np.float32(width), near)
            at += _keep(spot, (rgb[i, 0], rgb[i, 1], rgb[i, 2]), height, discs, at, counts[chunk])
        ends[chunk] = at


@njit(parallel=True, cache=True, error_model="numpy")
def project_view(rgb, distance, known, from_lens, motion, lens, width, height, near, discs, starts, ends, counts):
    """The pixels of a view as discs [H * W, DISC], as `project_points` makes them of its points and normals.

    rgb: [3, H, W]; distance: [H, W] metres along the ray; known: bool [H, W]; from_lens, lens: fx, fy, cx, cy of the
    view and of the picture; motion: [4, 4] from the one camera to the other; starts, ends: of the chunks, which are of
    whole rows. What is not known is not drawn.
    """
    rows, columns = distance.shape
    matrix, to_lens = _rows_of(motion), (lens[0], lens[1], lens[2], lens[3])
    from_tuple = (from_lens[0], from_lens[1], from_lens[2], from_lens[3])
    for chunk in prange(CHUNKS):
        at = starts[chunk]
        first, last = rows * chunk // CHUNKS, rows * (chunk + 1) // CHUNKS
        # Of row r the line r % 3, between two that are not known; of a chunk's first row also the one above it.
        inverse = np.full((3, columns + 2), np.float32(np.inf), np.float32)
        spots = np.empty((6, columns), np.float32)
        for row in range(max(0, first - 1), min(first + 1, last)):
            _inverse_row(distance, known, row, from_tuple, inverse[row % 3])
        for row in range(first, last):
            if row + 1 < rows:
                _inverse_row(distance, known, row + 1, from_tuple, inverse[(row + 1) % 3])
            else:
                inverse[(row + 1) % 3] = np.float32(np.inf)
            around = inverse[(row + 2) % 3], inverse[row % 3], inverse[(row + 1) % 3]
            _disc_row(around, row, from_tuple, matrix, to_lens, np.float32(width), near, spots)
            for column in range(columns):
                spot = (
                    spots[0, column], spots[1, column], spots[2, column],
                    spots[3, column], spots[4, column], spots[5, column],
                )  # fmt: skip
                colour = (rgb[0, row, column], rgb[1, row, column], rgb[2, row, column])
                at += _keep(spot, colour, height, discs, at, counts[chunk])
        ends[chunk] = at


@njit(parallel=True, cache=True, error_model="numpy")
def draw_discs(discs, starts, ends, first, width, height, tolerance):
    """Rgb [3, H, W], inverse zdepth [H, W], and disc sizes in pixels [H, W]; 0 where there is no disc.

    discs: [N, DISC] in P pieces, each from starts [P] to ends [P]; first: int64 [P, bands], how many discs of each
    piece touch each band; it is written to. tolerance: relative depth within which discs blend.
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
        for i in range(starts[piece], ends[piece]):
            low, high = _bands_of(discs[i, 1], discs[i, 5], height)
            for band in range(low, high):
                order[first[piece, band]] = i
                first[piece, band] += 1
    image = np.empty((3, height, width), np.float32)
    inverse, sizes = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    for band in prange(bands):
        low, high = band * BAND_ROWS, min(height, (band + 1) * BAND_ROWS)
        members = order[band_starts[band] : band_starts[band + 1]]
        least = _nearest(members, discs, low, high, width)
        _set_back(least, tolerance)
        _blend(members, discs, least, low, image, inverse, sizes)
    return image, inverse, sizes


@njit(forceinline=True)
def _rows_of(matrix):
    """The first three rows of a matrix [4, 4], as 12 numbers: of an array a loop would read them anew each time."""
    return (
        matrix[0, 0], matrix[0, 1], matrix[0, 2], matrix[0, 3],
        matrix[1, 0], matrix[1, 1], matrix[1, 2], matrix[1, 3],
        matrix[2, 0], matrix[2, 1], matrix[2, 2], matrix[2, 3],
    )  # fmt: skip


@njit(forceinline=True)
def _inverse_row(distance, known, row, lens, out):
    """Inverse zdepths of a row, infinite where it is not known, into out [1 + W + 1]."""
    y = (np.float32(row) + np.float32(0.5) - lens[3]) / lens[1]
    for column in range(distance.shape[1]):
        x = (np.float32(column) + np.float32(0.5) - lens[2]) / lens[0]
        ahead = np.float32(1.0) / np.sqrt(np.float32(1.0) + x * x + y * y)
        inverse = np.float32(1.0) / _larger(distance[row, column] * ahead, np.float32(1e-6))
        out[column + 1] = inverse if known[row, column] else np.float32(np.inf)


@njit
def _disc_row(around, row, from_lens, motion, lens, width, near, spots):
    """Discs of a row of a view, `_disc`'s numbers [6, W], without a branch: eight pixels are done at once, and more.

    around: inverse zdepths [1 + W + 1] of the rows above, here and below, infinite where they are not known.
    """
    above, own, below = around
    out_u, out_v, out_inverse = spots[0], spots[1], spots[2]
    out_slope_u, out_slope_v, out_size = spots[3], spots[4], spots[5]
    fx, fy, cx, cy = from_lens
    b = (np.float32(row) + np.float32(0.5) - cy) / fy
    for column in range(spots.shape[1]):
        here = own[column + 1]
        z = np.float32(1.0) / here
        a = (np.float32(column) + np.float32(0.5) - cx) / fx
        slope_a = fx * _gentler(own[column], here, own[column + 2])
        slope_b = fy * _gentler(above[column + 1], here, below[column + 1])
        # On a plane n.X = c the inverse zdepth is affine in the pixel: its gradient gives the normal.
        nx, ny, nz = slope_a, slope_b, here - a * slope_a - b * slope_b
        scale = np.float32(-1.0) / _larger(np.sqrt(nx * nx + ny * ny + nz * nz), np.float32(1e-12))
        normal = (nx * scale, ny * scale, nz * scale)
        u, v, inverse, slope_u, slope_v, size = _disc((a * z, b * z, z), normal, z / fx, motion, lens, width, near)
        out_u[column], out_v[column], out_inverse[column] = u, v, inverse
        out_slope_u[column], out_slope_v[column] = slope_u, slope_v
        out_size[column] = size if here < np.float32(np.inf) else np.float32(-1.0)


@njit(forceinline=True)
def _larger(a, b):
    """As max, whose rules for NaN keep a loop from being vectorised."""
    return a if a > b else b


@njit(forceinline=True)
def _smaller(a, b):
    return a if a < b else b


@njit(forceinline=True)
def _gentler(last, here, following):
    """Of the differences to the next and from the last pixel the smaller one; 0 where neither is finite."""
    backward, forward = here - last, following - here
    step = forward if abs(forward) < abs(backward) else backward
    return step if abs(step) < np.float32(np.inf) else np.float32(0)


@njit(forceinline=True)
def _disc(point, normal, spacing, motion, lens, width, near):
    """Pixel u, v, inverse zdepth and its gradient per pixel, spacing in pixels (< 0: not seen). No branches: a loop of
    nothing else is vectorised."""
    x = motion[0] * point[0] + motion[1] * point[1] + motion[2] * point[2] + motion[3]
    y = motion[4] * point[0] + motion[5] * point[1] + motion[6] * point[2] + motion[7]
    z = motion[8] * point[0] + motion[9] * point[1] + motion[10] * point[2] + motion[11]
    inverse = np.float32(1.0) / z
    u = lens[0] * x * inverse + lens[2]
    v = lens[1] * y * inverse + lens[3]
    size = _smaller(spacing * lens[0] * inverse, np.float32(MAX_PX))
    reach = _larger(size, np.float32(SMOOTH_MIN_PX))
    nx = motion[0] * normal[0] + motion[1] * normal[1] + motion[2] * normal[2]
    ny = motion[4] * normal[0] + motion[5] * normal[1] + motion[6] * normal[2]
    nz = motion[8] * normal[0] + motion[9] * normal[1] + motion[10] * normal[2]
    # On the plane n.X = n.P, inverse zdepth is affine in the pixel: (nx a + ny b + nz) / n.P.
    offset = nx * x + ny * y + nz * z
    away = _larger(abs(offset), np.float32(1e-6))
    offset = -away if offset < 0 else away
    slope_u, slope_v = nx / (lens[0] * offset), ny / (lens[1] * offset)
    limit = np.float32(SLOPE_LIMIT) * inverse / reach
    shrink = _smaller(np.float32(1.0), limit / _larger(abs(slope_u) + abs(slope_v), np.float32(1e-12)))
    seen = (z > near) & (u > -reach) & (u < width + reach)
    return u, v, inverse, slope_u * shrink, slope_v * shrink, size if seen else np.float32(-1.0)


@njit(forceinline=True)
def _keep(spot, colour, height, discs, at, counts):
    """Writes a disc, and counts it in its bands, if it touches the picture; 1 if it does, else 0."""
    u, v, inverse, slope_u, slope_v, size = spot
    low, high = _bands_of(v, size, height)
    if low >= high:
        return 0
    disc = discs[at]
    disc[0], disc[1], disc[2], disc[3], disc[4], disc[5] = u, v, inverse, slope_u, slope_v, size
    disc[6], disc[7], disc[8] = colour
    for band in range(low, high):
        counts[band] += 1
    return 1


@njit(forceinline=True)
def _bands_of(v, size, height):
    """The half-open range of bands that a disc touches."""
    if size < 0:
        return 0, 0
    reach = max(size * np.float32(SMOOTH), np.float32(SMOOTH_MIN_PX))
    if not (v + reach > 0 and v - reach < height):
        return 0, 0
    low = max(0, int(v - reach)) // BAND_ROWS
    high = min(height - 1, int(v + reach)) // BAND_ROWS
    return low, high + 1


@njit(forceinline=True)
def _pixels(centre, reach, low, high):
    """The half-open range of pixels whose centres lie within `reach`, cut to [low, high)."""
    half = np.float32(0.5)
    return max(low, int(np.ceil(centre - reach - half))), min(high, int(np.floor(centre + reach - half)) + 1)


@njit
def _nearest(members, discs, low, high, width):
    """Inverse zdepth [rows, W] of the nearest core disc, of rows low to high; 0 where there is none."""
    nearest = np.zeros((high - low, width), np.float32)
    for i in members:
        u, v, inverse, slope_u, slope_v, size, _, _, _ = discs[i]
        reach = max(size * np.float32(CORE), np.float32(CORE_MIN_PX))
        left, right = _pixels(u, reach, 0, width)
        top, bottom = _pixels(v, reach, low, high)
        for row in range(top, bottom):
            dv = np.float32(row) + np.float32(0.5) - v
            line, within, middle = nearest[row - low], reach * reach - dv * dv, inverse + slope_v * dv
            for column in range(left, right):
                du = np.float32(column) + np.float32(0.5) - u
                here = middle + slope_u * du
                hides = (du * du <= within) & (here > line[column])  # no branch: it would be a guess
                line[column] = here if hides else line[column]
    return nearest


@njit
def _set_back(nearest, tolerance):
    """Makes nearest the least inverse zdepth that still belongs to it; infinite where there is none."""
    kept = np.float32(1) - tolerance
    for row in range(nearest.shape[0]):
        for column in range(nearest.shape[1]):
            here = nearest[row, column]
            nearest[row, column] = here * kept if here > 0 else np.float32(np.inf)


@njit
def _blend(members, discs, least, low, image, inverse_image, size_image):
    """Means over the discs that lie no farther than `least` [rows, W], weighted by how close to their centre a pixel
    lies, into the rows of the images from `low` on."""
    rows, width = least.shape
    sums = np.zeros((rows, width, 4), np.float32)  # of size and rgb: a disc's last four numbers, added at once
    depths = np.zeros((rows, width, 2), np.float32)  # of inverse zdepth, and of weights
    for i in members:
        disc = discs[i]
        u, v, inverse, slope_u, slope_v, size = disc[0], disc[1], disc[2], disc[3], disc[4], disc[5]
        reach = max(size * np.float32(SMOOTH), np.float32(SMOOTH_MIN_PX))
        left, right = _pixels(u, reach, 0, width)
        top, bottom = _pixels(v, reach, low, low + rows)
        sharpness = np.float32(1.0) / (reach * reach)
        for row in range(top, bottom):
            dv = np.float32(row) + np.float32(0.5) - v
            y, edge, middle = row - low, np.float32(1.0) - dv * dv * sharpness, inverse + slope_v * dv
            for column in range(left, right):
                du = np.float32(column) + np.float32(0.5) - u
                inside = edge - du * du * sharpness
                here = middle + slope_u * du
                counts = (inside > 0) & (here >= least[y, column])
                weight = inside * inside if counts else np.float32(0)  # no branch: it would be a guess
                for k in range(4):
                    sums[y, column, k] += weight * disc[5 + k]
                depths[y, column, 0] += weight * here
                depths[y, column, 1] += weight
    for y in range(rows):
        for column in range(width):
            weight = depths[y, column, 1]
            weight = weight if weight > 0 else np.float32(1)
            for channel in range(3):
                image[channel, low + y, column] = sums[y, column, 1 + channel] / weight
            inverse_image[low + y, column] = depths[y, column, 0] / weight
            size_image[low + y, column] = sums[y, column, 0] / weight


@njit(parallel=True, cache=True, error_model="numpy")
def distances(inverse, lens):
    """Of inverse zdepths [H, W], 0 where nothing is seen: where something is, bool [H, W], and distances along the ray
    [H, W], 0 elsewhere. lens: fx, fy, cx, cy in pixels."""
    height, width = inverse.shape
    known, distance = np.empty((height, width), np.bool_), np.empty((height, width), np.float32)
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    for row in prange(height):
        y = (np.float32(row) + np.float32(0.5) - cy) / fy
        for column in range(width):
            x = (np.float32(column) + np.float32(0.5) - cx) / fx
            here = inverse[row, column]
            along = np.sqrt(np.float32(1.0) + x * x + y * y) / max(here, np.float32(1e-9))
            known[row, column] = here > 0
            distance[row, column] = along if here > 0 else np.float32(0)
    return known, distance
