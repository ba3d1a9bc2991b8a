"""Numba kernels that turn 3D Gaussians into ellipses on the image, and carry the gradients back.

EWA projection with the rules of gsplat 1.5.3 (near plane 0.01 m, blur 0.3 px^2, tan-FoV clamp, opacity-aware extent).
All kernels share two records per splat. `splats`, ten float32:

    0, 1     x, y of the centre, pixels
    2, 3, 4  scale_u, shear, scale_v: the ellipse
    5        log256_opacity
    6, 7, 8  red, green, blue (written by harmonics.py)
    9        z-depth, metres

and `boxes`, four int32: the first and last pixel column, the first and last pixel row that the splat can touch; a splat
that is not drawn has last < first. At a pixel that lies (dx, dy) from the centre

    u = scale_u (dx - shear dy),   v = scale_v dy,   alpha = 256^(log256_opacity - u^2 - v^2).

(u, v) are the whitened coordinates (a Cholesky factor of the inverse covariance): unlike the usual
a dx^2 + 2 b dx dy + c dy^2 they keep float32 accurate for long thin Gaussians, and the exponent can never rise above
log256_opacity. Base 256 because alpha below 1/255 is dropped: the exponent of all that counts lies in [-1, 0].

The arithmetic here is float64, which costs little (these loops do not vectorise) and keeps the gradients of needles a
thousand times longer than wide. Cameras come as two float64 arrays: pose [12] = the rows of the world-to-camera
rotation, then the camera's position in the world; lens [6] = fx, fy, cx, cy, width, height in pixels.

A kernel file is one compilation unit: numba's cache watches only the file that a function stands in, so kernels take
nothing from another file but the compiler's options (options.py).
"""

import math
from collections import namedtuple

import numpy as np
from numba import njit, prange

from worldgen.splat.kernels.options import EXACT, PARALLEL

_NEAR = 0.01
_BLUR = 0.3
_FOV_MARGIN = 0.15  # 0.3 of tan(fov / 2), as a share of width / focal length
_MAX_SIGMAS = 3.33
_HUGE = 1e30  # an ellipse of this variance (pixels^2) is not drawn: float32 would overflow
_MIN_ALPHA = 1 / 255
_MIN_LOGIT = -5.55  # a little below the logit of 1/255
_PER_LOG256 = 1 / math.log(256)
_WHITEN = math.sqrt(0.5 / math.log(256))  # standard deviations to (u, v)
_UNWHITEN_SQUARED = 2 * math.log(256)

_Footprint = namedtuple(
    "_Footprint",
    "local slope_x slope_y free_x free_y axes_x axes_y axes_z turn scales quat inverse_norm row_x row_y"
    " variance_x covariance variance_y inner sharp",
)


@njit(**EXACT)
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(**EXACT)
def _cross(a, b):
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@njit(**EXACT)
def _scaled(a, s):
    return a[0] * s, a[1] * s, a[2] * s


@njit(**EXACT)
def _sum(a, s, b, t):
    """s a + t b."""
    return s * a[0] + t * b[0], s * a[1] + t * b[1], s * a[2] + t * b[2]


@njit(**EXACT)
def _times(a, b):
    return a[0] * b[0], a[1] * b[1], a[2] * b[2]


@njit(**EXACT)
def _row_times_matrix(a, rows):
    return (
        a[0] * rows[0][0] + a[1] * rows[1][0] + a[2] * rows[2][0],
        a[0] * rows[0][1] + a[1] * rows[1][1] + a[2] * rows[2][1],
        a[0] * rows[0][2] + a[1] * rows[1][2] + a[2] * rows[2][2],
    )


@njit(**EXACT)
def _pose_row(pose, k):
    return pose[3 * k], pose[3 * k + 1], pose[3 * k + 2]


@njit(**EXACT)
def _to_camera(mean_x, mean_y, mean_z, pose):
    """World to camera; the position is subtracted first, which keeps float32 accurate far from the origin."""
    offset = (mean_x - pose[9], mean_y - pose[10], mean_z - pose[11])
    return _dot(_pose_row(pose, 0), offset), _dot(_pose_row(pose, 1), offset), _dot(_pose_row(pose, 2), offset)


@njit(**EXACT)
def _rotation(quat):
    """Rows of the rotation of a unit quaternion wxyz."""
    w, x, y, z = quat
    return (
        (1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)),
        (2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)),
        (2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)),
    )


@njit(**EXACT)
def _slope_limits(focal, centre, size):
    """Between which x/z (or y/z) the projection is linearised: the image and a margin."""
    margin = _FOV_MARGIN * size / focal
    return -(centre / focal + margin), (size - centre) / focal + margin


