"""Generalised Gaussian distributions, symmetric and asymmetric, fitted to sums over MSCN coefficients.

As pyiqa fits them: the shape is looked up in a table of ratios at steps of 0.001, in the arithmetic's precision.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import DTypeLike
from scipy.special import gammaln

NEGATIVES, POSITIVES, NEGATIVE_SQUARES, POSITIVE_SQUARES, MAGNITUDES = range(5)
"""The last axis of `natural_kernels.moments`."""


def fit_symmetric(sums: np.ndarray, pixels: int, dtype: DTypeLike) -> tuple[np.ndarray, np.ndarray]:
    """sums: [..., 5] over `pixels` values. Returns shapes and variances [...]."""
    variance = (sums[..., NEGATIVE_SQUARES] + sums[..., POSITIVE_SQUARES]) / pixels
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = variance / (sums[..., MAGNITUDES] / pixels) ** 2
    shapes, ratios, _ = _tables(np.dtype(dtype).name)
    return shapes[_nearest(-ratios, -ratio)], variance


def fit_asymmetric(sums: np.ndarray, pixels: int, dtype: DTypeLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """sums: [..., 5] over `pixels` values. Returns shapes and the deviations to the left and to the right, [...].

    A deviation is NaN where no value lies on its side, and the shape is then the table's first, 0.2.
    """
    squares = (sums[..., NEGATIVE_SQUARES] + sums[..., POSITIVE_SQUARES]) / pixels
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.sqrt(sums[..., NEGATIVE_SQUARES] / sums[..., NEGATIVES])
        right = np.sqrt(sums[..., POSITIVE_SQUARES] / sums[..., POSITIVES])
        lean = left / right
        ratio = (sums[..., MAGNITUDES] / pixels) ** 2 / squares
        ratio = ratio * (lean**3 + 1) * (lean + 1) / (lean**2 + 1) ** 2
    shapes, _, ratios = _tables(np.dtype(dtype).name)
    return shapes[_nearest(ratios, ratio)], left, right


def gamma_ratio(above: int, below: int, shape: np.ndarray) -> np.ndarray:
    """Γ(above / shape) / Γ(below / shape)."""
    return np.exp(gammaln(above / shape) - gammaln(below / shape))


def _nearest(table: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Index of the entry of an ascending table that is nearest to each value; 0 for NaN."""
    after = np.searchsorted(table, values).clip(1, len(table) - 1)
    index = after - (values - table[after - 1] <= table[after] - values)
    return np.where(np.isnan(values), 0, index)


@lru_cache(maxsize=2)
def _tables(dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shapes g, their ratios Γ(1/g)·Γ(3/g) / Γ(2/g)², which fall, and the inverses of these, which rise; float64.

    Computed by torch in `dtype`, as pyiqa does: in float32 the table's own rounding moves the nearest entry.
    """
    shapes = torch.arange(0.2, 10 + 0.001, 0.001).to(getattr(torch, dtype))
    one, two, three = (torch.lgamma(i / shapes) for i in (1.0, 2.0, 3.0))
    ratios, inverses = (one + three - 2 * two).exp(), (2 * two - (one + three)).exp()
    return shapes.double().numpy(), ratios.double().numpy(), inverses.double().numpy()
