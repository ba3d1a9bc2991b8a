"""The rasteriser written to be read: dense, float64, differentiated by autograd, on any device.

Every rule of gsplat 1.5.3 in order: project, whiten, alpha, blend. Costs N x H x W, so keep scenes small. Nothing
renders with it: it is what the tests hold the kernels and gsplat to.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldgen.splat.harmonics import harmonics
from worldgen.splat.quaternions import rotations
from worldgen.types import Camera, Gaussians

NEAR = 0.01
BLUR = 0.3
MIN_ALPHA, MAX_ALPHA = 1 / 255, 0.999
MIN_TRANSMITTANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Splats:
    """Gaussians on the image, nearest first. centre [M, 2] pixels; covariance [M, 2, 2] with the blur; opacity [M];
    rgb [M, 3]; zdepth [M]."""

    centre: Tensor
    covariance: Tensor
    opacity: Tensor
    rgb: Tensor
    zdepth: Tensor


def _slope(along: Tensor, z: Tensor, focal: float, centre: float, size: int) -> Tensor:
    margin = 0.3 * 0.5 * size / focal
    return torch.clamp(along / z, -(centre / focal + margin), (size - centre) / focal + margin)


def project(gaussians: Gaussians, camera: Camera, antialiased: bool) -> Splats:
    """EWA projection of all finite Gaussians before the near plane, sorted by z-depth."""
    g = Gaussians(*(tensor.double() for tensor in gaussians.tensors().values()))
    c2w = camera.c2w.double().to(g.means.device)
    finite = torch.stack([tensor.flatten(1).isfinite().all(1) for tensor in map(_columns, g.tensors().values())]).all(0)
    offset = g.means - c2w[:3, 3]
    zdepth = offset @ c2w[:3, 2]
    keep = torch.nonzero(finite & (zdepth >= NEAR))[:, 0]
    keep = keep[torch.argsort(zdepth[keep], stable=True)]
    g = Gaussians(*(tensor[keep] for tensor in g.tensors().values()))
    offset = offset[keep]

    x, y, z = (offset @ c2w[:3, :3]).unbind(-1)
    slope_x = _slope(x, z, camera.fx, camera.cx, camera.width)
    slope_y = _slope(y, z, camera.fy, camera.cy, camera.height)
    zero = torch.zeros_like(z)
    jacobian_x = torch.stack([camera.fx / z, zero, -camera.fx * slope_x / z], -1)
    jacobian_y = torch.stack([zero, camera.fy / z, -camera.fy * slope_y / z], -1)
    jacobian = torch.stack([jacobian_x, jacobian_y], -2)
    root = jacobian @ c2w[:3, :3].T @ rotations(g.quats) * torch.exp(g.log_scales)[:, None, :]
    sharp = root @ root.mT
    covariance = sharp + BLUR * torch.eye(2, dtype=torch.float64, device=sharp.device)

    opacity = torch.sigmoid(g.opacity_logits)
    if antialiased:
        opacity = opacity * torch.sqrt(torch.clamp(sharp.det() / covariance.det(), min=0))
    basis = harmonics(torch.nn.functional.normalize(offset, dim=-1), g.sh.shape[1])
    return Splats(
        centre=torch.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], -1),
        covariance=covariance,
        opacity=opacity,
        rgb=torch.clamp(0.5 + (basis[..., None] * g.sh).sum(1), min=0),
        zdepth=z,
    )


def _columns(tensor: Tensor) -> Tensor:
    return tensor[:, None] if tensor.dim() == 1 else tensor


def alphas(splats: Splats, camera: Camera) -> Tensor:
    """Opacity times falloff at every pixel, before any threshold: [M, H, W]."""
    x, y = (torch.arange(size, device=splats.centre.device) + 0.5 for size in (camera.width, camera.height))
    pixels = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).double()
    offset = pixels - splats.centre[:, None, None]
    inverse = torch.linalg.inv(splats.covariance)
    squared_sigmas = torch.einsum("mhwi,mij,mhwj->mhw", offset, inverse, offset)
    return splats.opacity[:, None, None] * torch.exp(-0.5 * squared_sigmas)


def weights(alpha: Tensor) -> Tensor:
    """What each splat contributes to each pixel, [M, H, W], nearest first; thresholds as in gsplat."""
    alpha = torch.where(alpha < MIN_ALPHA, 0.0, torch.clamp(alpha, max=MAX_ALPHA))
    with torch.no_grad():
        drawn = torch.cumprod(1 - alpha, 0) > MIN_TRANSMITTANCE
    alpha = torch.where(drawn, alpha, 0.0)
    light = torch.cumprod(torch.cat([torch.ones_like(alpha[:1]), 1 - alpha]), 0)
    return alpha * light[:-1]


def rasterize(
    gaussians: Gaussians, camera: Camera, background: Tensor, antialiased: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """rgb [3, H, W], alpha [H, W], zdepth [H, W] (alpha-weighted sum), all float64."""
    return composite(project(gaussians, camera, antialiased), camera, background)


def composite(splats: Splats, camera: Camera, background: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What `rasterize` returns, rgb [3, H, W], alpha and zdepth [H, W], of splats that are projected already."""
    weight = weights(alphas(splats, camera))
    alpha = weight.sum(0)
    rgb = torch.einsum("mhw,mc->chw", weight, splats.rgb) + (1 - alpha) * background.double()[:, None, None]
    return rgb, alpha, torch.einsum("mhw,m->hw", weight, splats.zdepth)
