"""Our BRISQUE and NIQE against pyiqa's, stage by stage and as a whole; what they say of blur, noise and JPEG."""

import io
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from skimage import data
from torch import Tensor

from eval.metrics import natural
from eval.metrics.natural import Brisque, Niqe, brisque, brisque_svm, niqe, niqe_pristine
from eval.metrics.natural_fits import fit_asymmetric, fit_symmetric
from eval.metrics.natural_kernels import contrast_normalised, gauss_window, halved, luma, moments
from worldgen.assets import ASSETS, fetch
from worldgen.errors import UserError

PHOTOS = {"astronaut": data.astronaut, "chelsea": data.chelsea}
CUTS = [(0, 0), (1, 0), (0, 1), (37, 66)]  # rows and columns: even and odd sizes, and sizes that are no whole blocks
DAMAGES = {
    "blur": ((0.0, 1.0, 2.0, 4.0), lambda image, radius: image.filter(ImageFilter.GaussianBlur(radius))),
    "noise": ((0.0, 10.0, 20.0, 40.0), lambda image, deviation: noisy(image, deviation)),
    "jpeg": ((100, 40, 15, 5), lambda image, quality: as_jpeg(image, quality)),
}


@pytest.fixture(autouse=True)
def _parameters():
    """Skips where the parameter files cannot be had, as on a machine without a network."""
    for metric in (Brisque(), Niqe()):
        if why := metric.unavailable():
            pytest.skip(why)


def tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def photo(name: str) -> Tensor:
    return tensor(Image.fromarray(PHOTOS[name]()))


def with_flat_parts(rgb: Tensor) -> Tensor:
    """A burnt-out sky, a grey wall and a black floor, in which only rounding is left to fit."""
    flat = rgb.clone()
    flat[:, :110] = 1.0
    flat[:, :, :50] = 100 / 255
    flat[:, -30:] = 0.0
    return flat


def grey_of(rgb: Tensor) -> np.ndarray:
    return luma(rgb.numpy())


@cache
def pyiqa_parameters() -> tuple[Tensor, ...]:
    """BRISQUE's coefficients and support vectors, NIQE's mean and covariance, as pyiqa's functions take them."""
    coefficients, vectors = (torch.from_numpy(part).float() for part in brisque_svm())
    return coefficients[:, None], vectors, *(torch.from_numpy(part) for part in niqe_pristine())


def pyiqa_niqe(rgb: Tensor) -> float:
    from pyiqa.archs.niqe_arch import calculate_niqe

    _, _, mean, covariance = pyiqa_parameters()
    return float(calculate_niqe(rgb[None], mu_pris_param=mean, cov_pris_param=covariance))


def pyiqa_brisque(rgb: Tensor) -> tuple[float, float]:
    """pyiqa's score, and its own float32 features regressed by its own functions in float64."""
    from pyiqa.archs.brisque_arch import brisque, natural_scene_statistics, rbf_kernel, scale_features
    from pyiqa.matlab_utils import imresize
    from pyiqa.utils.color_util import to_y_channel

    coefficients, vectors, *_ = pyiqa_parameters()
    whole = to_y_channel(rgb[None], 255.0)
    features = torch.cat([natural_scene_statistics(x) for x in (whole, imresize(whole, scale=0.5))], dim=-1)
    kernel = rbf_kernel(scale_features(features.double()), vectors.double().t(), gamma=0.05)
    return float(brisque(rgb[None], sv_coef=coefficients, sv=vectors)), float(kernel @ coefficients.double() + 153.591)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", PHOTOS)
def test_scores_are_pyiqas(name, cut):
    rgb = photo(name)[:, cut[0] :, : -cut[1] or None]
    score, exact = pyiqa_brisque(rgb)
    assert brisque(rgb) == pytest.approx(exact, abs=1e-3)
    assert brisque(rgb) == pytest.approx(score, abs=0.03)  # its float32 sum of 774 large terms is good to 0.01
    assert niqe(rgb) == pytest.approx(pyiqa_niqe(rgb), rel=1e-9)


