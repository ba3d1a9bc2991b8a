"""Correcting a picture's colours by a bilateral grid, and the gradients, on the CPU; see `bilateral.correct`.

Grids come with their 12 numbers innermost, so that what a pixel reads lies together. A row of pixels works on one
slice, blended from the two rows of nodes beside it. Strips share nothing that they write to: the result does not
depend on the number of threads.
"""

import numpy as np
from numba import njit, prange

from worldgen.splat.kernels.options import EXACT, PARALLEL

LUMA = (0.299, 0.587, 0.114)
"""The shares of red, green and blue in a pixel's luma (ITU-R BT.601)."""

_STRIP = 32
_HALF, _ONE, _ZERO = np.float32(0.5), np.float32(1), np.float32(0)
_RED, _GREEN, _BLUE = np.float32(LUMA[0]), np.float32(LUMA[1]), np.float32(LUMA[2])


@njit(**EXACT)
def _cell(position, count):
    """The two neighbours of a position among `count` nodes, and the second one's share; clamped to the ends."""
    inside = min(max(position, _ZERO), np.float32(count - 1))
    first = int(inside)
    return first, min(first + 1, count - 1), inside - np.float32(first)


@njit(**EXACT)
def _node(pixel, pixels, nodes):
    """Where the centre of a pixel lies among nodes of which the first and the last are on the picture's edges."""
    return (np.float32(pixel) + _HALF) / np.float32(pixels) * np.float32(nodes - 1)


@njit(**EXACT)
def _blend(first, second, share, out):
    """out [X, L, 12]: what lies between two rows of nodes."""
    for x in range(out.shape[0]):
        for luma in range(out.shape[1]):
            for k in range(12):
                out[x, luma, k] = first[x, luma, k] * (_ONE - share) + second[x, luma, k] * share


@njit(**EXACT)
def _read(nodes, x0, x1, share_x, l0, l1, dark, light):
    """Fills dark, light [12]: a pixel's transform at the two luma nodes beside it, from nodes [X, L, 12]."""
    left_dark, right_dark, left_light, right_light = nodes[x0, l0], nodes[x1, l0], nodes[x0, l1], nodes[x1, l1]
    for k in range(12):
        dark[k] = left_dark[k] * (_ONE - share_x) + right_dark[k] * share_x
        light[k] = left_light[k] * (_ONE - share_x) + right_light[k] * share_x


@njit(**EXACT)
def _add(nodes, x, luma, factor, terms):
    target = nodes[x, luma]
    for k in range(12):
        target[k] += factor * terms[k]


@njit(**PARALLEL)
def correct_forward(rgb, grid):
    """rgb float32 [3, H, W], grid float32 [Y, X, L, 12] of deviations from the identity -> corrected [3, H, W]."""
    _, height, width = rgb.shape
    rows, columns, lumas, _ = grid.shape
    result = np.empty_like(rgb)
    for strip in prange((height + _STRIP - 1) // _STRIP):
        nodes = np.empty((columns, lumas, 12), np.float32)
        dark, light = np.empty(12, np.float32), np.empty(12, np.float32)
        for y in range(strip * _STRIP, min(height, (strip + 1) * _STRIP)):
            y0, y1, share_y = _cell(_node(y, height, rows), rows)
            _blend(grid[y0], grid[y1], share_y, nodes)
            for x in range(width):
                r, g, b = rgb[0, y, x], rgb[1, y, x], rgb[2, y, x]
                x0, x1, share_x = _cell(_node(x, width, columns), columns)
                l0, l1, share_l = _cell((_RED * r + _GREEN * g + _BLUE * b) * np.float32(lumas - 1), lumas)
                _read(nodes, x0, x1, share_x, l0, l1, dark, light)
                for k in range(12):
                    dark[k] += share_l * (light[k] - dark[k])
                result[0, y, x] = r + dark[0] * r + dark[1] * g + dark[2] * b + dark[3]
                result[1, y, x] = g + dark[4] * r + dark[5] * g + dark[6] * b + dark[7]
                result[2, y, x] = b + dark[8] * r + dark[9] * g + dark[10] * b + dark[11]
    return result


@njit(**PARALLEL)
def correct_gradients(rgb, grid, grad):
    """grad [3, H, W] of the corrected picture -> gradients of rgb [3, H, W] and, to be summed up over strips, of grid
    [S, Y, X, L, 12]. Numba takes seconds longer to compile a sum along an axis.

    A pixel's colour also decides where it reads; that gives nothing where its luma is clamped to 0 or 1.
    """
    _, height, width = rgb.shape
    rows, columns, lumas, _ = grid.shape
    strips = (height + _STRIP - 1) // _STRIP
    to_rgb = np.empty_like(rgb)
    parts = np.zeros((strips, rows, columns, lumas, 12), np.float32)
    for strip in prange(strips):
        part = parts[strip]
        nodes, to_nodes = np.empty((columns, lumas, 12), np.float32), np.empty((columns, lumas, 12), np.float32)
        dark, light, terms = np.empty(12, np.float32), np.empty(12, np.float32), np.empty(12, np.float32)
        for y in range(strip * _STRIP, min(height, (strip + 1) * _STRIP)):
            y0, y1, share_y = _cell(_node(y, height, rows), rows)
            _blend(grid[y0], grid[y1], share_y, nodes)
            to_nodes[:] = _ZERO
            for x in range(width):
                r, g, b = rgb[0, y, x], rgb[1, y, x], rgb[2, y, x]
                x0, x1, share_x = _cell(_node(x, width, columns), columns)
                at_luma = (_RED * r + _GREEN * g + _BLUE * b) * np.float32(lumas - 1)
                l0, l1, share_l = _cell(at_luma, lumas)
                _read(nodes, x0, x1, share_x, l0, l1, dark, light)
                for channel in range(3):
                    value = grad[channel, y, x]
                    terms[4 * channel], terms[4 * channel + 1] = value * r, value * g
                    terms[4 * channel + 2], terms[4 * channel + 3] = value * b, value
                along_luma = _ZERO
                for k in range(12):
                    along_luma += terms[k] * (light[k] - dark[k])
                    dark[k] += share_l * (light[k] - dark[k])
                inside = _ZERO < at_luma < np.float32(lumas - 1)
                along_luma = along_luma * np.float32(lumas - 1) if inside else _ZERO
                u, v, w = grad[0, y, x], grad[1, y, x], grad[2, y, x]
                to_rgb[0, y, x] = u + dark[0] * u + dark[4] * v + dark[8] * w + _RED * along_luma
                to_rgb[1, y, x] = v + dark[1] * u + dark[5] * v + dark[9] * w + _GREEN * along_luma
                to_rgb[2, y, x] = w + dark[2] * u + dark[6] * v + dark[10] * w + _BLUE * along_luma
                _add(to_nodes, x0, l0, (_ONE - share_x) * (_ONE - share_l), terms)
                _add(to_nodes, x0, l1, (_ONE - share_x) * share_l, terms)
                _add(to_nodes, x1, l0, share_x * (_ONE - share_l), terms)
                _add(to_nodes, x1, l1, share_x * share_l, terms)
            for x in range(columns):
                for luma in range(lumas):
                    _add(part[y0], x, luma, _ONE - share_y, to_nodes[x, luma])
                    _add(part[y1], x, luma, share_y, to_nodes[x, luma])
    return to_rgb, parts
