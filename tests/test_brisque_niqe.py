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

from eval.metrics import brisque_niqe
from eval.metrics.brisque_niqe import Brisque, Niqe, brisque, brisque_svm, niqe, niqe_pristine
from eval.metrics.brisque_niqe_fits import fit_asymmetric, fit_symmetric
from eval.metrics.brisque_niqe_kernels import contrast_normalised, gauss_window, halved, luma, moments
from worldgen.errors import UserError
from worldgen.models.assets import ASSETS, fetch

PHOTOS = {"astronaut": data.astronaut, "chelsea": data.chelsea}
ONE_STEP = 0.1  # what one step of one shape, 0.001, moves BRISQUE by: float32 sums in another order may take it
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


def our_grey(rgb: Tensor) -> Tensor:
    """Our luma as pyiqa's functions take theirs, [1, 1, H, W]: theirs rounds as the BLAS does."""
    return torch.from_numpy(grey_of(rgb))[None, None]


def pyiqa_niqe(rgb: Tensor) -> float:
    """Of our grey levels."""
    from pyiqa.archs.niqe_arch import niqe

    _, _, mean, covariance = pyiqa_parameters()
    return float(niqe(our_grey(rgb).double(), mean[None], covariance[None]))


def pyiqa_features(rgb: Tensor) -> Tensor:
    """BRISQUE's [1, 36], in float32, of our grey levels."""
    from pyiqa.archs.brisque_arch import natural_scene_statistics
    from pyiqa.matlab_utils import imresize

    whole = our_grey(rgb)
    return torch.cat([natural_scene_statistics(x) for x in (whole, imresize(whole, scale=0.5))], dim=-1)


def pyiqa_brisque(rgb: Tensor) -> float:
    """Its own float32 features regressed by its own functions in float64: its float32 sum is good to 0.01 only."""
    from pyiqa.archs.brisque_arch import rbf_kernel, scale_features

    coefficients, vectors, *_ = pyiqa_parameters()
    kernel = rbf_kernel(scale_features(pyiqa_features(rgb).double()), vectors.double().t(), gamma=0.05)
    return float(kernel @ coefficients.double() + 153.591)


def contrast_in_order(image: Tensor, window: np.ndarray) -> Tensor:
    """The slow twin of `contrast_normalised`: [1, 1, H, W] between zeros, whose float32 sums of fused operations run
    along the window's rows. Of whole grey levels float64 holds every term and sum exactly, so it rounds as they do."""
    padded = np.pad(image[0, 0].double().numpy(), 3)
    height, width = image.shape[-2:]
    mean, square = np.zeros((2, height, width), np.float32)
    for (i, j), weight in np.ndenumerate(window.astype(np.float64)):
        values = padded[i : i + height, j : j + width]
        mean = (values * weight + mean).astype(np.float32)
        square = ((values * values).astype(np.float32) * weight + square).astype(np.float32)
    deviation = np.sqrt(np.abs(square - mean * mean) + np.finfo(np.float32).eps)
    return torch.from_numpy((image[0, 0].numpy() - mean) / (deviation + np.float32(1)))[None, None]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", PHOTOS)
def test_scores_are_pyiqas(name, cut):
    rgb = photo(name)[:, cut[0] :, : -cut[1] or None]
    assert brisque(rgb) == pytest.approx(pyiqa_brisque(rgb), abs=ONE_STEP)
    assert niqe(rgb) == pytest.approx(pyiqa_niqe(rgb), rel=1e-6)


@pytest.mark.parametrize("name", PHOTOS)
def test_features_are_pyiqas(name):
    """Shapes may round to a neighbour in the table: sums in another order than this processor's do that."""
    grey = grey_of(photo(name))
    ours = np.concatenate([brisque_niqe._brisque_features(grey), brisque_niqe._brisque_features(halved(grey))])
    theirs = pyiqa_features(photo(name))
    shapes = [0, 2, 6, 10, 14, 18, 20, 24, 28, 32]
    leans = [3, 7, 11, 15, 21, 25, 29, 33]
    others = np.setdiff1d(np.arange(36), shapes + leans)
    wanted = theirs[0].numpy()
    np.testing.assert_allclose(ours[shapes], wanted[shapes], rtol=0, atol=1.01e-3)
    np.testing.assert_allclose(ours[leans], wanted[leans], rtol=5e-3, atol=1e-4)
    np.testing.assert_allclose(ours[others], wanted[others], rtol=1e-4)


