"""Completion for inpainters that know no world: holes continue the background's side, the network only paints them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldgen.embedded.disocclusion import (
    background_side,
    foreground_rim,
    guess_background,
    inverse_zdepth,
    level_planes,
    settle_background,
)
from worldgen.embedded.scene_layout import OriginVisibility, level_heights
from worldgen.errors import expect
from worldgen.models.protocols import CompleteViews, Composite, DepthEstimator, Inpainter, Lifetime, ViewCompleter
from worldgen.types import CompletedView, IncompleteView, PointCloud, Prompt, Prompts, View

_RIM = 1 / 5  # of the view's width: how much foreground round a hole the inpainter is not shown


@dataclass(frozen=True)
class DisocclusionCompleter(Composite, ViewCompleter):
    """min_hole: part of a view; fewer holes take their background's colours, unpainted. relief: how far, in parts of
    the distance, the depth network may move what was painted from the background's own continuation; indoors only,
    0 = never."""

    inpainter: Inpainter
    depth: DepthEstimator
    min_hole: float = 0.002
    relief: float = 0.15

    def __post_init__(self) -> None:
        expect("completer.min_hole", self.min_hole, 0 <= self.min_hole < 1, "0 or more and less than 1")
        expect("completer.relief", self.relief, 0 <= self.relief < 1, "0 or more and less than 1")

    def parts(self) -> Sequence[Lifetime]:
        """The networks."""
        return self.inpainter, self.depth

    def begin(self, cloud: PointCloud, prompts: Prompts) -> CompleteViews:
        """See `protocols.ViewCompleter`."""
        relief = self.relief if prompts.indoor else 0.0
        return _Scene(self, relief, level_heights(cloud), OriginVisibility(cloud))


@dataclass(frozen=True)
class _Scene:
    """heights: world y of its level planes; visibility: from the origin."""

    adapter: DisocclusionCompleter
    relief: float
    heights: Sequence[float]
    visibility: OriginVisibility

    def __call__(
        self, views: Sequence[IncompleteView], prompts: Sequence[Prompt], seeds: Sequence[int]
    ) -> list[CompletedView]:
        return [self._completed(*one) for one in zip(views, prompts, seeds, strict=True)]

    def _completed(self, incomplete: IncompleteView, prompt: Prompt, seed: int) -> CompletedView:
        render, holes, camera = incomplete.view, incomplete.holes, incomplete.view.camera
        away = background_side(camera, torch.zeros(3))
        level = level_planes(camera, self.heights)
        guess = guess_background(render, away, level)
        settled = settle_background(guess, render.known, torch.maximum(inverse_zdepth(guess), level))
        unknown = ~render.known & settled.known
        settled, new = self.visibility.pushed_behind(settled, unknown)
        if (holes & new).float().mean() < self.adapter.min_hole:
            return CompletedView(_merged(render, guess.rgb, settled, new), torch.zeros_like(holes))
        rim = foreground_rim(guess, render.known, away, level, round(_RIM * camera.width))
        painted = self.adapter.inpainter(guess.rgb[None], (~holes & ~rim)[None].float(), [prompt], [seed])[0]
        if self.relief > 0:
            estimated = 1 / self.adapter.depth(painted, camera).zdepth
            relief = settle_background(guess, render.known, estimated)
            settled, new = self.visibility.pushed_behind(bounded(relief, settled, self.relief), unknown)
        return CompletedView(_merged(render, torch.where(holes, painted, guess.rgb), settled, new), holes & new)


def _merged(render: View, rgb: Tensor, settled: View, new: Tensor) -> View:
    """The render, and where `new` (bool [H, W]) the colours of `rgb` at the distances of `settled`."""
    distance = torch.where(render.known, render.measured, settled.measured)
    return View(render.camera, rgb, render.known | new, distance)


def bounded(view: View, reference: View, share: float) -> View:
    """`view` with distances at most `share` of the reference's away from them."""
    low, high = reference.measured * (1 - share), reference.measured * (1 + share)
    return View(view.camera, view.rgb, reference.known, view.measured.clamp(low, high))
