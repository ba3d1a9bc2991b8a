"""Overlapping estimates of one panorama's distances made to agree and blended: the views' seams disappear.

Everything happens in log distance, where a wrong scale is a constant. Paper, "Metric depth", leaves the alignment open.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

_RIDGE = 1e-3  # holds what no overlap determines: the common scale, views that touch nobody


def align(log_distance: Tensor, weight: Tensor, basis: Tensor, bend: float = 0.1, rounds: int = 12) -> Tensor:
    """Corrections that make V estimates agree wherever two of them see the same of N directions.

    log_distance: [V, N]; weight: [V, N] >= 0, 0 where the view does not see; basis: [V, N, K], the functions that a
    view's correction may be made of, the constant first. bend: price of the others, against the constant's 0.
    Minimises the weighted sum over all pairs of a Cauchy loss (scale: the median residual) by reweighted least squares.
    Returns [V, K]; their constants average 0, so that the common scale stays.
    """
    views, _, terms = basis.shape
    rows, gaps, weights = _pairs(log_distance.double(), weight.double(), basis.double())
    ridge = rows.new_full((views, terms), bend)
    ridge[:, 0] = _RIDGE
    solution = rows.new_zeros(views * terms)
    for _ in range(rounds):
        residual = rows @ solution - gaps
        spread = residual.abs().median().clamp(min=1e-3)
        robust = weights / (1 + (residual / spread).square())
        normal = (rows * robust[:, None]).T @ rows / robust.sum() + torch.diag(ridge.flatten()) / views
        solution = torch.linalg.solve(normal, rows.T @ (robust * gaps) / robust.sum())
    correction = solution.reshape(views, terms)
    correction[:, 0] -= correction[:, 0].mean()
    return correction.float()


def _pairs(log_distance: Tensor, weight: Tensor, basis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One row per direction that a pair of views shares: correction_i - correction_j should equal log_j - log_i."""
    views, _, terms = basis.shape
    rows, gaps, weights = [], [], []
    for i in range(views):
        for j in range(i + 1, views):
            both = torch.nonzero((weight[i] > 0) & (weight[j] > 0))[:, 0]
            row = basis.new_zeros(len(both), views, terms)
            row[:, i], row[:, j] = basis[i, both], -basis[j, both]
            rows.append(row.flatten(1))
            gaps.append(log_distance[j, both] - log_distance[i, both])
            weights.append(weight[i, both] * weight[j, both])
    return torch.cat(rows), torch.cat(gaps), torch.cat(weights)


def blend(estimates: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The weighted mean of aligned estimates, log metres [...], as a distance [...] in metres; and the sum of weights.

    estimates: pairs of a log distance and its weight >= 0, both [...], of which one at a time is held; where none of a
    direction's weights is above 0, the distance is NaN.
    """
    total, counted = None, None
    for log, weight in estimates:
        total = log * weight if total is None else total.add_(log * weight)
        counted = weight.clone() if counted is None else counted.add_(weight)
    if total is None or counted is None:
        raise ValueError("blend: no estimates, wanted one at least")
    return torch.exp(total / counted), counted


def feather(u: Tensor, v: Tensor) -> Tensor:
    """How much a view counts at image coordinates u, v [...], -1 .. 1 across the picture; [...].

    1 in the middle, 0 with slope 0 at the edges, 0 beyond.
    """
    return (1 - u.square()).clamp_(min=0).mul_((1 - v.square()).clamp_(min=0)).square_()


def quantile_scale(shape: Tensor, metric: Tensor) -> float:
    """Metres per unit of `shape`: (Q0.8 - Q0.2 of metric) / (Q0.8 - Q0.2 of shape). Paper, "Metric depth".

    Both: [...], the same pixels. Raises ValueError where the shape has no spread.
    """
    quantiles = shape.new_tensor([0.2, 0.8])
    shape_low, shape_high = _subsample(shape).quantile(quantiles).tolist()
    metric_low, metric_high = _subsample(metric).quantile(quantiles).tolist()
    if not shape_high > shape_low:
        raise ValueError(f"quantile_scale: the shape's quantiles are {shape_low:g} and {shape_high:g}, wanted a spread")
    return (metric_high - metric_low) / (shape_high - shape_low)


def _subsample(values: Tensor) -> Tensor:
    """[n], evenly chosen, one to two millions at most."""
    flat = values.flatten()
    return flat[:: max(1, len(flat) // 1_000_000)]  # torch.quantile takes no more than 2^24 values
