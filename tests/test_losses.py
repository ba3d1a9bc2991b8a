"""The photometric loss: against scikit-image's SSIM, against autograd in float64, and what a mask hides has no say."""

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from worldgen.splat.losses import photometric_loss


def pictures(height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two random pictures that resemble each other."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(3, height, width, generator=generator)
    return (target + 0.2 * torch.randn(3, height, width, generator=generator)).clamp(0, 1), target


def loss_and_gradient(render, target, weight, ssim_share=0.2):
    """In the precision of `render`: float32 runs the fused kernel, float64 the plain twin under autograd."""
    render = render.detach().clone().requires_grad_()
    loss = photometric_loss(render, target.to(render), weight.to(render), ssim_share)
    return loss.detach(), torch.autograd.grad(loss, render)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ssim_is_scikit_images(dtype):
    # Both pictures are grey along the border, where the two differ in what they assume beyond it.
    render, target = (image.to(dtype) for image in pictures(70, 90))
    for image in (render, target):
        image[:, :12], image[:, -12:], image[:, :, :12], image[:, :, -12:] = 0.5, 0.5, 0.5, 0.5
    similarity = structural_similarity(
        render.double().numpy(),
        target.double().numpy(),
        channel_axis=0,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )[1].mean()
    loss = photometric_loss(render, target, torch.ones(70, 90, dtype=dtype), ssim_share=1.0)
    assert loss.item() == pytest.approx(1 - similarity, abs=2e-6)


def test_without_ssim_it_is_the_weighted_absolute_difference():
    render, target = pictures(20, 30)
    weight = torch.rand(20, 30)
    expected = (weight * (render - target).abs()).mean()
    assert photometric_loss(render, target, weight, ssim_share=0.0).item() == pytest.approx(expected.item(), rel=1e-5)


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 80),
    width=st.integers(1, 80),
    share=st.sampled_from([0.0, 0.2, 1.0]),
    masked=st.sampled_from([0.0, 0.3, 0.7]),
    seed=st.integers(0, 99),
)
def test_fused_loss_and_gradient_are_autograds_in_float64(height, width, share, masked, seed):
    render, target = pictures(height, width, seed)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.rand(height, width, generator=generator) * (torch.rand(height, width, generator=generator) >= masked)
    fused, fused_gradient = loss_and_gradient(render, target, weight, share)
    plain, plain_gradient = loss_and_gradient(render.double(), target, weight, share)
    assert fused.item() == pytest.approx(plain.item(), rel=1e-4, abs=1e-6)
    assert (fused_gradient - plain_gradient).norm() <= 1e-4 * plain_gradient.norm() + 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_weight_zero_hides_cannot_matter(dtype):
    render, target = (image.to(dtype) for image in pictures(40, 50))
    weight = torch.ones(40, 50, dtype=dtype)
    weight[10:30, 20:45] = 0
    loss, gradient = loss_and_gradient(render, target, weight)
    hidden = weight == 0
    other = torch.where(hidden, 1 - render, render), torch.where(hidden, 0.3, target)
    other_loss, other_gradient = loss_and_gradient(*other, weight)
    assert torch.equal(loss, other_loss)
    assert torch.equal(gradient, other_gradient)
    assert (gradient[:, hidden] == 0).all()
    assert (gradient[:, ~hidden] != 0).all()


def test_equal_pictures_have_no_loss_and_no_gradient():
    _, target = pictures(40, 50)
    loss, gradient = loss_and_gradient(target, target, torch.ones(40, 50))
    assert loss.abs() < 1e-6
    assert gradient.abs().max() < 1e-8


def test_nothing_to_compare_is_no_loss():
    render, target = pictures(12, 12)
    loss, gradient = loss_and_gradient(render, target, torch.zeros(12, 12))
    assert loss == 0
    assert (gradient == 0).all()


def test_the_result_does_not_depend_on_threads(set_threads):
    render, target = pictures(100, 70)
    results = []
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        set_threads(threads)
        results.append(loss_and_gradient(render, target, torch.ones(100, 70)))
    assert np.array_equal(results[0][0], results[1][0])
    assert np.array_equal(results[0][1], results[1][1])
