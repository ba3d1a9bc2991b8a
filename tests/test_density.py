"""Density control: row by row what gsplat's DefaultStrategy does, and what goes beyond it."""

import math
from dataclasses import replace

import pytest
import torch
from gsplat.strategy import DefaultStrategy
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from worldgen.errors import UserError
from worldgen.splat.density import DensitySettings, GradientRecord, Refinement, refine, select
from worldgen.splat.quaternions import rotations
from worldgen.types import Gaussians

SHRINK = math.log(1.6)
GROW_GRAD = 8e-4


def cloud(count: int, seed: int = 0, transparent_share: float = 0.2) -> Gaussians:
    """Largest standard deviations from 3 mm to 1 m, half of them on either side of 0.01 x 5.5 m."""
    random = torch.Generator().manual_seed(seed)
    transparent = torch.rand(count, generator=random) < transparent_share
    sizes = math.log(0.055) + 1.2 * torch.randn(count, 1, generator=random).clamp(-2.4, 2.4)
    return Gaussians(
        means=4 * torch.randn(count, 3, generator=random),
        quats=torch.randn(count, 4, generator=random),
        log_scales=sizes - torch.rand(count, 3, generator=random),
        opacity_logits=torch.where(transparent, -6.0, 0.0) + 0.5 * torch.rand(count, generator=random),
        sh=torch.randn(count, 4, 3, generator=random),
        antialiased=True,
    )


def pulled(pull: Tensor) -> GradientRecord:
    """Each Gaussian seen once, and pulled at so much."""
    return GradientRecord(pull.clone(), torch.ones_like(pull))


def refined(gaussians: Gaussians, pull: Tensor, settings: DensitySettings, seed: int = 0, **options) -> Refinement:
    """Everything 5.5 m away and nothing frozen, unless told."""
    count = len(gaussians)
    options = {"distance_m": torch.full((count,), 5.5), "frozen": torch.zeros(count, dtype=torch.bool)} | options
    generator = torch.Generator().manual_seed(seed)
    return refine(gaussians, pulled(pull), settings=settings, generator=generator, **options)


def assert_same(found: Gaussians, wanted: Gaussians) -> None:
    assert found.antialiased == wanted.antialiased
    for name, tensor in wanted.tensors().items():
        assert torch.equal(found.tensors()[name], tensor), name


def gsplat_refines(gaussians: Gaussians, renders: list[dict], settings: DensitySettings, scene_scale: float):
    """The Gaussians after gsplat saw the renders and refined after the last; Adam's mean of each, which started as
    the row's number + 1."""
    names = {"means": "means", "quats": "quats", "log_scales": "scales", "opacity_logits": "opacities", "sh": "sh"}
    params = {names[name]: torch.nn.Parameter(t.clone()) for name, t in gaussians.tensors().items()}
    optimizers = {name: torch.optim.Adam([param]) for name, param in params.items()}
    marks = torch.arange(1.0, len(gaussians) + 1)
    for name, param in params.items():
        mark = marks.reshape(-1, *[1] * (param.dim() - 1)).expand_as(param).clone()
        optimizers[name].state[param] = {"step": torch.tensor(1.0), "exp_avg": mark, "exp_avg_sq": mark.clone()}
    first, last = 10, 9 + len(renders)
    strategy = DefaultStrategy(
        prune_opa=settings.prune_opacity,
        grow_grad2d=settings.grow_grad,
        grow_scale3d=settings.split_size,
        prune_scale3d=settings.prune_size or 0.1,
        reset_every=9 if settings.prune_size else 1000,  # it prunes by size only after the first reset
        refine_start_iter=0,
        refine_every=last,
        absgrad=settings.absgrad,
    )
    strategy.check_sanity(params, optimizers)
    state = strategy.initialize_state(scene_scale)
    for step, render in enumerate(renders, first):
        means2d = torch.zeros(1, len(gaussians), 2)
        means2d[0, render["rows"]] = render["centre_grad"]
        means2d.grad, means2d.absgrad = (torch.zeros_like(means2d) for _ in range(2))
        (means2d.absgrad if settings.absgrad else means2d.grad).copy_(means2d)
        radii = torch.zeros(1, len(gaussians), 2, dtype=torch.int32)
        radii[0, render["rows"]] = 3
        info = {"means2d": means2d, "radii": radii, "gaussian_ids": None, "n_cameras": 1}
        info |= {name: render[name] for name in ("width", "height")}
        strategy.step_post_backward(params, optimizers, state, step, info)
    after = Gaussians(**{name: params[theirs].detach() for name, theirs in names.items()}, antialiased=True)
    return after, optimizers["opacities"].state[params["opacities"]]["exp_avg"]


