"""PSNR, SSIM and LPIPS: pyiqa's published values on its calibration images, an independent SSIM, known properties."""

import math
from pathlib import Path

import pytest
import ResultsCalibra
import torch

from eval.metrics.fidelity import Lpips, Psnr, Ssim
from eval.synthetic.panoramas import read_rgb
from worldgen.errors import UserError

CALIBRATION = Path(ResultsCalibra.__path__[0])
# ResultsCalibra/calibration_summary.csv of pyiqa's repository, the lines "psnr(ours)" and "lpips(ours)".
PUBLISHED_PSNR = {"I03": 21.1136, "I04": 20.9872, "I06": 27.0139, "I08": 23.3002, "I19": 21.6186}
PUBLISHED_LPIPS = {"I03": 0.7237, "I04": 0.2572, "I06": 0.0508, "I08": 0.0521, "I19": 0.4253}


@pytest.fixture(scope="module")
def lpips():
    metric = Lpips()
    if metric.unavailable():
        pytest.skip(metric.unavailable())
    return metric


@pytest.fixture(scope="module")
def photo():
    return read_rgb(CALIBRATION / "ref_dir" / "I04.bmp")[:, 100:228, 60:220]


def calibration_pair(image):
    return tuple(read_rgb(CALIBRATION / folder / f"{image}.bmp") for folder in ("dist_dir", "ref_dir"))


def noisy(photo, strength):
    noise = torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    return (photo + strength * noise).clamp(0, 1)


@pytest.mark.parametrize("image", PUBLISHED_PSNR)
def test_psnr_as_published(image):
    distorted, reference = calibration_pair(image)
    assert Psnr()([distorted], [reference]) == pytest.approx([PUBLISHED_PSNR[image]], abs=0.001)


@pytest.mark.parametrize("image", PUBLISHED_LPIPS)
def test_lpips_as_published(image, lpips):
    distorted, reference = calibration_pair(image)
    assert lpips([distorted], [reference]) == pytest.approx([PUBLISHED_LPIPS[image]], abs=0.001)


def test_ssim_agrees_with_scikit_image(photo):
    from skimage.metrics import structural_similarity

    other = noisy(photo, 0.1)
    theirs = structural_similarity(
        photo.double().numpy(),
        other.double().numpy(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=0,
        data_range=1.0,
    )
    assert Ssim()([other], [photo]) == pytest.approx([theirs], abs=1e-6)


def test_psnr_by_its_definition(photo):
    halfway = torch.full_like(photo, 0.5)
    assert Psnr()([halfway + 0.1], [halfway]) == pytest.approx([20], abs=1e-4)


def test_equal_pictures(photo, lpips):
    assert Psnr()([photo], [photo]) == [math.inf]
    assert Ssim()([photo], [photo]) == pytest.approx([1])
    assert lpips([photo], [photo]) == pytest.approx([0], abs=1e-6)


def test_more_noise_is_worse(photo, lpips):
    pictures = [noisy(photo, strength) for strength in (0.02, 0.05, 0.1, 0.2)]
    truths = [photo] * len(pictures)
    for metric in (Psnr(), Ssim(), lpips):
        values = metric(pictures, truths)
        assert values == sorted(values, reverse=metric.better == "higher")


def test_pictures_of_several_sizes_in_one_batch(photo):
    small = photo[:, :40, :50]
    together = Ssim()([noisy(photo, 0.1), noisy(small, 0.1)], [photo, small])
    assert together == Ssim()([noisy(photo, 0.1)], [photo]) + Ssim()([noisy(small, 0.1)], [small])


@pytest.mark.parametrize("metric", [Psnr(), Ssim(), Lpips()])
def test_another_size_than_the_truth_is_refused(metric, photo):
    with pytest.raises(UserError, match=f"{metric.name}: the picture has 50 x 40 pixels, the true picture 160 x 128"):
        metric([photo[:, :40, :50]], [photo])


def test_tiny_pictures_are_refused():
    tiny = torch.rand(3, 10, 40)
    with pytest.raises(UserError, match="ssim: the picture has 40 x 10 pixels, wanted at least 11 a side"):
        Ssim()([tiny], [tiny])


def test_versions_name_packages_and_weights():
    assert set(Psnr().versions()) == {"torchmetrics"}
    assert Lpips().versions()["lpips_alex"].startswith("sha256 91b233243c42c3f9")
