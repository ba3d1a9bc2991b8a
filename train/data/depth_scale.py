"""An estimated depth brought to the unit of the poses, by points of their world that the view sees.

An estimate is right up to a scale, or up to a scale and a shift of the inverse depth (Ranftl et al., "Towards Robust
Monocular Depth Estimation", TPAMI 2022, Section 5). Points may be wrong, and hidden by what stands before them.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldgen.geometry.cameras import project
from worldgen.types import Camera, ViewDepth

FEWEST = 20  # points that have to agree
_AGREE = 0.25  # relative difference up to which a point agrees
_SHARE = 0.3  # of the points, that has to
_GROSS = 0.5  # what differs by more is no error of the estimate's: the point is wrong, or hidden
_FEWEST_FOR_SHIFT = 60
_HELPS = 0.75  # of the cost without a shift, at most, is the cost with one that is worth it
_POSITIVE = 0.98  # share of an estimate that a shift has to leave in front of the camera
_FLATTENS = (
    0.5  # part of the median inverse depth, at most, that a shift may be: with more, little of the estimate is left
)
_LEFT = 0.05  # part of its inverse depth that a shift has to leave of a pixel
_MOST, _DRAWS, _ROUNDS = 4000, 400, 15  # points that are looked at, pairs of them to begin with, and refinements
_CELLS = 48  # of the picture's longer side: in each, what lies well behind the nearest point is taken for hidden
_BEHIND = 1.15


@dataclass(frozen=True)
class DepthFit:
    """zdepth = 1 / (1 / (scale * estimate) + shift). points: that agree; error: the median relative difference of those
    that are not grossly off."""

    scale: float
    shift: float = 0.0
    points: int = 0
    error: float = 0.0

    def __call__(self, zdepth: Tensor) -> Tensor:
        """Estimates of any shape, > 0, in the poses' unit; 0 where the shift takes nearly all of the inverse depth or
        more: they would lie anywhere, or behind the camera."""
        scaled = 1 / (self.scale * zdepth)
        inverse = scaled + self.shift
        return torch.where(inverse > _LEFT * scaled, 1 / inverse, torch.zeros(()))


def fit_depth(estimate: ViewDepth, camera: Camera, xyz: Tensor, counts: Tensor) -> DepthFit | None:
    """What brings an estimate [H, W] to the unit of points xyz [N, 3] of the camera's world; None where too few of them
    agree on it. counts: bool [H, W], pixels whose points tell anything."""
    pixels, truth = visible(camera, xyz)
    row, column = pixels.unbind(-1)
    known = (estimate.valid & counts)[row, column]
    return fit_scale(estimate.zdepth[row, column][known].double(), truth[known].double(), estimate)


def visible(camera: Camera, xyz: Tensor) -> tuple[Tensor, Tensor]:
    """Of the points [N, 3] that lie in the picture, and not well behind others beside them: row and column [M, 2], and
    zdepth [M]."""
    place, zdepth = project(replace(camera, c2w=camera.c2w.double()), xyz.double())
    size = torch.tensor([camera.width, camera.height])
    inside = (zdepth > 0) & (place >= 0).all(dim=1) & (place < size).all(dim=1)
    place, zdepth = place[inside], zdepth[inside]
    column, row = place.long().unbind(-1)
    cell_px = max(camera.width, camera.height) / _CELLS
    cell = (row / cell_px).long() * (_CELLS + 1) + (column / cell_px).long()
    nearest = torch.full(((_CELLS + 1) ** 2,), math.inf, dtype=zdepth.dtype)
    nearest = nearest.scatter_reduce(0, cell, zdepth, "amin")
    seen = zdepth <= _BEHIND * nearest[cell]
    return torch.stack([row, column], dim=-1)[seen], zdepth[seen]


def fit_scale(estimate: Tensor, truth: Tensor, whole: ViewDepth) -> DepthFit | None:
    """The same, of points' estimates and true depths, both [N] float64 > 0; whole: what a shift has to leave in front
    of the camera."""
    every = -(-len(truth) // _MOST) or 1
    estimate, truth = estimate[::every], truth[::every]
    if len(truth) < FEWEST:
        return None
    scaled = _refined(estimate, truth, _of_ratios(estimate, truth), False)
    best = scaled
    if len(truth) >= _FEWEST_FOR_SHIFT:
        shifted = _refined(estimate, truth, _of_pairs(estimate, truth), True)
        if _cost(estimate, truth, shifted) < _HELPS * _cost(estimate, truth, scaled) and _keeps(whole, truth, shifted):
            best = shifted
    error = _error(estimate, truth, best).abs()
    agree = int((error <= _AGREE).sum())
    if agree < max(FEWEST, _SHARE * len(truth)):
        return None
    inverse, shift = best.tolist()
    return DepthFit(1 / inverse, shift, agree, float(error[error <= _GROSS].median()))


def _error(estimate: Tensor, truth: Tensor, terms: Tensor) -> Tensor:
    """Relative, [..., N], of terms [..., 2]: the inverse depth's factor and shift."""
    return truth * (terms[..., :1] / estimate + terms[..., 1:]) - 1


