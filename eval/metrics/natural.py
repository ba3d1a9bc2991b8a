"""Scores of single images: BRISQUE and NIQE by pyiqa's reference code, PSNR. Images are [3, H, W] in [0, 1].

Score tensors or PNG: JPEG moves NIQE by a point. The evaluation harness's further metrics belong here.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from worldgen.assets import fetch

_SVM_FEATURES = 36


def brisque(rgb: Tensor) -> float:
    """Mittal et al. 2012, lower is better, may be negative; about 0 to 20 for a clean photo."""
    from pyiqa.archs.brisque_arch import brisque as reference

    sv_coef, sv = _brisque_svm()
    return float(reference(rgb[None], sv_coef=sv_coef, sv=sv))


def niqe(rgb: Tensor) -> float:
    """Mittal et al. 2013, lower is better; about 3 to 5 for a clean photo. Needs at least 192 x 192 pixels."""
    from pyiqa.archs.niqe_arch import calculate_niqe

    mean, covariance = _niqe_pristine()
    return float(calculate_niqe(rgb[None], mu_pris_param=mean, cov_pris_param=covariance))


def psnr(image: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB between two images of one size; infinite where they are equal."""
    mean_square = float((image - truth).square().mean())
    return math.inf if mean_square == 0 else -10 * math.log10(mean_square)


@lru_cache(maxsize=1)
def _brisque_svm() -> tuple[Tensor, Tensor]:
    """The authors' support vectors, from libsvm's text format: coefficients [N, 1], vectors [N, 36]."""
    lines = fetch("brisque_svm").read_text().split("SV\n", 1)[1].splitlines()
    coefficients = torch.zeros(len(lines), 1)
    vectors = torch.zeros(len(lines), _SVM_FEATURES)
    for row, line in enumerate(lines):
        coefficient, *features = line.split()
        coefficients[row] = float(coefficient)
        for feature in features:  # libsvm leaves zeros out
            index, value = feature.split(":")
            vectors[row, int(index) - 1] = float(value)
    return coefficients, vectors


@lru_cache(maxsize=1)
def _niqe_pristine() -> tuple[Tensor, Tensor]:
    """Mean [36] and covariance [36, 36] of the features of pristine photos."""
    with np.load(fetch("niqe_pris_params")) as parameters:
        mean, covariance = parameters["mu_pris_param"], parameters["cov_pris_param"]
    return torch.from_numpy(mean.ravel()), torch.from_numpy(covariance)