@pytest.mark.parametrize("name", PHOTOS)
def test_scores_are_pyiqas_where_parts_are_flat(name, monkeypatch):
    """Its sums are made in our order: where a picture is flat, that decides on the signs of what rounding leaves."""
    rgb = with_flat_parts(photo(name))
    assert niqe(rgb) == pytest.approx(pyiqa_niqe(rgb), rel=1e-6)
    monkeypatch.setattr(
        "pyiqa.archs.brisque_arch.normalize_img_with_gauss",
        lambda grey, *_, **__: contrast_in_order(grey, gauss_window()),
    )
    assert brisque(rgb) == pytest.approx(pyiqa_brisque(rgb), abs=ONE_STEP)


def test_scores_of_rendered_pictures_are_pyiqas():
    """Values between the 256 grey levels; and a picture with a stride, as a crop of a larger tensor has."""
    larger = torch.nn.functional.interpolate(photo("chelsea")[None], scale_factor=0.93, mode="bilinear")[0]
    rgb = larger[:, 3:, 5:-2]
    assert brisque(rgb) == pytest.approx(pyiqa_brisque(rgb), abs=ONE_STEP)
    assert niqe(rgb) == pytest.approx(pyiqa_niqe(rgb), rel=1e-6)


@pytest.mark.parametrize("name", PHOTOS)
def test_real_photos_score_about_as_by_unmodified_pyiqa(name):
    """Apart by its luma (0.02 of BRISQUE, 0.016 of NIQE at most), float32 sums (0.01), one step of a shape (0.1)."""
    from pyiqa.archs import brisque_arch, niqe_arch

    coefficients, vectors, mean, covariance = pyiqa_parameters()
    rgb = photo(name)[None]
    theirs = float(brisque_arch.brisque(rgb, sv_coef=coefficients, sv=vectors))
    assert brisque(rgb[0]) == pytest.approx(theirs, abs=0.15)
    theirs = float(niqe_arch.calculate_niqe(rgb, mu_pris_param=mean, cov_pris_param=covariance))
    assert niqe(rgb[0]) == pytest.approx(theirs, abs=0.02)


def test_regression_is_pyiqas():
    from pyiqa.archs.brisque_arch import rbf_kernel, scale_features

    features = torch.from_numpy(brisque_niqe._FEATURE_RANGES.mean(axis=1))[None]
    coefficients, vectors = (torch.from_numpy(part) for part in brisque_svm())
    wanted = rbf_kernel(scale_features(features), vectors.t(), gamma=0.05) @ coefficients + 153.591
    assert brisque_niqe._regressed(features[0].numpy()) == pytest.approx(
        float(wanted), abs=1e-4
    )  # its ranges are float32


def random_levels(height: int, width: int) -> np.ndarray:
    """8-bit RGB, int64 [3, H, W]."""
    return np.random.default_rng(0).integers(0, 256, (3, height, width))


def weighted(levels: np.ndarray) -> np.ndarray:
    """299 R + 587 G + 114 B: a thousand times the luma."""
    return 299 * levels[0] + 587 * levels[1] + 114 * levels[2]


def every_tie() -> np.ndarray:
    """All 8-bit RGB whose luma lies exactly between two grey levels, [3, 1, N]."""
    side = np.arange(256, dtype=np.int32)
    sums = 299 * side[:, None, None] + 587 * side[:, None] + 114 * side
    return np.stack(np.nonzero(sums % 1000 == 500))[:, None]


