"""The distortion field: the identity at first, resampling as torch does it, planted warps found again, its gauge."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from worldgen.splat.distortion import DistortionField, warp
from worldgen.splat.losses import photometric_loss


def picture(height: int, width: int) -> torch.Tensor:
    """Smooth and textured everywhere, different along both axes."""
    y, x = torch.meshgrid(torch.arange(height) / 7.0, torch.arange(width) / 9.0, indexing="ij")
    waves = [torch.sin(x + 0.5 * y), torch.sin(1.3 * y - 0.4 * x + 1), torch.cos(0.9 * x) * torch.cos(0.8 * y)]
    return 0.5 + 0.4 * torch.stack(waves)


def test_every_image_starts_undistorted():
    field, render = DistortionField(3, grid=16), torch.rand(3, 40, 50)
    for image in range(3):
        assert torch.equal(field(render, image), render)


def test_the_mlp_has_three_layers_of_128_units_over_the_grid():
    field = DistortionField(2, grid=128)
    shapes = [tuple(weight.shape) for name, weight in field.named_parameters() if "layer" in name and weight.dim() == 2]
    assert shapes == [(128, 18), (128, 16), (128, 128), (128, 128), (2, 128)]
    assert field.offsets(1).shape == (2, 128, 128)


def test_the_seed_decides_and_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    first, again, other = (DistortionField(2, 8, seed).position_layer.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_images_are_distorted_each_in_its_own_way():
    field = DistortionField(2, grid=8)
    torch.nn.init.normal_(field.layers[-1].weight, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(field.offsets(0), field.offsets(1))
    field.offsets(0).sum().backward()
    assert field.images.weight.grad[0].abs().sum() > 0
    assert field.images.weight.grad[1].abs().sum() == 0


def test_offsets_count_half_pictures_right_and_down():
    image = torch.rand(1, 8, 10)
    offsets = torch.zeros(2, 4, 4)
    offsets[0], offsets[1] = 2 * 2 / 10, 3 * 2 / 8
    assert torch.allclose(warp(image, offsets)[:, :5, :8], image[:, 3:, 2:], atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    grid=st.integers(1, 12),
    strength=st.sampled_from([0.0, 0.05, 1.0]),
    seed=st.integers(0, 99),
)
def test_warp_and_its_gradients_are_torchs_in_float64(height, width, grid, strength, seed):
    generator = torch.Generator().manual_seed(seed)
    # Nothing sits exactly on a pixel, where the gradient along the offset jumps.
    offsets = 0.0037 + strength * torch.randn(2, grid, grid, generator=generator)
    image, upstream = torch.rand(2, 3, height, width, generator=generator)
    outcomes = []
    for dtype in (torch.float32, torch.float64):
        inputs = [tensor.to(dtype).requires_grad_() for tensor in (image, offsets)]
        warped = warp(*inputs)
        outcomes.append((warped.detach(), *torch.autograd.grad(warped, inputs, upstream.to(dtype))))
    for fused, plain in zip(*outcomes, strict=True):
        assert (fused - plain).norm() <= 1e-3 * plain.norm() + 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("zero_mean", [False, True])
def test_a_batch_is_its_images_one_by_one(dtype, zero_mean):
    # 49 x 49 nodes of 3 images are more than go through the layers at once.
    field = random_field(4, 49, zero_mean).to(dtype)
    renders, upstream = torch.rand(2, 3, 3, 20, 30, generator=torch.Generator().manual_seed(1)).to(dtype)
    numbers = [2, 0, 2]
    outcomes = []
    for batched in (True, False):
        field.zero_grad()
        if batched:
            warped = field(renders, torch.tensor(numbers))
        else:
            warped = torch.stack([field(render, number) for render, number in zip(renders, numbers, strict=True)])
        (warped * upstream).sum().backward()
        outcomes.append([warped.detach(), *(parameter.grad.clone() for parameter in field.parameters())])
    for together, single in zip(*outcomes, strict=True):
        assert (together - single).norm() <= 1e-4 * (1 + single.norm())
    assert field.offsets(torch.tensor(numbers)).shape == (3, 2, 49, 49)
    assert field.offsets(torch.tensor([1])).shape == (1, 2, 49, 49)
    assert not outcomes[0][1][[1, 3]].any()  # embeddings of images that were not asked for


def test_zero_mean_offsets_have_no_mean_whatever_the_weights_and_keep_their_shape():
    free, held = (random_field(3, 20, zero_mean).offsets(torch.arange(3)) for zero_mean in (False, True))
    assert free.mean(dim=(2, 3)).abs().min() > 0.01
    assert held.mean(dim=(2, 3)).abs().max() < 1e-6
    assert torch.allclose(held - held[..., :1, :1], free - free[..., :1, :1], atol=1e-5)


def test_planted_warps_are_found_again():
    """Several images at once, each with its own; in pixels."""
    size, grid = 64, 16
    render = picture(size, size)
    y, x = torch.meshgrid(torch.linspace(-1, 1, grid), torch.linspace(-1, 1, grid), indexing="ij")
    up_to_2_px = [
        torch.stack([2.0 * torch.sin(2 * x + y), 1.5 * torch.cos(1.5 * y - x) - 0.5]),
        torch.stack([1.2 * torch.cos(2 * y), 1.0 + 0.8 * torch.sin(2 * x - y)]),
        torch.stack([-1.0 + 0.5 * x * y, 1.5 * torch.sin(1.5 * x + 1.5 * y)]),
    ]
    planted = torch.stack(up_to_2_px) * 2 / size
    renders, weight, numbers = render.expand(3, 3, size, size), torch.ones(size, size), torch.arange(3)
    targets = warp(renders, planted)
    field = DistortionField(3, grid)
    error_px = fit(field, renders, targets, numbers, steps=300) - planted
    error_px = error_px.norm(dim=1) * size / 2
    assert error_px.mean(dim=(1, 2)).max() < 0.2
    assert error_px[:, 2:-2, 2:-2].max() < 0.5
    left = [photometric_loss(field(render, image), targets[image], weight) for image in range(3)]
    planted_loss = [photometric_loss(render, target, weight) for target in targets]
    assert max(now / before for now, before in zip(left, planted_loss, strict=True)) < 0.1


def test_only_a_free_field_follows_a_shift_of_all_pictures():
    size, grid, shift_px = 48, 8, torch.tensor([1.5, -1.0])
    render = picture(size, size)
    renders, numbers = render.expand(2, 3, size, size), torch.arange(2)
    targets = warp(renders, (shift_px * 2 / size).view(1, 2, 1, 1).expand(2, 2, grid, grid))
    moved_px = {}
    for zero_mean in (False, True):
        field = DistortionField(2, grid, zero_mean=zero_mean)
        moved_px[zero_mean] = fit(field, renders, targets, numbers, steps=150).mean(dim=(2, 3)) * size / 2
    assert (moved_px[False] - shift_px).abs().max() < 0.2
    assert moved_px[True].abs().max() < 1e-4


def random_field(images: int, grid: int, zero_mean: bool) -> DistortionField:
    """Far from the identity, with offsets that have a mean; the same weights for either gauge."""
    field = DistortionField(images, grid, zero_mean=zero_mean)
    generator = torch.Generator().manual_seed(0)
    torch.nn.init.normal_(field.layers[-1].weight, std=0.2, generator=generator)
    torch.nn.init.constant_(field.layers[-1].bias, 0.5)
    return field


def fit(field: DistortionField, renders: Tensor, targets: Tensor, numbers: Tensor, steps: int) -> Tensor:
    """The field's offsets [B, 2, G, G] after it was fitted to all pictures in one batch per step."""
    weight = torch.ones(renders.shape[2:])
    optimiser = torch.optim.Adam(field.parameters(), lr=1e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        warped = field(renders, numbers)
        sum(photometric_loss(*pair, weight) for pair in zip(warped, targets, strict=True)).backward()
        optimiser.step()
    return field.offsets(numbers).detach()
