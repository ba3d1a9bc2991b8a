"""L1 + SSIM and their gradient in one pass on the CPU; `losses.photometric_loss` is its readable twin.

Strips of rows go through all stages while they are still in the cache, and every stage runs along rows, so that the
compiler vectorises it. Strips share nothing: the result does not depend on the number of threads.
"""

import numpy as np
from numba import njit, prange

from worldgen.splat.kernels.options import EXACT, PARALLEL

RADIUS = 5
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2
_taps = np.exp(-(np.arange(-RADIUS, RADIUS + 1) ** 2) / (2 * SIGMA**2))
WINDOW = (_taps / _taps.sum()).astype(np.float32)
"""[11], the Gaussian window of Wang et al. 2004, one axis."""

_TAPS = 2 * RADIUS + 1
_STRIP = 64
_C1, _C2 = np.float32(C1), np.float32(C2)
_ONE, _TWO, _ZERO = np.float32(1), np.float32(2), np.float32(0)


@njit(**EXACT)
def _weighted(a, b, c, d, e, middle, f, g, h, i, j):
    """The window, which is symmetric, over eleven numbers."""
    return (
        WINDOW[5] * middle + WINDOW[4] * (e + f) + WINDOW[3] * (d + g) + WINDOW[2] * (c + h) + WINDOW[1] * (b + i)
        + WINDOW[0] * (a + j)
    )  # fmt: skip


@njit(**EXACT)
def _blur_to_row(planes, first, tall, out):
    """Window-weighted sums of rows first .. first + 10 of planes [P, R, W + 10] into out [P, W]; tall: scratch.

    All taps in one loop, so that a sum is written once.
    """
    for plane in range(planes.shape[0]):
        rows, column, row = planes[plane, first : first + _TAPS], tall[plane], out[plane]
        for i in range(len(column)):
            column[i] = _weighted(
                rows[0, i], rows[1, i], rows[2, i], rows[3, i], rows[4, i], rows[5, i],
                rows[6, i], rows[7, i], rows[8, i], rows[9, i], rows[10, i],
            )  # fmt: skip
        for i in range(len(row)):
            row[i] = _weighted(
                column[i], column[i + 1], column[i + 2], column[i + 3], column[i + 4], column[i + 5],
                column[i + 6], column[i + 7], column[i + 8], column[i + 9], column[i + 10],
            )  # fmt: skip


@njit(**EXACT)
def _moments(x, y, support, planes):
    """Fills rows [W] of planes [4, W]: x, y, x^2 + y^2 and x y, nothing outside the support."""
    sum_x, sum_y, squares, products = planes[0], planes[1], planes[2], planes[3]
    for i in range(len(x)):
        a, b = x[i] * support[i], y[i] * support[i]
        sum_x[i], sum_y[i] = a, b
        squares[i], products[i] = a * a + b * b, a * b


@njit(**EXACT)
def _similarity(moments, per_mass, factor, terms, losses):
    """One row of SSIM: losses [W] = factor (1 - SSIM); terms [3, W]: d losses / d window sums of x, x^2 and xy."""
    sum_x, sum_y, squares, products = moments[0], moments[1], moments[2], moments[3]
    by_mean, by_square, by_product = terms[0], terms[1], terms[2]
    for i in range(len(losses)):
        scale = per_mass[i]
        mean_x, mean_y = sum_x[i] * scale, sum_y[i] * scale
        cross, energy = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
        a, b = _TWO * cross + _C1, _TWO * (products[i] * scale - cross) + _C2
        c, d = energy + _C1, squares[i] * scale - energy + _C2
        per_cd = _ONE / (c * d)
        ssim = a * b * per_cd
        weight = -factor[i] * scale
        by_mean[i] = weight * _TWO * (mean_y * (b - a) * per_cd - mean_x * ssim * (d - c) * per_cd)
        by_square[i] = -weight * ssim * c * per_cd
        by_product[i] = weight * _TWO * a * per_cd
        losses[i] = factor[i] * (_ONE - ssim)


