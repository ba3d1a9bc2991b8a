"""Numba kernels of Adam over chosen rows; `adam.py` says what they are for and holds their readable twin.

One compilation unit, see options.py.
"""

import math

import numpy as np
from numba import njit, prange

from worldgen.splat.kernels.options import PARALLEL


@njit(**PARALLEL)
def tick(rows, clock, born, now, beta1, beta2, largest_rarity, corrections):
    """Adds one to the clocks [N] of the rows, and writes Adam's bias corrections [R, 2] for the time they show then;
    the first times the square root of how many steps, from `born` [N] to `now`, there were for each that counted, as
    far as that is not larger than `largest_rarity`."""
    for k in prange(len(rows)):
        clock[rows[k]] += 1
        time = clock[rows[k]]
        rarity = min(math.sqrt((now - born[rows[k]]) / time), largest_rarity)
        corrections[k, 0] = rarity / (1.0 - beta1**time)
        corrections[k, 1] = 1.0 / math.sqrt(1.0 - beta2**time)


@njit(**PARALLEL)
def move(rows, corrections, row_rates, column_rates, beta1, beta2, eps, grads, values, means, squares):
    """One step of Adam for the rows of values [N, D]; means, squares [N, D]: its moments; row_rates [N], or [0] for 1.

    All arrays are float32, so are beta1, beta2 and eps.
    """
    per_row = len(row_rates) > 0
    take1, take2 = np.float32(1) - beta1, np.float32(1) - beta2
    for k in prange(len(rows)):
        i = rows[k]
        by_mean, by_square = corrections[k, 0], corrections[k, 1]
        if per_row:
            by_mean *= row_rates[i]
        for column in range(values.shape[1]):
            grad = grads[i, column]
            mean = beta1 * means[i, column] + take1 * grad
            square = beta2 * squares[i, column] + take2 * grad * grad
            means[i, column], squares[i, column] = mean, square
            values[i, column] -= column_rates[column] * by_mean * mean / (math.sqrt(square) * by_square + eps)