@pytest.mark.parametrize("absgrad", [False, True])
@pytest.mark.parametrize("prune_size", [0.0, 0.1])
@pytest.mark.parametrize("transparent_share", [0.0, 0.3])
def test_refines_row_by_row_as_gsplat_does(absgrad, prune_size, transparent_share):
    count, scene_scale = 600, 5.5
    gaussians = cloud(count, 1, transparent_share)
    settings = DensitySettings(absgrad=absgrad, prune_size=prune_size, grow_grad=GROW_GRAD)
    random = torch.Generator().manual_seed(2)
    renders = []
    for width, height in ((640, 480), (512, 512), (300, 700)):
        rows = torch.nonzero(torch.rand(count, generator=random) < 0.7)[:, 0]
        centre_grad = 3e-6 * torch.randn(len(rows), 2, generator=random)
        centre_grad = centre_grad.abs() if absgrad else centre_grad
        renders.append({"rows": rows, "centre_grad": centre_grad, "width": width, "height": height})

    torch.manual_seed(7)  # gsplat draws from the global generator
    theirs, marks = gsplat_refines(gaussians, renders, settings, scene_scale)
    record = GradientRecord.empty(count)
    for render in renders:
        record.add(**render)
    nothing, generator = torch.zeros(count, dtype=torch.bool), torch.Generator().manual_seed(7)
    ours = refine(gaussians, record, torch.full((count,), scene_scale), nothing, settings, generator)

    assert torch.equal(torch.where(ours.fresh, 0, ours.origin + 1).float(), marks)
    halves = (ours.gaussians.log_scales != gaussians.log_scales[ours.origin]).any(dim=1)
    assert halves.sum() > 50
    assert (ours.fresh & ~halves).sum() > 50
    # Where nothing is transparent, even the places drawn are the same: it splits the transparent ones too, in vain.
    same_place = torch.ones_like(halves) if transparent_share == 0 else ~halves
    for name, wanted in theirs.tensors().items():
        rows = same_place if name == "means" else slice(None)
        torch.testing.assert_close(ours.gaussians.tensors()[name][rows], wanted[rows], rtol=1e-6, atol=1e-6)
    if prune_size:
        assert len(ours.origin) < len(refined(gaussians, record.mean(), replace(settings, prune_size=0.0)).origin)


def test_halves_are_drawn_from_the_gaussian_itself():
    whole = select(cloud(1, 3, 0.0), torch.zeros(20_000, dtype=torch.int64))
    whole.log_scales[:] = torch.tensor([0.3, 0.05, 1.0]).log()
    halves = refined(whole, torch.ones(20_000), DensitySettings()).gaussians
    assert len(halves) == 40_000
    offsets = halves.means - whole.means[0]
    along = offsets @ rotations(whole.quats[:1])[0] / whole.log_scales[0].exp()
    assert along.mean(dim=0).abs().max() < 0.03
    assert (along.T @ along / len(along) - torch.eye(3)).abs().max() < 0.03
    first, second = along.chunk(2)
    assert (first * second).mean(dim=0).abs().max() < 0.03


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    count=st.integers(0, 60),
    room=st.integers(-20, 60),
    prune_size=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 9999),
)
def test_whatever_comes_the_promises_hold(count, room, prune_size, seed):
    gaussians = cloud(count, seed)
    random = torch.Generator().manual_seed(seed)
    pull = 2 * GROW_GRAD * torch.rand(count, generator=random)
    frozen, distance_m = torch.rand(count, generator=random) < 0.3, 0.5 + 10 * torch.rand(count, generator=random)
    settings = DensitySettings(grow_grad=GROW_GRAD, prune_size=prune_size, max_gaussians=max(1, count + room))
    options = {"distance_m": distance_m, "frozen": frozen}
    came = refined(gaussians, pull, settings, seed, **options)
    again = refined(gaussians, pull, settings, seed, **options)
    assert_same(again.gaussians, came.gaussians)
    assert torch.equal(again.origin, came.origin)
    assert len(came.gaussians) == len(came.origin) == len(came.fresh) <= max(count, settings.max_gaussians)

    old = select(gaussians, came.origin)
    assert_same(select(came.gaussians, ~came.fresh), select(old, ~came.fresh))
    halves = came.fresh & (came.gaussians.log_scales != old.log_scales).any(dim=1)
    for name, tensor in came.gaussians.tensors().items():
        rows = ~halves if name in ("means", "log_scales") else slice(None)
        assert torch.equal(tensor[rows], old.tensors()[name][rows]), name
    torch.testing.assert_close(came.gaussians.log_scales[halves], old.log_scales[halves] - SHRINK)

    survivors = came.origin[~came.fresh]
    assert torch.equal(survivors[frozen[survivors]], torch.nonzero(frozen)[:, 0])
    assert not frozen[came.origin[came.fresh]].any()
    assert (pull[came.origin[came.fresh]] > GROW_GRAD).all()
    opacity = came.gaussians.opacity_logits.sigmoid()
    assert (opacity[~frozen[came.origin]] >= settings.prune_opacity).all()


