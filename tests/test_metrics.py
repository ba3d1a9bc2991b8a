"""Metrics on pyiqa's calibration images against its published values; PSNR against its definition."""

import math
from pathlib import Path

import pytest
import ResultsCalibra
import torch

from eval.metrics import brisque, niqe, psnr
from eval.synthetic.panoramas import read_rgb
from worldgen.errors import UserError
from worldgen.models.assets import fetch

CALIBRATION = Path(ResultsCalibra.__path__[0]) / "dist_dir"


def needs(asset: str) -> None:
    """Skips the test where the asset cannot be had, as on a machine without a network."""
    try:
        fetch(asset)
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("image", "published"), [("I03", 94.6452), ("I04", -0.1082), ("I06", 1.0759)])
def test_brisque_as_published(image, published):
    needs("brisque_svm")
    assert brisque(read_rgb(CALIBRATION / f"{image}.bmp")) == pytest.approx(published, abs=0.01)


@pytest.mark.parametrize(("image", "published"), [("I03", 15.6538), ("I04", 3.6549), ("I06", 3.2342)])
def test_niqe_as_published(image, published):
    """Apart by luma alone: 52 of I03's pixels are exact ties, which pyiqa's product rounds down (0.016 of NIQE)."""
    needs("niqe_pris_params")
    assert niqe(read_rgb(CALIBRATION / f"{image}.bmp")) == pytest.approx(published, abs=0.03)


def test_psnr():
    image = torch.full((3, 4, 4), 0.5)
    assert psnr(image, image) == math.inf
    assert psnr(image + 0.1, image) == pytest.approx(20, abs=1e-4)