def _cost(estimate: Tensor, truth: Tensor, terms: Tensor) -> Tensor:
    """[...]: what is far off counts no more than what is just too far off."""
    return _error(estimate, truth, terms).abs().clamp(max=_GROSS).mean(dim=-1)


def _of_ratios(estimate: Tensor, truth: Tensor) -> Tensor:
    """The terms [2], without a shift, of the point that the others agree with best."""
    ratios = (estimate / truth)[:: -(-len(truth) // _DRAWS)]
    terms = torch.stack([ratios, torch.zeros_like(ratios)], dim=-1)
    return terms[_cost(estimate, truth, terms).argmin()]


def _of_pairs(estimate: Tensor, truth: Tensor) -> Tensor:
    """The terms [2] of the pair of points that the others agree with best; the first is above 0."""
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randint(len(truth), (2, _DRAWS), generator=generator)
    factor = (1 / truth[one] - 1 / truth[other]) / (1 / estimate[one] - 1 / estimate[other])
    terms = torch.stack([factor, 1 / truth[one] - factor / estimate[one]], dim=-1)
    terms = terms[terms.isfinite().all(dim=-1) & (factor > 0)]
    if not len(terms):
        return _of_ratios(estimate, truth)
    return terms[_cost(estimate, truth, terms).argmin()]


def _refined(estimate: Tensor, truth: Tensor, terms: Tensor, with_shift: bool) -> Tensor:
    """Reweighted least squares of the relative error with a Cauchy loss, from where `terms` [2] are near."""
    columns = torch.stack([truth / estimate, truth], dim=-1)
    columns = columns if with_shift else columns[:, :1]
    for _ in range(_ROUNDS):
        error = _error(estimate, truth, terms).abs()
        spread = error[error <= _GROSS].median() if bool((error <= _GROSS).any()) else error.new_tensor(_GROSS)
        weight = 1 / (1 + (error / spread.clamp(min=1e-4)).square())
        weighted = columns * weight[:, None]
        found = torch.linalg.lstsq(weighted.T @ columns, weighted.sum(dim=0)).solution
        if not bool(found.isfinite().all()) or float(found[0]) <= 0:
            break
        terms = torch.cat([found, found.new_zeros(2 - len(found))])
    return terms


def _keeps(whole: ViewDepth, truth: Tensor, terms: Tensor) -> bool:
    """Whether nearly all of an estimate stays in front of the camera, and it is not flattened."""
    inverse, shift = terms.tolist()
    if shift > _FLATTENS * float((1 / truth).median()):
        return False
    return float((inverse / whole.zdepth[whole.valid] + shift > 0).float().mean()) >= _POSITIVE
