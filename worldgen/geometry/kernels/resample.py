"""Images read at fractional pixels on the CPU, in one pass: what equirect.py does with grid_sample elsewhere.

Both kernels read a panorama in place (round the back and over the poles) or clamp to a picture's edge, and use the
weights of torch's grid_sample, so that either path gives the same picture.
"""

from typing import Any

import numpy as np
from numba import njit, prange

TAPS = {"nearest": (0,), "bilinear": (0, 1), "bicubic": (-1, 0, 1, 2)}
"""The neighbours that a mode reads in each direction. Tuples, so that each length compiles to a kernel of its own."""

_FAST: dict[str, Any] = {"cache": True, "error_model": "numpy"}


@njit(parallel=True, **_FAST)
def read_panorama(panorama, x, y, taps, out):
    """panorama [C, H, W] at pixels x, y [N] (centres at +0.5), into out [C, N]; taps: one of TAPS."""
    chunks = 64
    for chunk in prange(chunks):
        for pixel in range(chunk * x.size // chunks, (chunk + 1) * x.size // chunks):
            _read(panorama, x[pixel], y[pixel], taps, True, out, pixel)


@njit(parallel=True, **_FAST)
def spread_view(image, rotation, intrinsics, cos_lat, sin_lat, cos_lon, sin_lon, taps, out, inside):
    """A perspective image [C, h, w] over the grid of an equirectangular one: zeros out [C, H * W], inside [H, W].

    rotation: [3, 3] of c2w; intrinsics: fx, fy, cx, cy in pixels; the rest: of the grid's rows and columns.
    """
    fx, fy, cx, cy = intrinsics
    height, width = inside.shape
    for row in prange(height):
        across, down = cos_lat[row], sin_lat[row]
        for column in range(width):
            right, ahead = across * sin_lon[column], across * cos_lon[column]
            z = right * rotation[0, 2] + down * rotation[1, 2] + ahead * rotation[2, 2]
            if z <= 1e-6:
                continue
            u = fx * (right * rotation[0, 0] + down * rotation[1, 0] + ahead * rotation[2, 0]) / z + cx
            v = fy * (right * rotation[0, 1] + down * rotation[1, 1] + ahead * rotation[2, 1]) / z + cy
            if 0 <= u <= image.shape[2] and 0 <= v <= image.shape[1]:
                inside[row, column] = True
                _read(image, u, v, taps, False, out, row * width + column)


@njit(forceinline=True)
def _read(image, x, y, taps, sphere, out, pixel):
    """Image [C, H, W] at (x, y) into out[:, pixel]."""
    channels, height, width = image.shape
    count = len(taps)
    centre = np.float32(0 if count == 1 else 0.5)
    column, row = int(np.floor(x - centre)), int(np.floor(y - centre))
    weights_x, weights_y = _weights(x - centre - column, count), _weights(y - centre - row, count)
    column, row = column + taps[0], row + taps[0]
    inner = 0 <= column <= width - count and 0 <= row <= height - count
    for channel in range(channels):
        total = np.float32(0)
        for j in range(count):
            for i in range(count):
                if inner:
                    value = image[channel, row + j, column + i]
                else:
                    near_row, near_column = _at(row + j, column + i, height, width, sphere)
                    value = image[channel, near_row, near_column]
                total += weights_y[j] * weights_x[i] * value
        out[channel, pixel] = total


@njit(forceinline=True)
def _at(row, column, height, width, sphere):
    """The pixel that stands for one beyond the edge."""
    if not sphere:
        return min(max(row, 0), height - 1), min(max(column, 0), width - 1)
    if row < 0:
        row, column = -1 - row, column + width // 2
    elif row >= height:
        row, column = 2 * height - 1 - row, column + width // 2
    if column < 0:
        column += width
    while column >= width:
        column -= width
    return row, column


@njit(forceinline=True)
def _weights(t, count):
    """Of the neighbours of a point that lies t in [0, 1) right of a pixel's centre; cubic: Keys 1981, a = -0.75."""
    one, zero = np.float32(1), np.float32(0)
    if count == 1:
        return one, zero, zero, zero
    if count == 2:
        return one - t, t, zero, zero
    return _outer(one + t), _inner(t), _inner(one - t), _outer(np.float32(2) - t)


@njit(forceinline=True)
def _inner(d):
    return (np.float32(1.25) * d - np.float32(2.25)) * d * d + np.float32(1)


@njit(forceinline=True)
def _outer(d):
    return ((np.float32(-0.75) * d + np.float32(3.75)) * d - np.float32(6)) * d + np.float32(3)
