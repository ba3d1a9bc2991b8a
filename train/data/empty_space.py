"""Pictures with transparent backgrounds: what is empty in them stays empty in the world."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from train.data.point_files import Points
from worldgen.geometry.cameras import project
from worldgen.types import SupervisionView

_EMPTY = 1 / 255  # of opacity, at most
_ROUNDS = 20


def with_alpha(views: Sequence[SupervisionView]) -> list[SupervisionView]:
    """Views that all have an alpha if any has: an opaque one among them hides what is behind."""
    if all(view.alpha is None for view in views):
        return list(views)
    return [view if view.alpha is not None else replace(view, alpha=torch.ones_like(view.weight)) for view in views]


def within_silhouettes(draw: Callable[[int], Points], views: Sequence[SupervisionView], count: int) -> Points:
    """Of the points that `draw` gives, at each call others, at most `count` that lie where things can be: in no view's
    empty part, and in the pictures of half as many views as any point, at least (what a single view hides is anywhere
    behind its silhouette).

    What few there are, if the things are small, is what there is; all the points of the first call, if nothing of any
    view is empty, or no point were left.
    """
    first = draw(0)
    if all(view.alpha is None for view in views):
        return first
    kept: list[Points] = []
    points = first
    for again in range(1, _ROUNDS + 1):
        inside = _possible(points.xyz, views)
        kept.append(replace(points, xyz=points.xyz[inside], rgb=points.rgb[inside]))
        if sum(len(one.xyz) for one in kept) >= count:
            break
        points = draw(again)
    xyz, rgb = (torch.cat([getattr(one, name) for one in kept])[:count] for name in ("xyz", "rgb"))
    return replace(first, xyz=xyz, rgb=rgb) if len(xyz) else first


def _possible(xyz: Tensor, views: Sequence[SupervisionView]) -> Tensor:
    """bool [N]: whether something may be at points [N, 3]."""
    empty = torch.zeros(len(xyz), dtype=torch.bool)
    seen = torch.zeros(len(xyz), dtype=torch.long)
    for view in views:
        pixels, zdepth = project(view.camera, xyz)
        height, width = view.weight.shape
        inside = (zdepth > 0) & (pixels >= 0).all(dim=1) & (pixels < torch.tensor([width, height])).all(dim=1)
        seen += inside
        if view.alpha is not None:
            column, row = pixels[inside].long().unbind(-1)
            shows_nothing = (view.alpha[row, column] <= _EMPTY) & (view.weight[row, column] > 0)
            empty[inside.nonzero()[shows_nothing, 0]] = True
    return ~empty & (2 * seen >= seen.max())
