"""Numba kernels for the view-dependent colour: real spherical harmonics of degree 0 to 3, and their gradients.

Signs and order as in 3DGS and gsplat. The colour is max(0, 0.5 + sum_k basis_k(direction) sh_k), the direction from the
camera to the Gaussian. One compilation unit, see numba_options.py.
"""

import math

import numpy as np
from numba import njit, prange

from worldgen.splat.numba_options import EXACT, PARALLEL

_ZERO, _HALF, _ONE, _TWO, _THREE = (np.float32(v) for v in (0, 0.5, 1, 2, 3))
_FOUR, _SIX, _EIGHT = (np.float32(v) for v in (4, 6, 8))
_C0 = np.float32(0.28209479177387814)
_C1 = np.float32(0.4886025119029199)
_C2_XY, _C2_ZZ, _C2_XX = (np.float32(v) for v in (1.0925484305920792, 0.31539156525252005, 0.5462742152960396))
_C3_XXX, _C3_XYZ, _C3_XZZ, _C3_ZZZ, _C3_XXZ = (
    np.float32(v)
    for v in (0.5900435899266435, 2.890611442640554, 0.4570457994644658, 0.3731763325901154, 1.445305721320277)
)


@njit(**EXACT)
def _direction(i, means, position):
    """Unit direction from the camera to Gaussian i, and 1 / distance."""
    x, y, z = means[i, 0] - position[0], means[i, 1] - position[1], means[i, 2] - position[2]
    inverse = _ONE / math.sqrt(x * x + y * y + z * z)
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
        basis[6] = _C2_ZZ * (_TWO * zz - xx - yy)
        basis[8] = _C2_XX * (xx - yy)
        if count > 9:
            basis[9] = -_C3_XXX * y * (_THREE * xx - yy)
            basis[10] = _C3_XYZ * x * y * z
            basis[11] = -_C3_XZZ * y * (_FOUR * zz - xx - yy)
            basis[12] = _C3_ZZZ * z * (_TWO * zz - _THREE * xx - _THREE * yy)
            basis[13] = -_C3_XZZ * x * (_FOUR * zz - xx - yy)
            basis[14] = _C3_XXZ * z * (xx - yy)
            basis[15] = -_C3_XXX * x * (xx - _THREE * yy)


@njit(**EXACT)
def _direction_gradient(x, y, z, v):
    """Gradient of sum_k v_k basis_k with respect to (x, y, z), up to a part along the direction itself."""
    count = len(v)
    vx, vy, vz = -_C1 * v[3], -_C1 * v[1], _C1 * v[2]
    if count > 4:
        vx += _C2_XY * (y * v[4] - z * v[7]) + _TWO * x * (_C2_XX * v[8] - _C2_ZZ * v[6])
        vy += _C2_XY * (x * v[4] - z * v[5]) - _TWO * y * (_C2_XX * v[8] + _C2_ZZ * v[6])
        vz += _C2_XY * (-y * v[5] - x * v[7]) + _FOUR * _C2_ZZ * z * v[6]
    if count > 9:
        xx, yy, zz = x * x, y * y, z * z
        tall = _FOUR * zz - xx - yy
        vx += _C3_XXX * (-_SIX * x * y * v[9] - _THREE * (xx - yy) * v[15])
        vy += _C3_XXX * (-_THREE * (xx - yy) * v[9] + _SIX * x * y * v[15])
        vx += _C3_XYZ * y * z * v[10]
        vy += _C3_XYZ * x * z * v[10]
        vz += _C3_XYZ * x * y * v[10]
        vx += _C3_XZZ * (_TWO * x * y * v[11] - (tall - _TWO * xx) * v[13])
        vy += _C3_XZZ * (_TWO * x * y * v[13] - (tall - _TWO * yy) * v[11])
        vz -= _C3_XZZ * _EIGHT * z * (y * v[11] + x * v[13])
        vx -= _C3_ZZZ * _SIX * x * z * v[12]
        vy -= _C3_ZZZ * _SIX * y * z * v[12]
        vz += _C3_ZZZ * (_SIX * zz - _THREE * xx - _THREE * yy) * v[12]
        vx += _TWO * _C3_XXZ * x * z * v[14]
        vy -= _TWO * _C3_XXZ * y * z * v[14]
        vz += _C3_XXZ * (xx - yy) * v[14]
    return vx, vy, vz


@njit(**PARALLEL)
def shade(rows, means, sh, position, colours, boxes):
    """Writes the colour (columns 0..2 of `colours` [V, 4]) of the Gaussians `rows`.

    A Gaussian of which the colour is not finite becomes black and its box empty, so that it is not drawn.
    """
    for k in prange(len(rows)):
        i = rows[k]
        basis = np.empty(sh.shape[1], np.float32)
        x, y, z, _ = _direction(i, means, position)
        _fill_basis(x, y, z, basis)
        total = _ZERO
        for channel in range(3):
            value = _HALF
            for b in range(len(basis)):
                value += basis[b] * sh[i, b, channel]
            colours[k, channel] = max(value, _ZERO)
            total += value
        if not math.isfinite(total):
            colours[k, 0], colours[k, 1], colours[k, 2] = _ZERO, _ZERO, _ZERO
            boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3] = 0, -1, 0, -1


@njit(**PARALLEL)
def shade_backward(rows, means, sh, position, colours, colour_gradients, v_means, v_sh):
    """Writes v_sh and adds to v_means (rows of the Gaussians `rows`); skips what has no gradient."""
    for k in prange(len(rows)):
        i = rows[k]
        v_colour = (
            colour_gradients[k, 0] if colours[k, 0] > _ZERO else _ZERO,
            colour_gradients[k, 1] if colours[k, 1] > _ZERO else _ZERO,
            colour_gradients[k, 2] if colours[k, 2] > _ZERO else _ZERO,
        )
        if v_colour[0] == _ZERO and v_colour[1] == _ZERO and v_colour[2] == _ZERO:
            continue
        basis = np.empty(sh.shape[1], np.float32)
        x, y, z, inverse = _direction(i, means, position)
        _fill_basis(x, y, z, basis)
        for b in range(len(basis)):
            weight = basis[b]
            basis[b] = _ZERO
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
