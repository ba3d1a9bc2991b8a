"""Estimated depth of completed views, made to agree with what of them was known already (paper 8)."""

import torch
from torch import Tensor

from worldgen.geometry import alignment
from worldgen.geometry.cameras import zdepth_to_distance
from worldgen.geometry.fill import erode, push_pull
from worldgen.models.protocols import DepthEstimator
from worldgen.types import Camera, View

_BEND = 0.1  # price of tilting the estimate, beside scaling it
_LEAST_SHARE = 1e-3  # of the view, known and estimated both: less tells no scale
_GRID_PX = 96  # the scale and tilt are fitted on so many pixels across
_RIM_PX = 2  # points are discs: beside a hole what stands before it reaches so far beyond its edge
_SAME_SURFACE = 0.1  # log ratio: a known pixel that is farther off after the fit shows another thing than the estimate


def with_distances(completed: View, render: View, depth: DepthEstimator) -> View:
    """`completed` with the distances of `render` where that knows them, and else its own; where it has none, those that
    `depth` estimates, aligned. Pixels that nobody knows the depth of are not `known` any more."""
    if completed.distance is not None:
        return completed
    camera = completed.camera
    estimate = depth(completed.rgb, camera)
    estimated = torch.where(estimate.valid, zdepth_to_distance(camera, estimate.zdepth), 1.0)
    aligned = aligned_distance(camera, estimated, estimate.valid, render)
    if aligned is None:
        return View(camera, completed.rgb, completed.known & render.known, render.measured)
    distance = torch.where(render.known, render.measured, aligned)
    return View(camera, completed.rgb, completed.known & (render.known | estimate.valid), distance)


def aligned_distance(camera: Camera, estimated: Tensor, valid: Tensor, render: View) -> Tensor | None:
    """The estimate, scaled and tilted to the render's distances, then bent to meet them; None where too few are known.

    estimated: [H, W], > 0, up to scale; valid: bool [H, W]. The bend is what the fit leaves open at known pixels,
    carried smoothly into the holes, but for pixels that show other things: a foreground's torn rim, or what shines
    through where its unseen side should stand.
    """
    both = valid & render.known
    if both.float().mean() < _LEAST_SHARE:
        return None
    log = torch.stack([torch.where(both, render.measured, 1.0), estimated]).log()
    step = max(1, camera.width // _GRID_PX)
    basis = _basis(camera)
    weight = both.float()[::step, ::step].flatten().expand(2, -1)
    if not bool(weight.any()):
        return None
    coarse = basis[::step, ::step].flatten(0, 1).expand(2, -1, -1)
    render_term, own_term = alignment.align(log[:, ::step, ::step].flatten(1), weight, coarse, _BEND)
    fitted = log[1] + basis @ (own_term - render_term)
    gap = torch.where(both, log[0] - fitted, 0.0)
    agreed = both & (gap.abs() < _SAME_SURFACE) & erode(render.known, _RIM_PX)
    return (fitted + push_pull(gap[None], agreed)[0]).exp()


def _basis(camera: Camera) -> Tensor:
    """[H, W, 3]: 1, and the image coordinates from -1 to 1."""
    v, u = torch.meshgrid(torch.linspace(-1, 1, camera.height), torch.linspace(-1, 1, camera.width), indexing="ij")
    return torch.stack([torch.ones_like(u), u, v], dim=-1)
