"""Numba kernels for the view-dependent colour: real spherical harmonics of degree 0 to 3, and their gradients.

Signs and order as in 3DGS and gsplat. The colour is max(0, 0.5 + sum_k basis_k(direction) sh_k), the direction from the
camera to the Gaussian. One compilation unit, see options.py.
"""

import math

import numpy as np
from numba import njit, prange

from worldgen.splat.kernels.options import EXACT, PARALLEL

_HUGE = 1e30  # float32 colours beyond this would overflow in sums
_C0 = 0.28209479177387814
_C1 = 0.4886025119029199
_C2_XY, _C2_ZZ, _C2_XX = 1.0925484305920792, 0.31539156525252005, 0.5462742152960396
_C3_XXX, _C3_XYZ, _C3_XZZ = 0.5900435899266435, 2.890611442640554, 0.4570457994644658
_C3_ZZZ, _C3_XXZ = 0.3731763325901154, 1.445305721320277


@njit(**EXACT)
def _direction(i, means, position):
    """Unit direction from the camera to Gaussian i, and 1 / distance."""
    x, y, z = means[i, 0] - position[0], means[i, 1] - position[1], means[i, 2] - position[2]
    inverse = 1.0 / math.sqrt(x * x + y * y + z * z)
    return x * inverse, y * inverse, z * inverse, inverse


@njit(**EXACT)
def _fill_basis(x, y, z, basis):
    """The first len(basis) basis functions at a unit direction."""
    count = len(basis)
    basis[0] = _C0
    if count > 1:
        basis[1], basis[2], basis[3] = -_C1 * y, _C1 * z, -_C1 * x
    if count > 4:
        xx, yy, zz = x * x, y * y, z * z
        basis[4], basis[5], basis[7] = _C2_XY * x * y, -_C2_XY * y * z, -_C2_XY * x * z
        basis[6] = _C2_ZZ * (2.0 * zz - xx - yy)
        basis[8] = _C2_XX * (xx - yy)
        if count > 9:
            basis[9] = -_C3_XXX * y * (3.0 * xx - yy)
            basis[10] = _C3_XYZ * x * y * z
            basis[11] = -_C3_XZZ * y * (4.0 * zz - xx - yy)
            basis[12] = _C3_ZZZ * z * (2.0 * zz - 3.0 * xx - 3.0 * yy)
            basis[13] = -_C3_XZZ * x * (4.0 * zz - xx - yy)
            basis[14] = _C3_XXZ * z * (xx - yy)
            basis[15] = -_C3_XXX * x * (xx - 3.0 * yy)


@njit(**EXACT)
def _direction_gradient(x, y, z, v):
    """Gradient of sum_k v_k basis_k with respect to (x, y, z), up to a part along the direction itself."""
    count = len(v)
    vx, vy, vz = -_C1 * v[3], -_C1 * v[1], _C1 * v[2]
    if count > 4:
        vx += _C2_XY * (y * v[4] - z * v[7]) + 2.0 * x * (_C2_XX * v[8] - _C2_ZZ * v[6])
        vy += _C2_XY * (x * v[4] - z * v[5]) - 2.0 * y * (_C2_XX * v[8] + _C2_ZZ * v[6])
        vz += _C2_XY * (-y * v[5] - x * v[7]) + 4.0 * _C2_ZZ * z * v[6]
    if count > 9:
        xx, yy, zz = x * x, y * y, z * z
        tall = 4.0 * zz - xx - yy
        vx += _C3_XXX * (-6.0 * x * y * v[9] - 3.0 * (xx - yy) * v[15])
        vy += _C3_XXX * (-3.0 * (xx - yy) * v[9] + 6.0 * x * y * v[15])
        vx += _C3_XYZ * y * z * v[10]
        vy += _C3_XYZ * x * z * v[10]
        vz += _C3_XYZ * x * y * v[10]
        vx += _C3_XZZ * (2.0 * x * y * v[11] - (tall - 2.0 * xx) * v[13])
        vy += _C3_XZZ * (2.0 * x * y * v[13] - (tall - 2.0 * yy) * v[11])
        vz -= _C3_XZZ * 8.0 * z * (y * v[11] + x * v[13])
        vx -= _C3_ZZZ * 6.0 * x * z * v[12]
        vy -= _C3_ZZZ * 6.0 * y * z * v[12]
        vz += _C3_ZZZ * (6.0 * zz - 3.0 * xx - 3.0 * yy) * v[12]
        vx += 2.0 * _C3_XXZ * x * z * v[14]
        vy -= 2.0 * _C3_XXZ * y * z * v[14]
        vz += _C3_XXZ * (xx - yy) * v[14]
    return vx, vy, vz


@njit(**PARALLEL)
def shade(rows, means, sh, position, splats, boxes):
    """Writes the colours (columns 6 to 8 of splats [V, 10], see projection.py) of the Gaussians rows [V].

    A Gaussian of which the colour is not finite, or absurd, becomes black and its box empty, so that it is not drawn.
    """
    for k in prange(len(rows)):
        i = rows[k]
        basis = np.empty(sh.shape[1])
        x, y, z, _ = _direction(i, means, position)
        _fill_basis(x, y, z, basis)
        total = 0.0
        for channel in range(3):
            value = 0.5
            for b in range(len(basis)):
                value += basis[b] * sh[i, b, channel]
            splats[k, 6 + channel] = max(value, 0.0)
            total += value
        if not abs(total) < _HUGE:
            splats[k, 6], splats[k, 7], splats[k, 8] = 0.0, 0.0, 0.0
            boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3] = 0, -1, 0, -1


@njit(**PARALLEL)
def shade_backward(rows, means, sh, position, splats, v_colours, v_means, v_sh):
    """Writes v_sh and adds to v_means (rows of the Gaussians `rows`); skips what has no gradient."""
    for k in prange(len(rows)):
        i = rows[k]
        v_colour = (
            v_colours[k, 0] if splats[k, 6] > 0.0 else 0.0,
            v_colours[k, 1] if splats[k, 7] > 0.0 else 0.0,
            v_colours[k, 2] if splats[k, 8] > 0.0 else 0.0,
        )
        if v_colour[0] == 0.0 and v_colour[1] == 0.0 and v_colour[2] == 0.0:
            continue
        basis = np.empty(sh.shape[1])
        x, y, z, inverse = _direction(i, means, position)
        _fill_basis(x, y, z, basis)
        for b in range(len(basis)):
            weight = basis[b]
            basis[b] = 0.0
            for channel in range(3):
                v_sh[i, b, channel] = weight * v_colour[channel]
                basis[b] += sh[i, b, channel] * v_colour[channel]
        if len(basis) == 1:
            continue
        vx, vy, vz = _direction_gradient(x, y, z, basis)
        along = vx * x + vy * y + vz * z
        v_means[i, 0] += (vx - along * x) * inverse
        v_means[i, 1] += (vy - along * y) * inverse
        v_means[i, 2] += (vz - along * z) * inverse