@njit(**EXACT)
def _footprint(i, means, quats, log_scales, pose, lens):
    """Gaussian i seen by the camera: everything that the projection and its gradient need.

    The covariance on the image is A A^T + blur, A = J W R S; row_x and row_y are the rows of A, axes_* those of W R S.
    inner = variance of x given y; sharp = det(A A^T) / det(A A^T + blur), by Lagrange's identity instead of the
    difference of two large products.
    """
    x, y, z = _to_camera(means[i, 0], means[i, 1], means[i, 2], pose)
    low_x, high_x = _slope_limits(lens[0], lens[2], lens[4])
    low_y, high_y = _slope_limits(lens[1], lens[3], lens[5])
    slope_x = min(high_x, max(low_x, x / z))
    slope_y = min(high_y, max(low_y, y / z))

    qw, qx, qy, qz = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
    inverse_norm = 1.0 / math.sqrt(qw * qw + qx * qx + qy * qy + qz * qz)
    quat = (qw * inverse_norm, qx * inverse_norm, qy * inverse_norm, qz * inverse_norm)
    turn = _rotation(quat)
    scales = (math.exp(log_scales[i, 0]), math.exp(log_scales[i, 1]), math.exp(log_scales[i, 2]))
    axes_x = _times(_row_times_matrix(_pose_row(pose, 0), turn), scales)
    axes_y = _times(_row_times_matrix(_pose_row(pose, 1), turn), scales)
    axes_z = _times(_row_times_matrix(_pose_row(pose, 2), turn), scales)
    zoom_x, zoom_y = lens[0] / z, lens[1] / z
    row_x = _sum(axes_x, zoom_x, axes_z, -zoom_x * slope_x)
    row_y = _sum(axes_y, zoom_y, axes_z, -zoom_y * slope_y)

    raw_x, covariance, raw_y = _dot(row_x, row_x), _dot(row_x, row_y), _dot(row_y, row_y)
    variance_y = raw_y + _BLUR
    flat = _scaled(_cross(row_x, row_y), 1.0 / math.sqrt(variance_y))
    raw_inner = _dot(flat, flat)
    inner = raw_inner + _BLUR * (raw_x / variance_y + 1.0)
    free_x = slope_x > low_x and slope_x < high_x
    free_y = slope_y > low_y and slope_y < high_y
    return _Footprint(
        (x, y, z), slope_x, slope_y, free_x, free_y, axes_x, axes_y, axes_z, turn, scales, quat, inverse_norm,
        row_x, row_y, raw_x + _BLUR, covariance, variance_y, inner, raw_inner / inner,
    )  # fmt: skip


@njit(**EXACT)
def _farthest_slope(focal, centre, size):
    low, high = _slope_limits(focal, centre, size)
    return max(-low, high)


@njit(**PARALLEL)
def mark_candidates(means, log_scales, opacity_logits, pose, lens, marks):
    """marks[i] = 1 where Gaussian i may show on the image; `project` decides.

    Most Gaussians of a world lie out of view, so this looks at little: where the centre lands, and a bound on the
    radius that holds for every orientation: |J W R S| <= focal / z sqrt(1 + slope^2) max(S), sqrt(a^2 + b^2) <= a + b.
    """
    width, height = lens[4], lens[5]
    slope_x, slope_y = _farthest_slope(lens[0], lens[2], width), _farthest_slope(lens[1], lens[3], height)
    stretch_x = _MAX_SIGMAS * lens[0] * math.sqrt(1.0 + slope_x * slope_x)
    stretch_y = _MAX_SIGMAS * lens[1] * math.sqrt(1.0 + slope_y * slope_y)
    least = _MAX_SIGMAS * math.sqrt(_BLUR) + 1.0
    for i in prange(len(means)):
        marks[i] = 0
        x, y, z = _to_camera(means[i, 0], means[i, 1], means[i, 2], pose)
        if not (z >= _NEAR) or not (opacity_logits[i] > _MIN_LOGIT):
            continue
        per_z = 1.0 / z
        centre_x, centre_y = lens[0] * x * per_z + lens[2], lens[1] * y * per_z + lens[3]
        beyond_x = max(-centre_x, centre_x - width) - least
        beyond_y = max(-centre_y, centre_y - height) - least
        if beyond_x > 0.0 or beyond_y > 0.0:
            size = math.exp(max(log_scales[i, 0], max(log_scales[i, 1], log_scales[i, 2]))) * per_z
            if beyond_x >= stretch_x * size or beyond_y >= stretch_y * size:
                continue
        marks[i] = 1


@njit(**EXACT)
def _is_finite(i, means, quats, log_scales, opacity_logits):
    total = opacity_logits[i] + quats[i, 0] + quats[i, 1] + quats[i, 2] + quats[i, 3]
    for axis in range(3):
        total += means[i, axis] + log_scales[i, axis]
    return math.isfinite(total)


