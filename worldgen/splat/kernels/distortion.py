"""Resampling a picture by a coarse field of offsets, and its gradients, on the CPU; `distortion.warp` says what it is.

torch's own backward passes through `interpolate` and `grid_sample` cost more here than the rasteriser. Tasks share
nothing that they write to: the result does not depend on the number of threads.
"""

import numpy as np
from numba import njit, prange

from worldgen.splat.kernels.options import EXACT, PARALLEL

_STRIP = 32
_HALF, _ONE, _ZERO = np.float32(0.5), np.float32(1), np.float32(0)


@njit(**EXACT)
def _cell(position, count):
    """The two neighbours of a position among `count` samples, and the second one's share; clamped to the ends."""
    inside = min(max(position, _ZERO), np.float32(count - 1))
    first = int(inside)
    return first, min(first + 1, count - 1), inside - np.float32(first)


@njit(**EXACT)
def _node(pixel, pixels, nodes):
    """Where the centre of a pixel lies among the nodes of the coarse grid."""
    return (np.float32(pixel) + _HALF) * np.float32(nodes) / np.float32(pixels) - _HALF


@njit(**EXACT)
def _mix(planes, plane, y0, y1, share_y, x0, x1, share_x):
    top = planes[plane, y0, x0] * (_ONE - share_x) + planes[plane, y0, x1] * share_x
    bottom = planes[plane, y1, x0] * (_ONE - share_x) + planes[plane, y1, x1] * share_x
    return top * (_ONE - share_y) + bottom * share_y


@njit(**PARALLEL)
def warp_forward(image, offsets):
    """image float32 [C, H, W], offsets float32 [2, G, G] -> (warped [C, H, W], read positions [2, H, W] in pixels)."""
    channels, height, width = image.shape
    nodes = offsets.shape[1]
    warped = np.empty_like(image)
    positions = np.empty((2, height, width), np.float32)
    for y in prange(height):
        n0, n1, share_n = _cell(_node(y, height, nodes), nodes)
        for x in range(width):
            m0, m1, share_m = _cell(_node(x, width, nodes), nodes)
            offset_x = _mix(offsets, 0, n0, n1, share_n, m0, m1, share_m)
            offset_y = _mix(offsets, 1, n0, n1, share_n, m0, m1, share_m)
            at_x = np.float32(x) + offset_x * _HALF * np.float32(width)
            at_y = np.float32(y) + offset_y * _HALF * np.float32(height)
            positions[0, y, x], positions[1, y, x] = at_x, at_y
            x0, x1, share_x = _cell(at_x, width)
            y0, y1, share_y = _cell(at_y, height)
            for channel in range(channels):
                warped[channel, y, x] = _mix(image, channel, y0, y1, share_y, x0, x1, share_x)
    return warped, positions


@njit(**PARALLEL)
def image_gradient(positions, grad):
    """Spreads the gradient [C, H, W] of the warped picture to the pixels that were read: [C, H, W]."""
    channels, height, width = grad.shape
    result = np.zeros_like(grad)
    for channel in prange(channels):
        plane = result[channel]
        for y in range(height):
            for x in range(width):
                x0, x1, share_x = _cell(positions[0, y, x], width)
                y0, y1, share_y = _cell(positions[1, y, x], height)
                value = grad[channel, y, x]
                bottom = value * share_y
                top = value - bottom
                plane[y0, x0] += top * (_ONE - share_x)
                plane[y0, x1] += top * share_x
                plane[y1, x0] += bottom * (_ONE - share_x)
                plane[y1, x1] += bottom * share_x
    return result


@njit(**PARALLEL)
def offset_gradient(image, positions, grad, nodes):
    """The gradient with respect to the offsets, to be summed up over strips [S, 2, G, G]; none where a position is
    clamped to the border. Numba takes seconds longer to compile a sum along an axis."""
    channels, height, width = image.shape
    strips = (height + _STRIP - 1) // _STRIP
    parts = np.zeros((strips, 2, nodes, nodes), np.float32)
    for strip in prange(strips):
        part = parts[strip]
        for y in range(strip * _STRIP, min(height, (strip + 1) * _STRIP)):
            n0, n1, share_n = _cell(_node(y, height, nodes), nodes)
            for x in range(width):
                at_x, at_y = positions[0, y, x], positions[1, y, x]
                x0, x1, share_x = _cell(at_x, width)
                y0, y1, share_y = _cell(at_y, height)
                along_x, along_y = _ZERO, _ZERO
                for channel in range(channels):
                    plane, value = image[channel], grad[channel, y, x]
                    top, bottom = plane[y0, x1] - plane[y0, x0], plane[y1, x1] - plane[y1, x0]
                    left, right = plane[y1, x0] - plane[y0, x0], plane[y1, x1] - plane[y0, x1]
                    along_x += value * (top + share_y * (bottom - top))
                    along_y += value * (left + share_x * (right - left))
                along_x = along_x * _HALF * np.float32(width) if _ZERO < at_x < np.float32(width - 1) else _ZERO
                along_y = along_y * _HALF * np.float32(height) if _ZERO < at_y < np.float32(height - 1) else _ZERO
                m0, m1, share_m = _cell(_node(x, width, nodes), nodes)
                for axis, value in enumerate((along_x, along_y)):
                    bottom = value * share_n
                    top = value - bottom
                    part[axis, n0, m0] += top * (_ONE - share_m)
                    part[axis, n0, m1] += top * share_m
                    part[axis, n1, m0] += bottom * (_ONE - share_m)
                    part[axis, n1, m1] += bottom * share_m
    return parts
