"""Estimated depth scaled by points: pytest tests/test_depth_scale.py"""

import pytest
import torch

from tests.posed_folders import ROOM, wall_points
from tests.scenes import BoxRoom
from train.data.depth_scale import FEWEST, DepthFit, fit_depth, fit_scale, visible
from worldgen.geometry.cameras import distance_to_zdepth, look_at
from worldgen.types import Camera, ViewDepth

CAMERA = Camera.from_fov(128, 96, 80.0, look_at(30.0, 5.0, torch.tensor([0.2, 0.1, -0.3])))


def truth_of(room: BoxRoom = ROOM) -> torch.Tensor:
    return distance_to_zdepth(CAMERA, room.view(CAMERA).measured)


def estimated(zdepth: torch.Tensor, scale: float, shift: float = 0.0, noise: float = 0.0) -> ViewDepth:
    """zdepth [H, W] as a network answers: 1 / estimate = scale / zdepth + shift, but for some noise."""
    generator = torch.Generator().manual_seed(1)
    wrong = (noise * torch.randn(zdepth.shape, generator=generator)).exp()
    return ViewDepth(wrong / (scale / zdepth + shift), torch.ones_like(zdepth, dtype=torch.bool))


def everywhere() -> torch.Tensor:
    return torch.ones(96, 128, dtype=torch.bool)


def off(fit: DepthFit | None, estimate: ViewDepth, truth: torch.Tensor) -> float:
    assert fit is not None
    return float((fit(estimate.zdepth) / truth - 1).abs().median())


@pytest.mark.parametrize("scale", [0.01, 0.4, 3.0, 500.0])
def test_a_scale_is_found_exactly_and_no_shift_is_made_up(scale):
    estimate = estimated(truth_of(), scale)
    fit = fit_depth(estimate, CAMERA, wall_points().double(), everywhere())
    assert off(fit, estimate, truth_of()) < 0.01
    assert fit.shift == 0
    assert fit.scale == pytest.approx(scale, rel=0.01)
    assert fit.points > FEWEST


@pytest.mark.parametrize("shift", [-0.05, 0.3])
def test_a_shift_of_the_inverse_depth_is_found(shift):
    estimate = estimated(truth_of(), 0.5, shift)
    fit = fit_depth(estimate, CAMERA, wall_points(600).double(), everywhere())
    assert off(fit, estimate, truth_of()) < 0.01
    assert fit.shift != 0


def test_noise_makes_no_shift_and_moves_the_scale_little():
    estimate = estimated(truth_of(), 0.5, noise=0.1)
    fit = fit_depth(estimate, CAMERA, wall_points(600).double(), everywhere())
    assert fit.shift == 0
    assert fit.scale == pytest.approx(0.5, rel=0.03)


def test_points_that_are_wrong_or_hidden_do_not_count():
    room = BoxRoom(pillars=(((-0.6, -1.5, 1.5), (2.2, 1.6, 1.9)),))
    truth, generator = truth_of(room), torch.Generator().manual_seed(2)
    xyz = wall_points(800).double()
    assert room.surface_gap(xyz.float()).max() < 1e-3
    front = torch.rand(80, 3, generator=generator).double() * torch.tensor([2.8, 3.1, 0.0]) + torch.tensor(
        [-0.6, -1.5, 1.5]
    )
    wrong = 6 * torch.rand(150, 3, generator=generator).double() - 3
    estimate = estimated(truth, 0.5)
    fit = fit_depth(estimate, CAMERA, torch.cat([xyz, front, wrong]), everywhere())
    assert off(fit, estimate, truth) < 0.02


def test_what_hides_others_is_what_is_visible():
    near = torch.tensor([[0.0, 0.0, 2.0], [0.5, 0.0, 2.0]], dtype=torch.float64)
    camera = Camera.from_fov(96, 96, 80.0)
    pixels, zdepth = visible(camera, torch.cat([near, 2 * near, torch.tensor([[0.0, 0.0, -1.0], [9.0, 0, 1]])]))
    assert zdepth.tolist() == [2.0, 2.0]
    assert pixels[0].tolist() == [48, 48]


def test_pixels_that_do_not_count_are_not_asked():
    truth = truth_of()
    half = everywhere()
    half[:, :64] = False
    wrong = ViewDepth(torch.where(half, truth, 3 * truth), everywhere())
    assert fit_depth(wrong, CAMERA, wall_points(600).double(), half).scale == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("count", [0, FEWEST - 1])
def test_too_few_points_tell_nothing(count):
    values = torch.linspace(1, 5, count, dtype=torch.float64)
    assert fit_scale(values, values, estimated(truth_of(), 1.0)) is None


def test_points_of_another_world_tell_nothing():
    generator = torch.Generator().manual_seed(0)
    estimate, truth = torch.exp(1.5 * torch.randn(2, 300, generator=generator)).double()
    assert fit_scale(estimate, truth, estimated(truth_of(), 1.0)) is None
