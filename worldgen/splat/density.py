"""Density control: Gaussians are added where the views ask for detail, and taken away where they are transparent.

The rules are those of gsplat 1.5.3's DefaultStrategy (3D Gaussian Splatting, Section 5.2) with `revised_opacity` off;
the tests hold them to it. Three things differ. Sizes count relative to a Gaussian's own distance from the scene's
origin, for a world reaches from arm's length to the horizon. There is a cap on the count. There is no opacity reset
(paper, "3DGS"), and what gsplat ties to it, pruning by size, is off unless asked for.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worldgen.errors import expect, expect_whole_numbers
from worldgen.splat.quaternions import rotations
from worldgen.types import Gaussians

_SPLIT_SHRINKS = 1.6  # standard deviations of the two halves of a Gaussian, relative to its own

Prunable = Callable[[Gaussians, Tensor], Tensor]
"""Of Gaussians and bool [N], those that would be pruned: bool [N], which of these may be."""


@dataclass(frozen=True)
class DensitySettings:
    """When Gaussians are added and taken away, and which.

    enabled: False leaves the count as it is. start, stop: shares of all steps between which refinements lie; every:
    steps from one to the next. The paper only says "shortened"; Splatfacto refines from 1/60 to 1/2 of its 30 000
    steps. We start later: 1/60 of 5 000 steps is 83, fewer than there are views, and the cloud is dense already.
    grow_grad: gradient of the loss on the image, mean over the renders that drew the Gaussian, above which it grows;
    gsplat's units, half a picture = 1. absgrad: absolute values of the gradient are summed over pixels (AbsGS), so
    that opposite pulls do not cancel; Splatfacto's choice and threshold. Without it gsplat's threshold is 2e-4.
    split_size: what grows is split where its largest standard deviation exceeds this share of its distance from the
    origin, and copied where not.
    prune_opacity: what has less is pruned. prune_size: what is larger than this share of its distance is pruned; 0 =
    never. gsplat does so (0.1) only after its first opacity reset, which shows whether a large Gaussian is needed.
    Nothing here would show it, and discs on ground seen at a slant are long from the start: they are its only cover.
    max_gaussians: growth stops there; a larger cloud does not grow, and is not cut either.
    """

    enabled: bool = True
    start: float = 0.1
    stop: float = 0.5
    every: int = 100
    grow_grad: float = 8e-4
    absgrad: bool = True
    split_size: float = 0.01
    prune_opacity: float = 0.005
    prune_size: float = 0.0
    max_gaussians: int = 300_000

    def __post_init__(self) -> None:
        expect_whole_numbers("splat.density", self)
        expect("splat.density.start", self.start, 0 <= self.start <= 1, "a share of the steps, 0 to 1")
        expect(
            "splat.density.stop",
            self.stop,
            self.start <= self.stop <= 1,
            f"a share of the steps, start ({self.start}) to 1",
        )
        expect("splat.density.every", self.every, self.every >= 1, "1 or more steps")
        expect("splat.density.grow_grad", self.grow_grad, 0 < self.grow_grad < math.inf, "above 0")
        expect("splat.density.split_size", self.split_size, 0 < self.split_size < math.inf, "above 0")
        expect("splat.density.prune_opacity", self.prune_opacity, 0 <= self.prune_opacity < 1, "0 or more, below 1")
        expect("splat.density.prune_size", self.prune_size, 0 <= self.prune_size < math.inf, "above 0, or 0 for never")
        expect("splat.density.max_gaussians", self.max_gaussians, self.max_gaussians >= 1, "1 or more")

    def watches(self, step: int, steps: int) -> bool:
        """Whether the gradients of this step, of `steps` from 0, belong into the record."""
        return self.enabled and step < self.stop * steps

    def refines(self, step: int, steps: int) -> bool:
        """Whether a refinement follows this step."""
        return self.watches(step, steps) and step > self.start * steps and step % self.every == 0


@dataclass(eq=False)
class GradientRecord:
    """How strongly the views have pulled at each Gaussian since the last refinement; plain tensors, to be saved.

    grad_sum: [N], the norms of its gradients on the image, summed over the renders that drew it; grad_count: [N], how
    many those were.
    """

    grad_sum: Tensor
    grad_count: Tensor

    @classmethod
    def empty(cls, count: int, device: torch.device | str = "cpu") -> "GradientRecord":
        """Of nothing yet: at the start, and after each refinement."""
        return cls(torch.zeros(count, device=device), torch.zeros(count, device=device))

    def add(self, rows: Tensor, centre_grad: Tensor, width: float, height: float) -> None:
        """Takes in one render.

        rows: int64 [V], the Gaussians that were drawn, each once; centre_grad: [V, 2], d loss / d (x, y of the centre),
        per pixel; width, height: pixels of the view over which the loss is a mean, for a crop those before cropping.
        """
        half = centre_grad.new_tensor([width / 2, height / 2])
        self.grad_sum.index_add_(0, rows, (centre_grad.detach() * half).norm(dim=-1))
        self.grad_count.index_add_(0, rows, torch.ones_like(self.grad_count[rows]))

    def mean(self) -> Tensor:
        """[N], 0 for what was never drawn."""
        return self.grad_sum / self.grad_count.clamp(min=1)


@dataclass(frozen=True, eq=False)
class Refinement:
    """What a refinement came to. M Gaussians, in this order: the old ones that stay, by row; copies, by row of the
    original; first halves of split ones, by row of the whole; second halves, likewise.

    gaussians: detached, no memory shared with the old ones; origin: int64 [M], the old row that each is or comes from;
    fresh: bool [M], True for copies and halves, whose optimiser state starts from zero. The rest equal their old row.
    """

    gaussians: Gaussians
    origin: Tensor
    fresh: Tensor


@torch.no_grad()
def refine(
    gaussians: Gaussians,
    record: GradientRecord,
    distance_m: Tensor,
    frozen: Tensor,
    settings: DensitySettings,
    generator: torch.Generator,
    prunable: Prunable | None = None,
) -> Refinement:
    """Copies, splits and prunes N Gaussians.

    What the views pull at hard is copied (both stay in place) if small, and replaced by two of 1 / 1.6 its size, at
    places drawn from it, if large. If that made more than `max_gaussians`, the hardest pulled go first, the lowest
    row where they tie. Then the transparent (and the too large) are pruned.

    distance_m: [N] > 0, from the scene's origin; bound it below, or what lies at the origin is always too large.
    frozen: bool [N], never copied, split or pruned: the sky's far shell. generator: one on the CPU whatever the
    Gaussians' device. prunable: has the last word on what is pruned, for instance `prune_guard.removable` with its
    cameras.
    """
    pull = record.mean()
    # A transparent Gaussian's offspring is as transparent, and would be pruned at once: it must not take up room.
    candidates = (pull > settings.grow_grad) & ~frozen & ~_transparent(gaussians, settings)
    growing = _strongest(candidates, pull, settings.max_gaussians - len(gaussians))
    small = _size_m(gaussians) <= settings.split_size * distance_m
    grown = _grow(gaussians, growing & small, growing & ~small, generator)

    pruned = _transparent(grown.gaussians, settings)
    if settings.prune_size:
        pruned |= _size_m(grown.gaussians) > settings.prune_size * distance_m[grown.origin]
    pruned &= ~frozen[grown.origin]
    if prunable is not None and bool(pruned.any()):
        pruned &= prunable(grown.gaussians, pruned)
    return Refinement(select(grown.gaussians, ~pruned), grown.origin[~pruned], grown.fresh[~pruned])


def select(gaussians: Gaussians, rows: Tensor) -> Gaussians:
    """Those of `rows`, int64 [M] or bool [N]: copies, detached."""
    return gaussians.map(lambda tensor: tensor.detach()[rows])


def _transparent(gaussians: Gaussians, settings: DensitySettings) -> Tensor:
    return gaussians.opacity_logits.sigmoid() < settings.prune_opacity


def _size_m(gaussians: Gaussians) -> Tensor:
    """[N], the largest standard deviation."""
    return gaussians.log_scales.exp().amax(dim=1)


def _strongest(candidates: Tensor, pull: Tensor, room: int) -> Tensor:
    """bool [N]: the at most `room` candidates of largest pull [N]."""
    rows = torch.nonzero(candidates)[:, 0]
    order = torch.sort(pull[rows], descending=True, stable=True).indices
    chosen = torch.zeros_like(candidates)
    chosen[rows[order[: max(0, room)]]] = True
    return chosen


def _grow(gaussians: Gaussians, copied: Tensor, split: Tensor, generator: torch.Generator) -> Refinement:
    """copied, split: bool [N], which; none is both."""
    stay, copies, wholes = (torch.nonzero(mask)[:, 0] for mask in (~split, copied, split))
    origin = torch.cat([stay, copies, wholes, wholes])
    fresh = torch.arange(len(origin), device=origin.device) >= len(stay)
    grown = select(gaussians, origin)

    halves = slice(len(stay) + len(copies), None)
    noise = torch.randn(2 * len(wholes), 3, generator=generator).to(grown.means)
    offsets = rotations(grown.quats[halves]) @ (grown.log_scales[halves].exp() * noise)[..., None]
    grown.means[halves] += offsets[..., 0]
    grown.log_scales[halves] -= math.log(_SPLIT_SHRINKS)
    return Refinement(grown, origin, fresh)
