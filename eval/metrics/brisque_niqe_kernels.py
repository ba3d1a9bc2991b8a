"""What BRISQUE and NIQE do to every pixel, as single-threaded numba kernels: processes score pictures side by side.

The float32 arithmetic is that of pyiqa 0.1.16, operation by operation. It has to be: flat skies leave a residue of
rounding, and whether that residue is negative, zero or positive decides on which side of the fit a pixel counts.
"""

import numpy as np
from numba import njit
from numba.extending import intrinsic

_EIGHT_BIT = 2.0**-12  # levels; k / 255 in float32 lies within 2e-5 of k, however it was rounded
_WINDOW = 7
_MARGIN = _WINDOW // 2
_HALVING_SIDE = [-0.01171875, -0.03515625, 0.11328125, 0.43359375]
_HALVING = np.array([*_HALVING_SIDE, *reversed(_HALVING_SIDE)], np.float32)
_BEFORE = 3  # taps of _HALVING before the pixel whose index is twice the new one's


def gauss_window(sigma: float = 7 / 6) -> np.ndarray:
    """[7, 7] float32, sums to 1 up to rounding: MATLAB's fspecial, in the precision that pyiqa keeps it in."""
    offsets = np.arange(-_MARGIN, _MARGIN + 1.0)
    weights = np.exp(-(offsets**2 + offsets[:, None] ** 2) / (2 * sigma * sigma))
    return (weights / weights.sum()).astype(np.float32)


@njit(cache=True, error_model="numpy")
def luma(rgb):
    """Y of YIQ in whole grey levels 0..255, halves up: float32 [3, H, W] in [0, 1] -> float32 [H, W].

    A pixel of three 8-bit values k / 255 has (299 R + 587 G + 114 B + 500) // 1000: float64 holds these whole numbers
    exactly. Any other pixel has the same expression of 255 times its values, in float64.
    """
    _, height, width = rgb.shape
    scale = np.float64(255)
    grey = np.empty((height, width), np.float32)
    for y in range(height):
        for x in range(width):
            red, green, blue = rgb[0, y, x] * scale, rgb[1, y, x] * scale, rgb[2, y, x] * scale
            whole_red, whole_green, whole_blue = np.rint(red), np.rint(green), np.rint(blue)
            if max(abs(red - whole_red), abs(green - whole_green), abs(blue - whole_blue)) < _EIGHT_BIT:
                red, green, blue = whole_red, whole_green, whole_blue
            grey[y, x] = np.floor((299 * red + 587 * green + 114 * blue + 500) / 1000)
    return grey


@njit(cache=True, error_model="numpy")
def contrast_normalised(padded, window, tiny):
    """(I - mean) / (deviation + 1) in a Gaussian window, the MSCN coefficients (Eq. 1 of Mittal et al. 2012).

    padded: [H + 6, W + 6], whose type (float32 or float64) is that of the arithmetic; window: [7, 7] of that type;
    tiny: keeps the root away from 0. Returns [H, W].
    """
    height, width = padded.shape[0] - 2 * _MARGIN, padded.shape[1] - 2 * _MARGIN
    one = padded.dtype.type(1)
    coefficients = np.empty((height, width), padded.dtype)
    mean, mean_square = np.empty(width, padded.dtype), np.empty(width, padded.dtype)
    for y in range(height):
        _window_means(padded[y : y + _WINDOW], window, mean, mean_square)
        for x in range(width):
            deviation = np.sqrt(np.abs(mean_square[x] - mean[x] * mean[x]) + tiny)
            coefficients[y, x] = (padded[y + _MARGIN, x + _MARGIN] - mean[x]) / (deviation + one)
    return coefficients


