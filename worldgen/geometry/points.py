"""Point clouds rendered with visibility: what a camera sees of them, and where it sees nothing (paper step 8).

Every point is a small disc of its surface. Pass one keeps, per pixel, the nearest disc; pass two blends the discs that
lie within a small relative depth of it, so that surfaces seen closer than they were sampled stay closed and smooth.
Then background pixels that show through gaps of a nearer surface are dropped (after Pintus et al., "Real-time
rendering of massive unstructured raw point clouds using screen-space operators", 2011), and gaps of a few pixels
within one surface are closed. Rows are independent, so the result does not depend on the number of threads.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit, prange
from torch import Tensor

from worldgen.geometry.cameras import distance_to_zdepth, pixel_rays, unproject, zdepth_to_distance
from worldgen.types import Camera, PointCloud, View

_CORE = 0.75  # radius of the disc that hides what lies behind, in spacings: a square grid is closed from 1/sqrt(2) on
_SMOOTH = 1.0  # radius of the disc that is blended, in spacings
_CORE_MIN_PX = 0.71  # a point covers the pixel that it falls into, wherever in it
_SMOOTH_MIN_PX = 1.0
_MAX_PX = 24.0
_BAND_ROWS = 16
_CHUNKS = 64  # fixed: the order of the points in a band must not depend on the machine
_SLOPE_LIMIT = 0.5  # a disc's inverse depth changes by at most this part of itself within its radius
_GAP_ROUNDS = 2
_GAP_REACH = 3.0  # how far to look across a gap, in discs of the surface on its sides


def render_points(
    cloud: PointCloud, camera: Camera, near: float = 0.05, tolerance: float = 0.03, gap: float = 0.1
) -> View:
    """What `camera` sees of `cloud`: rgb (0 where unknown), known, and distance (0 where unknown).

    near: metres, nearer points are not drawn; tolerance: relative depth within which surfaces blend; gap: relative
    depth by which a pixel must lie behind its surroundings to count as seen through a gap in them (then unknown), and
    within which the two sides of a gap count as one surface (then closed).
    """
    rgb, inverse, size = _render(
        cloud.xyz.contiguous().numpy(),
        cloud.rgb.contiguous().numpy(),
        cloud.normals.contiguous().numpy(),
        cloud.spacing.contiguous().numpy(),
        camera.w2c.numpy(),
        np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float32),
        camera.width,
        camera.height,
        np.float32(near),
        np.float32(tolerance),
    )
    size = np.maximum(size, 1)
    for _ in range(_GAP_ROUNDS):  # a crossing of two gaps is surrounded only once they are closed
        rgb, inverse = _closed(rgb, _unhidden(inverse, size, np.float32(gap)), size, np.float32(gap))
    seen = torch.from_numpy(inverse)
    known = seen > 0
    zdepth = torch.where(known, 1 / seen.clamp(min=1e-9), torch.zeros_like(seen))
    return View(camera, torch.from_numpy(rgb), known, zdepth_to_distance(camera, zdepth))


def view_points(view: View, where: Tensor) -> PointCloud:
    """The pixels `where` (bool [H, W]) of a view with distances, as points; normals follow the view's own surface.

    A pixel's neighbours count for its normal only if they lie in `where` too. Raises ValueError without distances.
    """
    if view.distance is None:
        raise ValueError("view_points: the view has no distances")
    camera = view.camera
    size = distance_to_zdepth(camera, view.distance) / camera.fx
    return PointCloud(
        unproject(camera, view.distance)[where],
        view.rgb.movedim(0, -1)[where],
        view_normals(camera, view.distance, where)[where],
        size[where],
    )


def view_normals(camera: Camera, distance: Tensor, where: Tensor) -> Tensor:
    """Unit world normals [H, W, 3] towards the camera, from distances [H, W]; they mean nothing outside `where`.

    On a plane n.X = c the inverse zdepth is affine in the pixel, so its gradient gives n exactly. Of the two one-sided
    differences the smaller counts, so that an edge does not bend the surfaces on its sides.
    """
    inverse = 1 / distance_to_zdepth(camera, distance).clamp(min=1e-6)
    slope_a = camera.fx * _gentler_difference(inverse, where, 1)
    slope_b = camera.fy * _gentler_difference(inverse, where, 0)
    rays = pixel_rays(camera)
    a, b = rays[..., 0] / rays[..., 2], rays[..., 1] / rays[..., 2]
    away = torch.stack([slope_a, slope_b, inverse - a * slope_a - b * slope_b], dim=-1)
    return -F.normalize(away, dim=-1) @ camera.c2w[:3, :3].T


def _gentler_difference(values: Tensor, where: Tensor, dim: int) -> Tensor:
    """Of the forward and backward difference along `dim` the smaller one; 0 where neither neighbour is in `where`."""
    count = where.shape[dim] - 1
    both = where.narrow(dim, 0, count) & where.narrow(dim, 1, count)
    step = values.diff(dim=dim).masked_fill(~both, torch.inf)
    edge = torch.full_like(values.narrow(dim, 0, 1), torch.inf)
    forward, backward = torch.cat([step, edge], dim), torch.cat([edge, step], dim)
    gentler = torch.where(forward.abs() < backward.abs(), forward, backward)
    return gentler.where(gentler.isfinite(), torch.zeros_like(values))


@njit(parallel=True, cache=True, error_model="numpy")
def _render(xyz, rgb, normals, spacing, w2c, lens, width, height, near, tolerance):
    """Returns rgb [3, H, W], inverse zdepth [H, W], and disc sizes in pixels [H, W]; 0 where there is no point."""
    count = len(xyz)
    bands = (height + _BAND_ROWS - 1) // _BAND_ROWS
    discs = np.empty((count, 6), np.float32)
    first = np.zeros((_CHUNKS, bands), np.int64)
    for chunk in prange(_CHUNKS):
        for i in range(count * chunk // _CHUNKS, count * (chunk + 1) // _CHUNKS):
            _project(xyz[i], normals[i], spacing[i], w2c, lens, width, near, discs[i])
            low, high = _bands_of(discs[i], height)
            for band in range(low, high):
                first[chunk, band] += 1
    total = 0
    starts = np.zeros(bands + 1, np.int64)
    for band in range(bands):
        for chunk in range(_CHUNKS):
            total, first[chunk, band] = total + first[chunk, band], total
        starts[band + 1] = total
    order = np.empty(total, np.int32)
    for chunk in prange(_CHUNKS):
        for i in range(count * chunk // _CHUNKS, count * (chunk + 1) // _CHUNKS):
            low, high = _bands_of(discs[i], height)
            for band in range(low, high):
                order[first[chunk, band]] = i
                first[chunk, band] += 1
    image = np.zeros((3, height, width), np.float32)
    inverse, sizes = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    for band in prange(bands):
        rows = (band * _BAND_ROWS, min(height, (band + 1) * _BAND_ROWS))
        members = order[starts[band] : starts[band + 1]]
        nearest = _nearest(members, discs, rows, width)
        _blend(members, discs, rgb, nearest, tolerance, rows, image, inverse, sizes)
    return image, inverse, sizes


@njit(inline="always")
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
    size = min(spacing * lens[0] * inverse, np.float32(_MAX_PX))
    reach = max(size, np.float32(_SMOOTH_MIN_PX))
    if not (u > -reach and u < width + reach):
        return
    nx = w2c[0, 0] * normal[0] + w2c[0, 1] * normal[1] + w2c[0, 2] * normal[2]
    ny = w2c[1, 0] * normal[0] + w2c[1, 1] * normal[1] + w2c[1, 2] * normal[2]
    nz = w2c[2, 0] * normal[0] + w2c[2, 1] * normal[1] + w2c[2, 2] * normal[2]
    # On the plane n.X = n.P, inverse zdepth is affine in the pixel: (nx a + ny b + nz) / n.P.
    offset = nx * x + ny * y + nz * z
    offset = -max(abs(offset), np.float32(1e-6)) if offset < 0 else max(offset, np.float32(1e-6))
    slope_u, slope_v = nx / (lens[0] * offset), ny / (lens[1] * offset)
    limit = np.float32(_SLOPE_LIMIT) * inverse / reach
    shrink = min(np.float32(1.0), limit / max(abs(slope_u) + abs(slope_v), np.float32(1e-12)))
    disc[0], disc[1], disc[2] = u, v, inverse
    disc[3], disc[4] = slope_u * shrink, slope_v * shrink
    disc[5] = size


@njit(inline="always")
def _bands_of(disc, height):
    """The half-open range of bands that a disc touches."""
    if disc[5] < 0:
        return 0, 0
    reach = max(disc[5] * np.float32(_SMOOTH), np.float32(_SMOOTH_MIN_PX))
    if not (disc[1] + reach > 0 and disc[1] - reach < height):
        return 0, 0
    low = max(0, int(disc[1] - reach)) // _BAND_ROWS
    high = min(height - 1, int(disc[1] + reach)) // _BAND_ROWS
    return low, high + 1


@njit(inline="always")
def _pixels(centre, reach, low, high):
    """The half-open range of pixels whose centres lie within `reach`, cut to [low, high)."""
    return max(low, int(np.ceil(centre - reach - 0.5))), min(high, int(np.floor(centre + reach - 0.5)) + 1)


@njit
def _nearest(members, discs, rows, width):
    """Inverse zdepth [rows, W] of the nearest core disc; 0 where there is none."""
    nearest = np.zeros((rows[1] - rows[0], width), np.float32)
    for i in members:
        u, v, inverse, slope_u, slope_v, size = discs[i]
        reach = max(size * np.float32(_CORE), np.float32(_CORE_MIN_PX))
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
def _blend(members, discs, rgb, nearest, tolerance, rows, image, inverse_image, size_image):
    """Means over the discs within `tolerance` of the nearest, weighted by how close to their centre a pixel lies."""
    width = nearest.shape[1]
    sums = np.zeros((rows[1] - rows[0], width, 6), np.float32)
    for i in members:
        u, v, inverse, slope_u, slope_v, size = discs[i]
        reach = max(size * np.float32(_SMOOTH), np.float32(_SMOOTH_MIN_PX))
        left, right = _pixels(u, reach, 0, width)
        top, bottom = _pixels(v, reach, rows[0], rows[1])
        for row in range(top, bottom):
            dv = row + np.float32(0.5) - v
            for column in range(left, right):
                du = column + np.float32(0.5) - u
                inside = np.float32(1.0) - (du * du + dv * dv) / (reach * reach)
                here = inverse + slope_u * du + slope_v * dv
                if inside > 0 and here >= nearest[row - rows[0], column] * (1 - tolerance):
                    weight = inside * inside
                    cell = sums[row - rows[0], column]
                    cell[0] += weight * rgb[i, 0]
                    cell[1] += weight * rgb[i, 1]
                    cell[2] += weight * rgb[i, 2]
                    cell[3] += weight * here
                    cell[4] += weight * size
                    cell[5] += weight
    for row in range(rows[0], rows[1]):
        for column in range(width):
            cell = sums[row - rows[0], column]
            if nearest[row - rows[0], column] > 0 and cell[5] > 0:
                for channel in range(3):
                    image[channel, row, column] = cell[channel] / cell[5]
                inverse_image[row, column] = cell[3] / cell[5]
                size_image[row, column] = cell[4] / cell[5]


@njit(parallel=True, cache=True, error_model="numpy")
def _unhidden(inverse, size, gap):
    """Inverse zdepth [H, W] with 0 where at least 6 of 8 directions meet something nearer within a few of its discs."""
    height, width = inverse.shape
    farthest = int(_GAP_REACH * size.max())
    out = inverse.copy()
    for row in prange(height):
        for column in range(width):
            threshold = inverse[row, column] * (1 + gap)
            if threshold == 0:
                continue
            nearer = 0
            for direction in range(9):
                dy, dx = direction // 3 - 1, direction % 3 - 1
                if dy == 0 and dx == 0:
                    continue
                for step in range(1, farthest + 1):
                    y, x = row + dy * step, column + dx * step
                    if not (0 <= y < height and 0 <= x < width):
                        break
                    if inverse[y, x] > threshold and step <= _GAP_REACH * size[y, x]:
                        nearer += 1
                        break
            if nearer >= 6:  # a slit has 6, an inner corner 5
                out[row, column] = 0
    return out


@njit(parallel=True, cache=True, error_model="numpy")
def _closed(rgb, inverse, size, gap):
    """rgb and inverse zdepth with gaps filled: pixels that lie between two close pixels of one surface, the nearest."""
    height, width = inverse.shape
    farthest = int(_GAP_REACH * size.max())
    rgb_out, inverse_out = np.zeros_like(rgb), inverse.copy()
    for row in prange(height):
        for column in range(width):
            if inverse[row, column] > 0:
                for channel in range(3):
                    rgb_out[channel, row, column] = rgb[channel, row, column]
                continue
            weights, nearest = np.float32(0), np.float32(0)
            for axis in range(4):
                dy, dx = (0, 1, 1, 1)[axis], (1, 0, 1, -1)[axis]
                ahead = _reach(inverse, size, farthest, row, column, dy, dx)
                behind = _reach(inverse, size, farthest, row, column, -dy, -dx)
                if ahead == 0 or behind == 0:
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


@njit
def _reach(inverse, size, farthest, row, column, dy, dx):
    """How many steps to the first known pixel; 0 if it is too far for its size, or there is none."""
    height, width = inverse.shape
    for step in range(1, farthest + 1):
        y, x = row + dy * step, column + dx * step
        if not (0 <= y < height and 0 <= x < width):
            return 0
        if inverse[y, x] > 0:
            return step if step <= _GAP_REACH * size[y, x] else 0
    return 0
