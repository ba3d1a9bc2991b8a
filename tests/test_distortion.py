"""The distortion field: the identity at first, resampling as torch does it, and a planted warp found again."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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
    draw = torch.Generator().manual_seed(seed)
    # Nothing sits exactly on a pixel, where the gradient along the offset jumps.
    offsets = 0.0037 + strength * torch.randn(2, grid, grid, generator=draw)
    image, upstream = torch.rand(2, 3, height, width, generator=draw)
    outcomes = []
    for dtype in (torch.float32, torch.float64):
        inputs = [tensor.to(dtype).requires_grad_() for tensor in (image, offsets)]
        warped = warp(*inputs)
        outcomes.append((warped.detach(), *torch.autograd.grad(warped, inputs, upstream.to(dtype))))
    for fused, plain in zip(*outcomes, strict=True):
        assert (fused - plain).norm() <= 1e-3 * plain.norm() + 1e-5


def test_a_planted_warp_is_found_again():
    size, grid, image = 64, 16, 1
    render = picture(size, size)
    y, x = torch.meshgrid(torch.linspace(-1, 1, grid), torch.linspace(-1, 1, grid), indexing="ij")
    planted = torch.stack([2.0 * torch.sin(2 * x + y), 1.5 * torch.cos(1.5 * y - x) - 0.5]) * 2 / size  # up to 2 pixels
    target, weight = warp(render, planted), torch.ones(size, size)
    field = DistortionField(2, grid)
    optimiser = torch.optim.Adam(field.parameters(), lr=1e-3)
    for _ in range(300):
        optimiser.zero_grad()
        photometric_loss(field(render, image), target, weight).backward()
        optimiser.step()
    error_px = (field.offsets(image) - planted).detach().norm(dim=0) * size / 2
    assert error_px.mean() < 0.2
    assert photometric_loss(field(render, image), target, weight) < 0.1 * photometric_loss(render, target, weight)