@intrinsic
def _fused(context, one, other, addend):
    """one * other + addend, rounded once, also where the processor has no such instruction."""

    def generate(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return addend(one, other, addend), generate


@njit(cache=True, error_model="numpy")
def _window_means(rows, window, mean, mean_square):
    """Weighted means of the values and of their squares over 7 rows [7, W + 6], into two rows [W].

    Summed up in oneDNN's order with fused operations, as pyiqa's convolution is.
    """
    width = len(mean)
    mean[:] = 0
    mean_square[:] = 0
    for i in range(_WINDOW):
        for j in range(_WINDOW):
            weight = window[i, j]
            values = rows[i, j : j + width]
            for x in range(width):
                square = values[x] * values[x]
                mean[x] = _fused(values[x], weight, mean[x])
                mean_square[x] = _fused(square, weight, mean_square[x])


@njit(cache=True, error_model="numpy")
def halved(image):
    """MATLAB's imresize(image, 0.5), bicubic and antialiased: float32 [H, W] -> [ceil(H / 2), ceil(W / 2)]."""
    height, width = image.shape
    new_height, new_width = (height + 1) // 2, (width + 1) // 2
    small = np.empty((new_height, new_width), np.float32)
    row = np.empty(width, np.float32)
    spread = np.empty(2 * new_width + len(_HALVING), np.float32)
    for y in range(new_height):
        row[:] = 0
        for tap in range(len(_HALVING)):
            source = image[_mirrored(2 * y + tap - _BEFORE, height)]
            for x in range(width):
                row[x] += source[x] * _HALVING[tap]
        for x in range(len(spread)):
            spread[x] = row[_mirrored(x - _BEFORE, width)]
        for x in range(new_width):
            total = np.float32(0)
            for tap in range(len(_HALVING)):
                total += spread[2 * x + tap] * _HALVING[tap]
            small[y, x] = total
    return small


@njit(inline="always")
def _mirrored(index, size):
    """An index outside 0..size-1 as that of its mirror image; the border counts twice."""
    if index < 0:
        return -index - 1
    return index if index < size else 2 * size - 1 - index


@njit(cache=True, error_model="numpy")
def moments(coefficients, block_height, block_width):
    """Sums that the fits need, in each whole block of MSCN coefficients [H, W]. A block's neighbours wrap round.

    Returns float64 [blocks, 5, 5]. First the coefficients themselves, then their products with the neighbours to the
    left, above, above to the left and above to the right; of each: how many are negative, how many positive, the sums
    of the squares of the negative and of the positive ones, and the sum of the absolute values.
    """
    across, down = coefficients.shape[1] // block_width, coefficients.shape[0] // block_height
    sums = np.zeros((down * across, 5, 5))
    here, above = np.empty(block_width + 2, coefficients.dtype), np.empty(block_width + 2, coefficients.dtype)
    ones = np.ones(block_width, coefficients.dtype)
    for block in range(down * across):
        top, left = block // across * block_height, block % across * block_width
        rows = coefficients[top : top + block_height, left : left + block_width]
        _wrap(rows[block_height - 1], above)
        for y in range(block_height):
            _wrap(rows[y], here)
            centre = here[1:-1]
            _add_products(centre, ones, sums[block, 0])
            _add_products(centre, here[:-2], sums[block, 1])
            _add_products(centre, above[1:-1], sums[block, 2])
            _add_products(centre, above[:-2], sums[block, 3])
            _add_products(centre, above[2:], sums[block, 4])
            here, above = above, here
    return sums


@njit(inline="always")
def _wrap(row, wrapped):
    """Copies a row [W] into [W + 2], with its other end before and after it."""
    for x in range(len(row)):  # numba takes four seconds longer to compile one slice that takes another's values
        wrapped[1 + x] = row[x]
    wrapped[0] = row[-1]
    wrapped[-1] = row[0]


# A sum in order is never vectorised.
@njit(error_model="numpy", fastmath={"reassoc", "nsz", "contract"}, forceinline=True)
def _add_products(one, other, sums):
    """Adds a row's products to `sums` [5]: a row in its own precision, the rows in float64."""
    zero, unit = one.dtype.type(0), one.dtype.type(1)
    negatives, positives, negative_squares, positive_squares, magnitudes = zero, zero, zero, zero, zero
    for x in range(len(one)):
        product = one[x] * other[x]
        square = product * product
        negatives += unit if product < 0 else zero
        positives += unit if product > 0 else zero
        negative_squares += square if product < 0 else zero
        positive_squares += square if product > 0 else zero
        magnitudes += np.abs(product)
    sums[0] += negatives
    sums[1] += positives
    sums[2] += negative_squares
    sums[3] += positive_squares
    sums[4] += magnitudes
