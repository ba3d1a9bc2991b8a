"""Metrics of whole panoramas against the truth: planted faults are found, and are as large as they were planted."""

import math

import pytest
import torch

from eval.metrics.panorama_seams import PhotoSeam, ViewSeam, WrapSeam
from eval.metrics.panorama_truth import GroundColour, Horizon, NearLpips, PhotoPsnr, SkyColour
from tests.test_metrics import needs
from worldgen.errors import UserError
from worldgen.geometry.equirect import directions, from_perspective
from worldgen.types import Camera

HEIGHT = 90


@pytest.fixture(scope="module")
def truth() -> torch.Tensor:
    """Sky over hills over ground, textured, [3, 90, 180]."""
    x, y, z = directions(HEIGHT, 2 * HEIGHT).unbind(-1)
    layers = torch.where(y < -0.1 + 0.1 * x, 0.8, torch.where(y < 0.1, 0.3, 0.5))
    return torch.stack([layers, layers + 0.1 * torch.sin(9 * z), layers + 0.1 * torch.sin(7 * x)]).clamp(0, 1)


def one(metric, panorama, truth) -> float:
    return metric([panorama], [truth])[0]


@pytest.mark.parametrize("rows", [-8, -1, 0, 3, 7])
def test_the_horizon_is_found_where_it_was_moved_to(truth, rows):
    assert one(Horizon(), truth.roll(rows, 1), truth) == pytest.approx(abs(rows) * 180 / HEIGHT)


def test_the_horizon_does_not_mind_light(truth):
    assert one(Horizon(), (0.5 * truth + 0.2), truth) == 0


def test_colours_are_counted_in_their_quarter_alone(truth):
    brighter = truth.clone()
    brighter[:, : HEIGHT // 4] -= 20 / 255
    assert one(SkyColour(), brighter, truth) == pytest.approx(20, abs=1e-3)
    assert one(GroundColour(), brighter, truth) == 0


def test_photo_psnr_looks_at_the_photo_alone(truth):
    noisy = truth + 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    _, photo = from_perspective(torch.zeros(1, 60, 80), Camera.from_fov(80, 60, 92.0), HEIGHT, 2 * HEIGHT)
    assert one(PhotoPsnr(80.0), torch.where(photo, truth, noisy), truth) == math.inf
    assert one(PhotoPsnr(80.0), torch.where(photo, noisy, truth), truth) < 25


def test_lpips_near_the_photo_sees_what_is_beside_it(truth):
    needs("lpips_alex")
    behind, beside = truth.clone(), truth.clone()
    behind[:, :, :20] = 0.5
    beside[:, :, 120:150] = 0.5
    assert one(NearLpips(80.0), behind, truth) == 0
    assert one(NearLpips(80.0), beside, truth) > 0.05


def test_a_step_at_the_back_is_a_wrap_seam(truth):
    ramp = torch.linspace(0, 0.2, 2 * HEIGHT)
    assert one(WrapSeam(), truth * 0.7 + ramp, None) > 1.5 * one(WrapSeam(), truth, None)


def test_a_darker_photo_is_a_seam_along_its_border_alone(truth):
    _, photo = from_perspective(torch.zeros(1, 60, 80), Camera.from_fov(80, 60, 80.0), HEIGHT, 2 * HEIGHT)
    darker = torch.where(photo, truth * 0.5, truth)
    assert one(PhotoSeam(80.0), darker, None) > 2 * one(PhotoSeam(80.0), truth, None)
    assert one(WrapSeam(), darker, None) == one(WrapSeam(), truth, None)


def test_view_seams_are_those_of_a_heuristic_that_paints_views(truth):
    assert one(ViewSeam("sequential"), truth, None) >= 1
    with pytest.raises(UserError, match="adhoc, wanted one of anchored, sequential"):
        ViewSeam("adhoc")


def test_what_is_no_panorama_or_of_another_size_is_named(truth):
    with pytest.raises(UserError, match="horizon: the picture has 90x90 pixels"):
        one(Horizon(), truth[:, :, :90], truth)
    with pytest.raises(UserError, match="horizon: the panorama is 180 pixels wide, the true 90"):
        one(Horizon(), truth, truth[:, ::2, ::2])
