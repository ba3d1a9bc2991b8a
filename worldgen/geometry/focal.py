"""The focal length of whoever took a picture, from any network's point map of it."""

import math

import torch
from torch import Tensor

from worldgen.errors import UserError
from worldgen.geometry.fov_range import MAX_DEG, MIN_DEG

_MOST_POINTS = 1 << 18  # more tell nothing new
_ROUNDS = 30
_CUT = 3.0  # of the residuals' spread: what is farther off has no say (Tukey's biweight)
_LEAST_SHARE = 0.01  # of the pixels: fewer points before the camera tell nothing


def focal_px(points: Tensor, weight: Tensor | None = None) -> float:
    """The focal length in pixels, of square pixels around a centred principal point.

    points: [H, W, 3], camera frame (OpenCV), any unit, not finite where unknown; weight: [H, W] >= 0, bool or a
    confidence, None = all alike. What agrees with no field of view within `fov_range` counts as an outlier.

    A pixel at p from the centre sees a point that lies at q on the plane before the camera, a unit away, where
    p = focal * q. The pixels' own answers vote first (the weighted median, which a fifth of outliers moves little);
    then least squares of the reprojection p - focal * q, reweighted until it stands, settles it. DUSt3R reweights by
    1 / |residual| (Weiszfeld), which lets a false point count more the nearer it is to the camera's plane; a biweight
    does not.

    Raises UserError where too few points lie before the camera.
    """
    p, q, weight = _rays(points, weight)
    width = points.shape[1]
    least, most = (0.5 * width / math.tan(math.radians(deg) / 2) for deg in (MAX_DEG, MIN_DEG))
    own = (p * q).sum(-1) / q.square().sum(-1).clamp(min=1e-12)
    believed = (own > least) & (own < most)
    if believed.sum() < _LEAST_SHARE * len(p) or believed.sum() < 2:
        raise UserError(f"fov: {int(believed.sum())} of {len(p)} points lie as a camera sees them, wanted more")
    p, q, own, weight = p[believed], q[believed], own[believed], weight[believed]
    focal = _median(own, weight * p.norm(dim=-1))
    for _ in range(_ROUNDS):
        before = focal
        residual = (p - focal * q).norm(dim=-1)
        spread = 1.4826 * _median(residual, weight)
        trust = weight * (1 - (residual / max(_CUT * spread, 1e-6 * focal)).square()).clamp(min=0).square()
        focal = float((trust * (p * q).sum(-1)).sum() / (trust * q.square().sum(-1)).sum())
        if abs(focal - before) < 1e-7 * before:
            break
    return focal


def fov_deg(points: Tensor, weight: Tensor | None = None) -> float:
    """The horizontal field of view, of a point map as `focal_px` takes it: [H, W, 3]; weight [H, W]."""
    return 2 * math.degrees(math.atan(0.5 * points.shape[1] / focal_px(points, weight)))


def _rays(points: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Of the pixels that count: places p [N, 2] in the picture, q [N, 2] on the plane, weights [N]; float64."""
    height, width = points.shape[:2]
    step = max(1, math.ceil(math.sqrt(height * width / _MOST_POINTS)))
    points = points[::step, ::step].double()
    x = torch.arange(0, width, step, device=points.device, dtype=torch.float64) + 0.5 - width / 2
    y = torch.arange(0, height, step, device=points.device, dtype=torch.float64) + 0.5 - height / 2
    p = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    z = points[..., 2:]
    q = points[..., :2] / torch.where(z > 0, z, torch.ones_like(z))
    share = torch.ones_like(z[..., 0]) if weight is None else weight[::step, ::step].double()
    counts = points.isfinite().all(-1) & q.isfinite().all(-1) & (z[..., 0] > 0) & share.isfinite() & (share > 0)
    return p[counts], q[counts], share[counts]


def _median(values: Tensor, weight: Tensor) -> float:
    """The weighted one of [N]."""
    order = values.argsort()
    below = weight[order].cumsum(0)
    return float(values[order[int(torch.searchsorted(below, below[-1] / 2))]])