@pytest.mark.parametrize("name", PHOTOS)
def test_scores_are_pyiqas_where_parts_are_flat(name):
    rgb = with_flat_parts(photo(name))
    assert brisque(rgb) == pytest.approx(pyiqa_brisque(rgb)[1], abs=1e-3)
    assert niqe(rgb) == pytest.approx(pyiqa_niqe(rgb), rel=1e-9)


def test_scores_of_rendered_pictures_are_pyiqas():
    """Values between the 256 grey levels; and a picture with a stride, as a crop of a larger tensor has."""
    larger = torch.nn.functional.interpolate(photo("chelsea")[None], scale_factor=0.93, mode="bilinear")[0]
    rgb = larger[:, 3:, 5:-2]
    assert brisque(rgb) == pytest.approx(pyiqa_brisque(rgb)[1], abs=1e-3)
    assert niqe(rgb) == pytest.approx(pyiqa_niqe(rgb), rel=1e-9)


def test_grey_levels_are_pyiqas_to_the_bit():
    from pyiqa.utils.color_util import to_y_channel

    rgb = torch.randint(0, 256, (3, 301, 517), generator=torch.Generator().manual_seed(0)).float() / 255
    assert np.array_equal(grey_of(rgb), to_y_channel(rgb[None], 255.0)[0, 0].numpy())


@pytest.mark.parametrize("size", [(96, 96), (97, 64), (64, 97), (101, 103)])
def test_halved_is_pyiqas_to_the_bit(size):
    from pyiqa.matlab_utils import imresize

    grey = grey_of(torch.rand(3, *size, generator=torch.Generator().manual_seed(0)))
    assert np.array_equal(halved(grey), imresize(torch.from_numpy(grey)[None, None], scale=0.5)[0, 0].numpy())


