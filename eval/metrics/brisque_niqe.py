"""Scores of single pictures that compare them with nothing: BRISQUE and NIQE. Pictures are [3, H, W] in [0, 1].

They are pyiqa's values from our own kernels, which need a fraction of its time; tests/test_brisque_niqe.py compares
the two, `python -m eval.benchmarks.scoring` times them. Score tensors or PNG: JPEG moves NIQE by a point.

Grey levels: `(299 R + 587 G + 114 B + 500) // 1000` in whole numbers for pixels of 8-bit values, the same in float64
for others. pyiqa multiplies matrices of float32, and how these round where R, G and B lie exactly between two levels
depends on the BLAS and the processor: of 155 617 random pixels 57 come out one level lower on an EPYC with AVX2, and up
to 17 differently with other instructions. That moves BRISQUE by up to 0.02 and NIQE by up to 0.016. With our levels, a
score is the same on every processor but for the order of float32 sums: 1e-5 of BRISQUE, or 0.1 where a fitted shape
lies on the edge between two of the table's steps.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache, lru_cache

import numpy as np
import torch
from torch import Tensor

from eval.metrics.base import Better, Companion, Needs
from eval.metrics.brisque_niqe_fits import fit_asymmetric, fit_symmetric, gamma_ratio
from eval.metrics.brisque_niqe_kernels import contrast_normalised, gauss_window, halved, luma, moments
from worldgen.errors import UserError
from worldgen.models.assets import ASSETS, fetch

_KERNELS = "2"  # to be raised with every change of a value: scores in the cache are then computed anew
_PYIQA = "0.1.16"  # the release whose values these are
_RANGE_TOLERANCE = 1e-6
_TINY = np.finfo(np.float32).eps  # what pyiqa adds below BRISQUE's roots; below NIQE's, that of float64

_BRISQUE_MIN_PX = 16
_SVM_GAMMA, _SVM_RHO = 0.05, -153.591
# Each scale's 18 features are scaled from these ranges to -1..1: the authors' release (allrange), as in pyiqa.
# fmt: off
_FEATURE_RANGES = np.array([
    [0.338, 10], [0.017204, 0.806612],
    [0.236, 1.642], [-0.123884, 0.20293], [0.000155, 0.712298], [0.001122, 0.470257],
    [0.244, 1.641], [-0.123586, 0.179083], [0.000152, 0.710456], [0.000975, 0.470984],
    [0.249, 1.555], [-0.135687, 0.100858], [0.000174, 0.684173], [0.000913, 0.534174],
    [0.258, 1.561], [-0.143408, 0.100486], [0.000179, 0.685696], [0.000888, 0.536508],
    [0.471, 3.264], [0.012809, 0.703171],
    [0.218, 1.046], [-0.094876, 0.187459], [1.5e-5, 0.442057], [0.001272, 0.40803],
    [0.222, 1.042], [-0.115772, 0.162604], [1.6e-5, 0.444362], [0.001374, 0.40243],
    [0.227, 0.996], [-0.117188, 0.098323], [3e-5, 0.531903], [0.001122, 0.369589],
    [0.228, 0.99], [-0.12243, 0.098658], [2.8e-5, 0.530092], [0.001118, 0.370399],
])
# fmt: on

_NIQE_BLOCK_PX = 96
_NIQE_MIN_PX = 2 * _NIQE_BLOCK_PX


def brisque(rgb: Tensor) -> float:
    """Mittal et al. 2012, lower is better, may be negative; about 0 to 20 for a clean photo.

    Raises UserError for pictures that are black, tiny, or not in [0, 1].
    """
    grey = _grey(rgb, "brisque", _BRISQUE_MIN_PX)
    return _regressed(np.concatenate([_brisque_features(grey), _brisque_features(halved(grey))]))


def niqe(rgb: Tensor) -> float:
    """Mittal et al. 2013, lower is better; about 3 to 5 for a clean photo.

    Raises UserError for pictures below 192 x 192 pixels, without any texture, or not in [0, 1].
    """
    grey = _grey(rgb, "niqe", _NIQE_MIN_PX)
    height, width = (size // _NIQE_BLOCK_PX * _NIQE_BLOCK_PX for size in grey.shape)
    grey = grey[:height, :width]
    half = halved((grey.astype(np.float64) / 255).astype(np.float32)).astype(np.float64) * 255
    scales = [_niqe_features(grey, _NIQE_BLOCK_PX), _niqe_features(half, _NIQE_BLOCK_PX // 2)]
    features = np.concatenate(scales, axis=1)
    whole = features[~np.isnan(features).any(axis=1)]
    if len(whole) < 2:
        raise UserError("niqe: the picture is flat nearly everywhere; it needs texture in two blocks of 96 x 96 pixels")
    mean, covariance = niqe_pristine()
    spread = torch.from_numpy((covariance + np.cov(whole, rowvar=False)) / 2)
    apart = mean - np.nanmean(features, axis=0)
    return math.sqrt(apart @ torch.linalg.pinv(spread).numpy() @ apart)  # Eq. 10


class _Natural:
    """What BRISQUE and NIQE have in common as a `Metric`."""

    name: str
    better: Better = "lower"
    needs: Needs = "nothing"
    across_processes = True
    _asset: str
    _score: Callable[[Tensor], float]

    def unavailable(self) -> str | None:
        return _why_missing(self._asset)

    def versions(self) -> dict[str, str]:
        asset = ASSETS[self._asset]
        return {"as in pyiqa": _PYIQA, "kernels": _KERNELS, asset.filename: asset.sha256}

    def __call__(self, pictures: Sequence[Tensor], companions: Sequence[Companion]) -> list[float]:
        del companions
        return [self._score(picture) for picture in pictures]


class Brisque(_Natural):
    """`brisque` as a metric."""

    name = "brisque"
    _asset = "brisque_svm"
    _score = staticmethod(brisque)


class Niqe(_Natural):
    """`niqe` as a metric."""

    name = "niqe"
    _asset = "niqe_pris_params"
    _score = staticmethod(niqe)


def _grey(rgb: Tensor, metric: str, min_px: int) -> np.ndarray:
    """The picture's luma, float32 [H, W] in 0..255. Raises UserError where the metric cannot take it."""
    height, width = rgb.shape[-2:]
    if min(height, width) < min_px:
        raise UserError(f"{metric}: a picture of {width} x {height} pixels; it needs at least {min_px} x {min_px}")
    darkest, brightest = (float(value) for value in rgb.aminmax())
    if not (darkest >= -_RANGE_TOLERANCE and brightest <= 1 + _RANGE_TOLERANCE):  # NaN lands here too
        raise UserError(f"{metric}: a picture with values from {darkest:g} to {brightest:g}; they must lie in [0, 1]")
    return luma(rgb.detach().to("cpu", torch.float32).contiguous().numpy())


