"""Bilateral grids: the identity at first, torch's own slicing and gradients, planted colours found again, the gauge."""

import numba
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from worldgen.splat.bilateral import BilateralGrids, correct


def picture(height: int, width: int) -> Tensor:
    """Colours and lumas of every kind all over, within 0.1 .. 0.9."""
    y, x = torch.meshgrid(torch.arange(height) / 2.0, torch.arange(width) / 3.0, indexing="ij")
    return 0.5 + 0.4 * torch.stack([torch.sin(x + 0.5 * y), torch.sin(1.3 * y - 0.4 * x + 1), torch.cos(0.9 * x - y)])


def tinted(rgb: Tensor, matrix: Tensor) -> Tensor:
    """rgb [3, H, W] by an affine transform [3, 4]."""
    return torch.einsum("ij,jhw->ihw", matrix[:, :3], rgb) + matrix[:, 3, None, None]


def fit(grids: BilateralGrids, render: Tensor, targets: list[Tensor], steps: int = 150) -> None:
    """To all pictures of the same render, one after the other."""
    optimiser = torch.optim.Adam(grids.parameters(), lr=1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        errors = [(grids(render, image) - target).square().mean() for image, target in enumerate(targets)]
        (sum(errors) + 1e-3 * grids.smoothness()).backward()
        optimiser.step()


@pytest.mark.parametrize("zero_mean", [False, True])
def test_every_image_starts_uncorrected_and_smooth(zero_mean):
    grids, render = BilateralGrids(3, zero_mean=zero_mean), 1.5 * torch.rand(3, 40, 50)
    assert grids.deviations.shape == (3, 12, 8, 16, 16)
    assert all(torch.equal(grids(render, image), render) for image in range(3))
    assert grids.smoothness() == 0


@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(1, 80),
    width=st.integers(1, 50),
    nodes=st.tuples(st.integers(1, 8), st.integers(1, 9), st.integers(1, 9)),
    strength=st.sampled_from([0.0, 0.1, 1.0]),
    seed=st.integers(0, 99),
)
def test_correction_and_its_gradients_are_torchs_in_float64(height, width, nodes, strength, seed):
    """With colours beyond 0 .. 1 too, where the guidance is clamped; the guidance's gradient is in that of the rgb."""
    generator = torch.Generator().manual_seed(seed)
    rgb, upstream = 1.4 * torch.rand(2, 3, height, width, generator=generator) - 0.2
    deviation = strength * torch.randn(12, *nodes, generator=generator)
    # At a node of luma the guidance's gradient jumps: colours within rounding of one are moved off it.
    luma = (rgb * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(dim=0) * (nodes[0] - 1)
    rgb = rgb + 0.01 * ((luma - luma.round()).abs() < 1e-4)
    outcomes = []
    for dtype in (torch.float32, torch.float64):
        inputs = [tensor.to(dtype).requires_grad_() for tensor in (rgb, deviation)]
        corrected = correct(*inputs)
        outcomes.append((corrected.detach(), *torch.autograd.grad(corrected, inputs, upstream.to(dtype))))
    for fused, plain in zip(*outcomes, strict=True):
        assert (fused - plain).norm() <= 1e-5 * plain.norm()


def test_gradients_agree_with_differences():
    generator = torch.Generator().manual_seed(0)
    rgb = 0.1 + 0.8 * torch.rand(3, 4, 5, generator=generator, dtype=torch.float64)
    deviation = torch.randn(12, 4, 3, 2, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(correct, (rgb.requires_grad_(), deviation.requires_grad_()))


@pytest.mark.parametrize("axis", range(3))
def test_axes_are_luma_rows_and_columns_from_edge_to_edge(axis):
    """A grid that adds to green from 0 at the first node of an axis to 1 at the last adds that very coordinate."""
    shape = [1, 1, 1]
    shape[axis] = 5
    deviation = torch.zeros(12, 5, 5, 5)
    deviation[7] = torch.linspace(0, 1, 5).view(shape)
    height, width = 6, 10
    rgb = (torch.arange(60).view(6, 10) / 59).expand(3, height, width).clone()  # grey: each value is its luma
    y, x = torch.meshgrid((torch.arange(6) + 0.5) / 6, (torch.arange(10) + 0.5) / 10, indexing="ij")
    added = correct(rgb, deviation) - rgb
    assert torch.allclose(added[1], (rgb[0], y, x)[axis], atol=1e-5)
    assert not added[[0, 2]].any()


def test_the_number_of_threads_does_not_matter(set_threads):
    generator = torch.Generator().manual_seed(0)
    rgb, deviation = torch.rand(3, 150, 90, generator=generator), torch.randn(12, 8, 16, 16, generator=generator)
    outcomes = []
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        set_threads(threads)
        inputs = [tensor.clone().requires_grad_() for tensor in (rgb, deviation)]
        corrected = correct(*inputs)
        outcomes.append((corrected.detach(), *torch.autograd.grad(corrected.square().sum(), inputs)))
    for one, many in zip(outcomes[0], outcomes[-1], strict=True):
        assert torch.equal(one, many)


def test_what_is_not_finite_stays_where_it_is():
    """A render that has gone wrong reaches the loss; it must not reach memory beyond the grid."""
    rgb = torch.full((3, 4, 4), 0.5)
    rgb[0, 1, 1], rgb[1, 2, 2], rgb[2, 3, 3] = torch.nan, torch.inf, -torch.inf
    corrected = correct(rgb.requires_grad_(), torch.full((12, 8, 16, 16), 0.1, requires_grad=True))
    corrected.sum().backward()
    assert torch.equal(corrected.isfinite().all(dim=0), rgb.isfinite().all(dim=0))


def test_smoothness_counts_squared_steps_between_neighbours():
    grids = BilateralGrids(2, luma=3, rows=4, columns=5)
    with torch.no_grad():
        grids.deviations[0, 2, :, :, 3:] = 0.5  # one step of 0.5 along the columns, in one of 12 numbers
    expected = 0.25 / 12 / 4
    assert torch.isclose(grids.smoothness(0), torch.tensor(expected))
    assert grids.smoothness(1) == 0
    assert torch.isclose(grids.smoothness(), torch.tensor(expected / 2))


def test_the_penalty_of_single_images_has_the_mean_of_all():
    for zero_mean in (False, True):
        grids = BilateralGrids(3, 4, 5, 6, zero_mean)
        torch.nn.init.normal_(grids.deviations, generator=torch.Generator().manual_seed(0))
        each = torch.stack([grids.smoothness(image) for image in range(3)])
        assert torch.allclose(each.mean(), grids.smoothness())
        assert grids.smoothness() > 1


def test_planted_colours_are_found_again():
    render = picture(32, 40)
    generator = torch.Generator().manual_seed(0)
    planted = [torch.eye(3, 4) + 0.15 * torch.randn(3, 4, generator=generator) for _ in range(3)]
    targets = [tinted(render, matrix) for matrix in planted]
    grids = BilateralGrids(3, 4, 3, 3)
    fit(grids, render, targets)
    for image, target in enumerate(targets):
        before, after = ((seen - target).abs().mean() for seen in (render, grids(render, image)))
        assert before > 0.05
        assert after < 0.1 * before


def test_grids_of_no_mean_undo_what_differs_and_not_what_is_common():
    """Pictures that are all tinted alike, and half of them darker as well, the others brighter."""
    render = picture(32, 40)
    common = torch.tensor([[1.2, 0, 0, 0.05], [0, 0.9, 0, 0], [0, 0, 0.8, -0.05]])
    own = torch.cat([0.15 * torch.eye(3), torch.zeros(3, 1)], dim=1)
    targets = [tinted(render, common + own), tinted(render, common - own)]
    seen = {}
    for zero_mean in (False, True):
        grids = BilateralGrids(2, 4, 3, 3, zero_mean=zero_mean)
        fit(grids, render, targets)
        seen[zero_mean] = [grids(render, image).detach() for image in range(2)]
    assert (torch.stack(seen[False]) - torch.stack(targets)).abs().mean() < 0.01
    assert torch.allclose(sum(seen[True]) / 2, render, atol=1e-5)
    assert ((seen[True][0] - seen[True][1]) - (targets[0] - targets[1])).abs().mean() < 0.01