def test_what_nobody_pulls_at_stays_as_it_is():
    gaussians = cloud(200, transparent_share=0.0)
    came = refined(gaussians, torch.full((200,), GROW_GRAD), DensitySettings(grow_grad=GROW_GRAD))
    assert_same(came.gaussians, gaussians)
    assert torch.equal(came.origin, torch.arange(200))
    assert not came.fresh.any()
    for tensor in came.gaussians.tensors().values():
        tensor += 1
    assert_same(gaussians, cloud(200, transparent_share=0.0))  # no memory is shared


def test_at_the_cap_the_hardest_pulled_go_first_and_the_lowest_row_where_they_tie():
    gaussians = cloud(8, transparent_share=0.0)
    gaussians.log_scales[:] = -9.0
    gaussians.opacity_logits[6] = -6.0  # pulled at most of all, but transparent: it takes no room
    pull = torch.tensor([2.0, 1.0, 3.0, 2.0, 2.0, 5e-5, 9.0, 2.0])
    came = refined(gaussians, pull, DensitySettings(max_gaussians=11))
    assert came.origin.tolist() == [0, 1, 2, 3, 4, 5, 7, 0, 2, 3]
    assert came.fresh.tolist() == [False] * 7 + [True] * 3


def test_size_counts_relative_to_the_distance():
    gaussians = cloud(2, transparent_share=0.0)
    gaussians.log_scales[:] = math.log(0.05)
    distance_m = torch.tensor([2.0, 20.0])
    came = refined(gaussians, torch.ones(2), DensitySettings(), distance_m=distance_m)
    assert came.origin.tolist() == [1, 1, 0, 0]  # the far one twice, then the halves of the near one
    assert came.fresh.tolist() == [False, True, True, True]
    pruned = refined(gaussians, torch.zeros(2), DensitySettings(prune_size=0.02), distance_m=distance_m)
    assert pruned.origin.tolist() == [1]


def test_the_last_word_on_what_goes():
    gaussians, asked = cloud(100), []

    def prunable(grown: Gaussians, pruned: Tensor) -> Tensor:
        asked.append((len(grown), int(pruned.sum())))
        return torch.arange(len(grown)) % 2 == 0

    transparent = gaussians.opacity_logits.sigmoid() < 0.005
    came = refined(gaussians, torch.zeros(100), DensitySettings(), prunable=prunable)
    assert asked == [(100, int(transparent.sum()))]
    assert came.origin.tolist() == [row for row in range(100) if not transparent[row] or row % 2]


def test_the_record_is_a_mean_over_the_renders_that_drew_it():
    record = GradientRecord.empty(4)
    record.add(torch.tensor([0, 2]), torch.tensor([[3e-3, 4e-3], [1.0, 0.0]]), width=2000, height=2000)
    record.add(torch.tensor([0]), torch.tensor([[1.0, 0.0]]), width=10, height=40)
    record = GradientRecord(record.grad_sum.clone(), record.grad_count.clone())  # as from a checkpoint
    record.add(torch.tensor([3, 0]), torch.tensor([[0.0, -1.0], [0.0, 0.0]]), width=10, height=40)
    torch.testing.assert_close(record.mean(), torch.tensor([10 / 3, 0.0, 1000.0, 20.0]))
    assert record.grad_count.tolist() == [3, 0, 1, 1]


def test_splatfactos_schedule_in_shares():
    settings = DensitySettings(start=1 / 60, stop=0.5, every=100)
    assert [step for step in range(30_000) if settings.refines(step, 30_000)] == list(range(600, 15_000, 100))
    assert [step for step in range(30_000) if settings.watches(step, 30_000)] == list(range(15_000))
    off = DensitySettings(enabled=False)
    assert not any(off.refines(step, 1000) or off.watches(step, 1000) for step in range(1000))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("start", -0.1),
        ("stop", 0.05),
        ("stop", 1.5),
        ("every", 0),
        ("grow_grad", 0.0),
        ("grow_grad", math.nan),
        ("split_size", math.inf),
        ("prune_opacity", 1.0),
        ("prune_size", -1.0),
        ("max_gaussians", 0),
    ],
)
def test_a_wrong_setting_is_one_clear_line(key, value):
    with pytest.raises(UserError, match=rf"^splat\.density\.{key}: {value}, wanted ") as caught:
        DensitySettings(**{key: value})
    assert "\n" not in str(caught.value)