def _brisque_features(grey: np.ndarray) -> np.ndarray:
    """18 features of one scale: shape and variance of the coefficients, then four numbers for each neighbour."""
    height, width = grey.shape
    coefficients = contrast_normalised(np.pad(grey, 3), gauss_window(), _TINY)
    sums = moments(coefficients, height, width)[0]
    shape, variance = fit_symmetric(sums[0], height * width, np.float32)
    if variance <= 1e-16:  # pyiqa's limit on the deviation, 1e-8
        raise UserError("brisque: the picture is black everywhere; it needs texture")
    shapes, left, right = fit_asymmetric(sums[1:], height * width, np.float32)
    lean = (right - left) * gamma_ratio(2, 1, shapes) * np.sqrt(gamma_ratio(1, 3, shapes))
    return np.concatenate([[shape, variance], np.stack([shapes, lean, left**2, right**2], axis=1).ravel()])


def _regressed(features: np.ndarray) -> float:
    """BRISQUE of the 36 features of both scales."""
    low, high = _FEATURE_RANGES.T
    coefficients, vectors = brisque_svm()
    squares = ((2 * (features - low) / (high - low) - 1 - vectors) ** 2).sum(axis=1)
    return float(np.exp(-_SVM_GAMMA * squares) @ coefficients - _SVM_RHO)


def _niqe_features(grey: np.ndarray, block_px: int) -> np.ndarray:
    """18 features of each block of one scale, [blocks, 18]; NaN where a block is flat."""
    padded = np.pad(grey.astype(np.float64), 3, mode="edge")
    coefficients = contrast_normalised(padded, gauss_window().astype(np.float64), np.finfo(np.float64).eps)
    shapes, left, right = fit_asymmetric(moments(coefficients, block_px, block_px), block_px**2, np.float64)
    scale = np.sqrt(gamma_ratio(1, 3, shapes))
    left, right = left * scale, right * scale
    lean = (right - left) * gamma_ratio(2, 1, shapes)  # Eq. 8
    own = np.stack([shapes[:, 0], (left[:, 0] + right[:, 0]) / 2], axis=1)
    pairs = np.stack([shapes, lean, left, right], axis=2)[:, 1:]
    return np.concatenate([own, pairs.reshape(len(pairs), -1)], axis=1)


@cache
def _why_missing(asset: str) -> str | None:
    """Why an asset cannot be had; the network is asked once per process."""
    try:
        fetch(asset)
    except UserError as error:
        return str(error)
    return None


@lru_cache(maxsize=1)
def brisque_svm() -> tuple[np.ndarray, np.ndarray]:
    """The authors' support vectors, from libsvm's text format: coefficients [N], vectors [N, 36]."""
    lines = fetch("brisque_svm").read_text().split("SV\n", 1)[1].splitlines()
    coefficients = np.zeros(len(lines))
    vectors = np.zeros((len(lines), len(_FEATURE_RANGES)))
    for row, line in enumerate(lines):
        coefficient, *features = line.split()
        coefficients[row] = float(coefficient)
        for feature in features:  # libsvm leaves zeros out
            index, value = feature.split(":")
            vectors[row, int(index) - 1] = float(value)
    return coefficients, vectors


@lru_cache(maxsize=1)
def niqe_pristine() -> tuple[np.ndarray, np.ndarray]:
    """Mean [36] and covariance [36, 36] of the features of pristine photos."""
    with np.load(fetch("niqe_pris_params")) as parameters:
        return parameters["mu_pris_param"].ravel(), parameters["cov_pris_param"]