@pytest.mark.parametrize(
    ("dtype", "padding", "mode"), [("float32", "same", "constant"), ("float64", "replicate", "edge")]
)
def test_coefficients_are_pyiqas(dtype, padding, mode):
    """Where a picture is flat they are but rounding, and yet their signs decide to which side of the fit they count."""
    from pyiqa.archs.func_util import normalize_img_with_gauss

    grey = grey_of(with_flat_parts(photo("astronaut"))).astype(dtype)
    theirs = normalize_img_with_gauss(torch.from_numpy(grey)[None, None], padding=padding)[0, 0].numpy()
    tiny = np.dtype(dtype).type(np.finfo(dtype).eps)
    ours = contrast_normalised(np.pad(grey, 3, mode=mode), gauss_window().astype(dtype), tiny)
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, atol=1e-6 if dtype == "float32" else 1e-14)
    assert np.array_equal(np.sign(ours[5:105, 60:500]), np.sign(theirs[5:105, 60:500]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moments_are_those_of_rolled_blocks(dtype):
    coefficients = np.random.default_rng(0).normal(size=(25, 33)).astype(dtype)
    found = moments(coefficients, 8, 16)
    blocks = [coefficients[top : top + 8, left : left + 16] for top in (0, 8, 16) for left in (0, 16)]
    assert found.shape == (6, 5, 5)
    for block, sums in zip(blocks, found, strict=True):
        rolled = [np.roll(block, shift, axis=(0, 1)) for shift in ((0, 1), (1, 0), (1, 1), (1, -1))]
        for values, row in zip([block, *(block * other for other in rolled)], sums, strict=True):
            low, high = values[values < 0], values[values > 0]
            wanted = [len(low), len(high), (low**2).sum(), (high**2).sum(), np.abs(values).sum()]
            np.testing.assert_allclose(row, wanted, rtol=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fits_are_pyiqas(dtype):
    from pyiqa.archs.func_util import estimate_aggd_param, estimate_ggd_param

    generator = np.random.default_rng(0)
    values = np.stack([np.where(x < 0, 0.6 * x, x) for x in generator.standard_t(4, size=(20, 48, 48))]).astype(dtype)
    sums = np.stack([moments(block, 48, 48)[0, 0] for block in values])
    theirs = torch.from_numpy(values)[:, None]
    shapes, variances = fit_symmetric(sums, 48 * 48, dtype)
    wanted_shapes, wanted_deviations = (part.numpy().ravel() for part in estimate_ggd_param(theirs))
    np.testing.assert_allclose(shapes, wanted_shapes, rtol=1e-7)
    np.testing.assert_allclose(variances, wanted_deviations**2, rtol=1e-5)
    wanted = estimate_aggd_param(theirs, return_sigma=True)
    for ours, other in zip(fit_asymmetric(sums, 48 * 48, dtype), wanted, strict=True):
        np.testing.assert_allclose(ours, other.numpy().ravel(), rtol=1e-5)


def test_fits_recover_a_gaussian():
    values = np.random.default_rng(0).normal(scale=2.0, size=(512, 512))
    values[values > 0] *= 1.5
    (shape,), (left,), (right,) = fit_asymmetric(moments(values, 512, 512)[:, 0], 512 * 512, np.float64)
    assert (shape, left, right) == pytest.approx((2, 2, 3), rel=0.02)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("score", [brisque, niqe])
def test_worse_pictures_score_worse(score, name, damage):
    strengths, apply = DAMAGES[damage]
    original = Image.fromarray(PHOTOS[name]())
    scores = [score(tensor(apply(original, strength))) for strength in strengths]
    assert scores == sorted(scores)
    assert scores[-1] > 2 * scores[0]


def noisy(image: Image.Image, deviation: float) -> Image.Image:
    pixels = np.array(image) + np.random.default_rng(0).normal(0, deviation, (*image.size[::-1], 3))
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    if quality == 100:
        return image
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content)


@pytest.mark.parametrize(
    ("score", "rgb", "message"),
    [
        (niqe, torch.rand(3, 191, 300), "niqe: a picture of 300 x 191 pixels; it needs at least 192 x 192"),
        (brisque, torch.rand(3, 40, 15), "brisque: a picture of 15 x 40 pixels; it needs at least 16 x 16"),
        (niqe, torch.full((3, 192, 192), 0.5), "niqe: the picture is flat nearly everywhere"),
        (brisque, torch.zeros(3, 64, 64), "brisque: the picture is black everywhere"),
        (brisque, torch.full((3, 64, 64), 255.0), r"values from 255 to 255; they must lie in \[0, 1\]"),
        (niqe, torch.full((3, 192, 192), torch.nan), r"values from nan to nan; they must lie in \[0, 1\]"),
    ],
)
def test_what_cannot_be_scored(score, rgb, message):
    with pytest.raises(UserError, match=message):
        score(rgb)


def test_the_smallest_picture_that_niqe_takes():
    rgb = photo("astronaut")[:, 100:292, 100:292]
    assert niqe(rgb) == pytest.approx(pyiqa_niqe(rgb), rel=1e-6)


def test_as_metrics():
    pictures = [photo("astronaut"), photo("chelsea")]
    for metric, function, asset in ((Brisque(), brisque, "brisque_svm"), (Niqe(), niqe, "niqe_pris_params")):
        assert metric(pictures, [None, None]) == [function(picture) for picture in pictures]
        assert metric.versions()[fetch(asset).name] == ASSETS[asset].sha256
        assert (metric.name, metric.better, metric.needs) == (function.__name__, "lower", "nothing")
        assert metric.across_processes


def test_the_network_is_asked_once_for_a_missing_file(monkeypatch):
    asked = []

    def missing(name):
        asked.append(name)
        raise UserError(f"{name}: cannot be fetched")

    natural._why_missing.cache_clear()
    monkeypatch.setattr(natural, "fetch", missing)
    assert [Brisque().unavailable() for _ in range(3)] == ["brisque_svm: cannot be fetched"] * 3
    assert asked == ["brisque_svm"]
    natural._why_missing.cache_clear()


def test_scoring_needs_no_pyiqa():
    code = "import sys; import eval.metrics.natural; sys.exit('pyiqa' in sys.modules or 'torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