@pytest.mark.parametrize("divided", [lambda x: x / np.float32(255), lambda x: x * np.float32(1 / 255)])
@pytest.mark.parametrize("levels", [every_tie(), random_levels(301, 517)], ids=["ties", "random"])
def test_grey_levels_of_8_bit_pixels_are_whole_number_arithmetic(levels, divided):
    """Divided by 255 in either of the ways that libraries do."""
    found = luma(divided(levels.astype(np.float32)))
    assert found.dtype == np.float32
    assert np.array_equal(found, (weighted(levels) + 500) // 1000)


def test_ties_go_to_the_brighter_level():
    levels = every_tie()
    assert levels.shape == (3, 1, 16782)
    assert np.array_equal(luma((levels / 255).astype(np.float32)), weighted(levels) / 1000 + 0.5)


def test_grey_levels_of_other_pixels_are_rounded_in_float64():
    rgb = np.random.default_rng(0).random((3, 200, 300), np.float32)
    exact = rgb.astype(np.float64) * 255
    assert np.array_equal(luma(rgb), np.floor((weighted(exact) + 500) / 1000))


def test_grey_levels_are_pyiqas_but_at_ties():
    """There it goes by the rounding of a float32 product of matrices, which is each processor's own."""
    from pyiqa.utils.color_util import to_y_channel

    levels = random_levels(301, 517)
    rgb = levels.astype(np.float32) / 255
    apart = np.abs(luma(rgb) - to_y_channel(torch.from_numpy(rgb)[None], 255.0)[0, 0].numpy())
    tied = weighted(levels) % 1000 == 500
    assert not apart[~tied].any()
    assert apart[tied].max() <= 1


@pytest.mark.parametrize("size", [(96, 96), (97, 64), (64, 97), (101, 103)])
def test_halved_is_pyiqas(size):
    from pyiqa.matlab_utils import imresize

    grey = grey_of(torch.rand(3, *size, generator=torch.Generator().manual_seed(0)))
    wanted = imresize(torch.from_numpy(grey)[None, None], scale=0.5)[0, 0].numpy()
    np.testing.assert_allclose(halved(grey), wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("level", [0, 1, 100, 255])
def test_halved_flat_pictures_stay_exactly_flat(level):
    assert (halved(np.full((41, 30), level, np.float32)) == level).all()


@pytest.mark.parametrize(
    ("dtype", "padding", "mode", "apart"),
    [("float32", "same", "constant", 0.02), ("float64", "replicate", "edge", 1e-10)],
)
def test_coefficients_are_pyiqas(dtype, padding, mode, apart):
    """Apart by the order of its sums: squares of 255 in float32 leave up to 0.01 where a picture is nearly flat."""
    from pyiqa.archs.func_util import normalize_img_with_gauss

    grey = grey_of(with_flat_parts(photo("astronaut"))).astype(dtype)
    theirs = normalize_img_with_gauss(torch.from_numpy(grey)[None, None], padding=padding)[0, 0].numpy()
    tiny = np.dtype(dtype).type(np.finfo(dtype).eps)
    ours = contrast_normalised(np.pad(grey, 3, mode=mode), gauss_window().astype(dtype), tiny)
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=apart)


@pytest.mark.parametrize("name", PHOTOS)
def test_coefficients_are_rounded_in_one_order_on_every_processor(name):
    """Where a picture is flat they are but rounding, and yet their signs decide to which side of the fit they count."""
    grey = grey_of(with_flat_parts(photo(name)))
    ours = contrast_normalised(np.pad(grey, 3), gauss_window(), brisque_niqe._TINY)
    assert np.array_equal(ours, contrast_in_order(torch.from_numpy(grey)[None, None], gauss_window())[0, 0].numpy())


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

    brisque_niqe._why_missing.cache_clear()
    monkeypatch.setattr(brisque_niqe, "fetch", missing)
    assert [Brisque().unavailable() for _ in range(3)] == ["brisque_svm: cannot be fetched"] * 3
    assert asked == ["brisque_svm"]
    brisque_niqe._why_missing.cache_clear()


@pytest.mark.slow
def test_scoring_needs_no_pyiqa():
    code = (
        "import sys; import eval.metrics.brisque_niqe; sys.exit('pyiqa' in sys.modules or 'torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=600).returncode == 0