@njit(**EXACT)
def _pixel_range(centre, radius, size):
    """First and last pixel whose centre lies within `radius`; last < first if none does."""
    first = max(0.0, np.ceil(centre - radius - 0.5))
    last = min(size - 1.0, np.floor(centre + radius - 0.5))
    return first, last


@njit(**PARALLEL)
def project(rows, means, quats, log_scales, opacity_logits, pose, lens, antialiased, splats, boxes):
    """Writes splats [V, 10], all but the colour, and boxes [V, 4] of the Gaussians `rows`.

    The box is empty, and of the splat only the z-depth is written, where a value is not finite or nothing would show.
    """
    for k in prange(len(rows)):
        i = rows[k]
        seen = _footprint(i, means, quats, log_scales, pose, lens)
        splat = splats[k]
        splat[9] = seen.local[2]
        boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3] = 0, -1, 0, -1
        opacity = 1.0 / (1.0 + math.exp(-opacity_logits[i]))
        if antialiased:
            opacity *= math.sqrt(seen.sharp)
        drawable = opacity >= _MIN_ALPHA and seen.variance_x < _HUGE and seen.variance_y < _HUGE
        if not drawable or not _is_finite(i, means, quats, log_scales, opacity_logits):
            continue
        x, y, z = seen.local
        centre_x, centre_y = lens[0] * x / z + lens[2], lens[1] * y / z + lens[3]
        sigmas = math.sqrt(2.0 * math.log(opacity / _MIN_ALPHA))
        x_first, x_last = _pixel_range(centre_x, sigmas * math.sqrt(seen.variance_x), lens[4])
        y_first, y_last = _pixel_range(centre_y, sigmas * math.sqrt(seen.variance_y), lens[5])
        if not (x_first <= x_last and y_first <= y_last):
            continue
        boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3] = x_first, x_last, y_first, y_last
        splat[0], splat[1] = centre_x, centre_y
        splat[2] = _WHITEN / math.sqrt(seen.inner)
        splat[3] = seen.covariance / seen.variance_y
        splat[4] = _WHITEN / math.sqrt(seen.variance_y)
        splat[5] = math.log(opacity) * _PER_LOG256


@njit(**EXACT)
def _covariance_gradient(seen, splat, sums, antialiased):
    """Gradient of the image covariance (xx, xy, yy; the matrix is symmetric), from the sums of g u^2, g u v, g v^2.

    d ln(alpha) / d covariance = L^T w w^T L / 2 with w = (u, v) and L the whitening; in antialiased mode the opacity's
    compensation sqrt(det(A A^T) / det(A A^T + blur)) adds (inverse(A A^T) - inverse(A A^T + blur)) / 2.
    """
    scale_u, shear, scale_v = splat[2], splat[3], splat[4]
    skew = -scale_u * shear
    uu, uv, vv = sums[2], sums[3], sums[4]
    factor = 0.5 * _UNWHITEN_SQUARED * _UNWHITEN_SQUARED
    xx = factor * scale_u * scale_u * uu
    xy = factor * scale_u * (skew * uu + scale_v * uv)
    yy = factor * (skew * skew * uu + 2.0 * skew * scale_v * uv + scale_v * scale_v * vv)
    if antialiased:
        half = 0.5 * sums[5]
        per_det = half / (seen.inner * seen.variance_y)
        per_raw_det = per_det / seen.sharp
        xx += (seen.variance_y - _BLUR) * per_raw_det - seen.variance_y * per_det
        xy += seen.covariance * (per_det - per_raw_det)
        yy += (seen.variance_x - _BLUR) * per_raw_det - seen.variance_x * per_det
    return xx, xy, yy


@njit(**EXACT)
def _quaternion_gradient(quat, inverse_norm, m):
    """Gradient of the unnormalised quaternion from that of its rotation's rows m."""
    w, x, y, z = quat
    vw = 2.0 * (x * (m[2][1] - m[1][2]) + y * (m[0][2] - m[2][0]) + z * (m[1][0] - m[0][1]))
    vx = 2.0 * (
        y * (m[0][1] + m[1][0]) + z * (m[0][2] + m[2][0]) + w * (m[2][1] - m[1][2]) - 2.0 * x * (m[1][1] + m[2][2])
    )
    vy = 2.0 * (
        x * (m[0][1] + m[1][0]) + z * (m[1][2] + m[2][1]) + w * (m[0][2] - m[2][0]) - 2.0 * y * (m[0][0] + m[2][2])
    )
    vz = 2.0 * (
        x * (m[0][2] + m[2][0]) + y * (m[1][2] + m[2][1]) + w * (m[1][0] - m[0][1]) - 2.0 * z * (m[0][0] + m[1][1])
    )
    along = vw * w + vx * x + vy * y + vz * z
    return (
        (vw - along * w) * inverse_norm,
        (vx - along * x) * inverse_norm,
        (vy - along * y) * inverse_norm,
        (vz - along * z) * inverse_norm,
    )