@njit(**EXACT)
def _gradient(x, y, support, weight, l1_factor, blurred, grad, losses):
    """One row of the gradient from blurred terms [3, W], with that of L1, whose value goes to losses [W]."""
    by_mean, by_square, by_product = blurred[0], blurred[1], blurred[2]
    for i in range(len(x)):
        ssim_part = by_mean[i] + _TWO * x[i] * by_square[i] + y[i] * by_product[i]
        difference = x[i] - y[i]
        sign = _ONE if difference > _ZERO else (-_ONE if difference < _ZERO else _ZERO)
        factor = weight[i] * l1_factor
        grad[i] = support[i] * ssim_part + factor * sign
        losses[i] = factor * abs(difference)


@njit(fastmath=True, forceinline=True)
def _sum(row):
    total = _ZERO
    for i in range(len(row)):
        total += row[i]
    return total


@njit(**PARALLEL)
def _per_window_mass(support):
    """1 / the share of each window that lies on the support [H, W]; 0 off the support."""
    height, width = support.shape
    result = np.zeros((height, width), np.float32)
    for strip in prange((height + _STRIP - 1) // _STRIP):
        start, stop = strip * _STRIP, min(height, (strip + 1) * _STRIP)
        planes = np.zeros((1, stop - start + 2 * RADIUS, width + 2 * RADIUS), np.float32)
        for y in range(max(0, start - RADIUS), min(height, stop + RADIUS)):
            row = planes[0, y - start + RADIUS]
            for x in range(width):
                row[RADIUS + x] = support[y, x]
        tall, mass = np.empty((1, width + 2 * RADIUS), np.float32), np.empty((1, width), np.float32)
        for y in range(start, stop):
            _blur_to_row(planes, y - start, tall, mass)
            for x in range(width):
                if support[y, x] > _ZERO:
                    result[y, x] = _ONE / mass[0, x]
    return result


def l1_ssim(render, target, weight, ssim_share):
    """The loss and its gradient with respect to `render`; what it computes: see `losses.photometric_loss`.

    render, target: float32 [C, H, W], contiguous; weight: float32 [H, W]; ssim_share: float.
    Returns (float, float32 [C, H, W]).
    """
    # Whole arrays are numpy's work: numba takes ten seconds longer to compile a kernel that does it.
    support = (weight > 0).astype(np.float32)
    ssim_weight = weight * np.float32(ssim_share / render.size)
    l1_factor = np.float32((1 - ssim_share) / render.size)
    sums, grad = _strips(render, target, weight, support, _per_window_mass(support), ssim_weight, l1_factor)
    return sums.sum(), grad


@njit(**PARALLEL)
def _strips(render, target, weight, support, per_mass, ssim_weight, l1_factor):
    """The losses of strips of rows, float64 [C * strips], and the gradient [C, H, W]."""
    channels, height, width = render.shape
    strips = (height + _STRIP - 1) // _STRIP
    grad = np.empty_like(render)
    sums = np.zeros(channels * strips)
    for task in prange(channels * strips):
        channel, start = task // strips, task % strips * _STRIP
        stop = min(height, start + _STRIP)
        x, y = render[channel], target[channel]
        # Rows of `terms` reach 5 beyond the strip, rows of `moments` 5 beyond those; outside the image they stay 0.
        first_term, first_moment = start - RADIUS, start - 2 * RADIUS
        inner = slice(RADIUS, RADIUS + width)
        moments = np.zeros((4, stop - start + 4 * RADIUS, width + 2 * RADIUS), np.float32)
        terms = np.zeros((3, stop - start + 2 * RADIUS, width + 2 * RADIUS), np.float32)
        tall, blurred, losses = (
            np.empty((4, width + 2 * RADIUS), np.float32),
            np.empty((4, width), np.float32),
            np.empty(width, np.float32),
        )
        for row in range(max(0, first_moment), min(height, stop + 2 * RADIUS)):
            _moments(x[row], y[row], support[row], moments[:, row - first_moment, inner])
        for row in range(max(0, first_term), min(height, stop + RADIUS)):
            _blur_to_row(moments, row - first_term, tall, blurred)
            _similarity(blurred, per_mass[row], ssim_weight[row], terms[:, row - first_term, inner], losses)
            if start <= row < stop:
                sums[task] += _sum(losses)
        for row in range(start, stop):
            _blur_to_row(terms, row - start, tall[:3], blurred[:3])
            _gradient(x[row], y[row], support[row], weight[row], l1_factor, blurred, grad[channel, row], losses)
            sums[task] += _sum(losses)
    return sums, grad