@njit(**EXACT)
def _world_component(pose, k, vector):
    """Component k in the world of a vector in the camera's frame."""
    return pose[k] * vector[0] + pose[3 + k] * vector[1] + pose[6 + k] * vector[2]


@njit(**PARALLEL)
def project_backward(
    rows, slot_starts, slots, splats, means, quats, log_scales, opacity_logits, pose, lens, antialiased,
    absolute, v_colours, v_centres, v_means, v_quats, v_log_scales, v_opacity_logits,
):  # fmt: skip
    """Adds up each Gaussian's gradient slots and writes the gradients of its stored parameters (rows of v_*).

    slots [P, 9 or 12]: per Gaussian and tile, sums over pixels of g u, g v, g u^2, g u v, g v^2, g, the gradients of
    red, green, blue, where g = d loss / d ln(alpha), and, where there are 12, of z-depth, and the absolute values of
    those of the centre. v_colours [V, 3] takes those of the colour; v_centres [V, 2] those of the centre on the image,
    or, if `absolute`, what their absolute values sum up to.
    """
    columns = slots.shape[1]
    for k in prange(len(rows)):
        sums = np.zeros(12)
        for s in range(slot_starts[k], slot_starts[k + 1]):
            for column in range(columns):
                sums[column] += slots[s, column]
        for channel in range(3):
            v_colours[k, channel] = sums[6 + channel]
        v_centres[k, 0], v_centres[k, 1] = 0.0, 0.0
        if slot_starts[k] == slot_starts[k + 1]:
            continue
        i = rows[k]
        seen = _footprint(i, means, quats, log_scales, pose, lens)
        x, y, z = seen.local
        splat = splats[k]
        v_opacity_logits[i] = sums[5] / (1.0 + math.exp(opacity_logits[i]))

        xx, xy, yy = _covariance_gradient(seen, splat, sums, antialiased)
        v_row_x = _sum(seen.row_x, 2.0 * xx, seen.row_y, 2.0 * xy)
        v_row_y = _sum(seen.row_x, 2.0 * xy, seen.row_y, 2.0 * yy)
        zoom_x, zoom_y = lens[0] / z, lens[1] / z
        v_axes_x = _scaled(v_row_x, zoom_x)
        v_axes_y = _scaled(v_row_y, zoom_y)
        v_axes_z = _sum(v_row_x, -zoom_x * seen.slope_x, v_row_y, -zoom_y * seen.slope_y)

        # The centre moves with x/z, y/z; the rows of A with 1/z and, inside the clamp, with the slopes x/z, y/z.
        v_centre_x = _UNWHITEN_SQUARED * splat[2] * sums[0]
        v_centre_y = _UNWHITEN_SQUARED * (splat[4] * sums[1] - splat[2] * splat[3] * sums[0])
        v_centres[k, 0] = _UNWHITEN_SQUARED * sums[10] if absolute else v_centre_x
        v_centres[k, 1] = _UNWHITEN_SQUARED * sums[11] if absolute else v_centre_y
        v_slope_x = -zoom_x * _dot(v_row_x, seen.axes_z) if seen.free_x else 0.0
        v_slope_y = -zoom_y * _dot(v_row_y, seen.axes_z) if seen.free_y else 0.0
        v_x = (lens[0] * v_centre_x + v_slope_x) / z
        v_y = (lens[1] * v_centre_y + v_slope_y) / z
        v_z = sums[9] - (v_x * x + v_y * y + _dot(v_row_x, seen.row_x) + _dot(v_row_y, seen.row_y)) / z
        for axis in range(3):
            v_means[i, axis] = _world_component(pose, axis, (v_x, v_y, v_z))

        v_turned = (
            _sum(_sum(v_axes_x, pose[0], v_axes_y, pose[3]), 1.0, v_axes_z, pose[6]),
            _sum(_sum(v_axes_x, pose[1], v_axes_y, pose[4]), 1.0, v_axes_z, pose[7]),
            _sum(_sum(v_axes_x, pose[2], v_axes_y, pose[5]), 1.0, v_axes_z, pose[8]),
        )
        scaled = (_times(v_turned[0], seen.scales), _times(v_turned[1], seen.scales), _times(v_turned[2], seen.scales))
        for axis in range(3):
            v_log_scales[i, axis] = (
                scaled[0][axis] * seen.turn[0][axis]
                + scaled[1][axis] * seen.turn[1][axis]
                + scaled[2][axis] * seen.turn[2][axis]
            )
        vw, vx, vy, vz = _quaternion_gradient(seen.quat, seen.inverse_norm, scaled)
        v_quats[i, 0], v_quats[i, 1], v_quats[i, 2], v_quats[i, 3] = vw, vx, vy, vz
