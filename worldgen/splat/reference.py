"""The rasteriser written to be read: dense, float64, differentiated by autograd. The tests hold the kernels to it.

Every rule of gsplat 1.5.3 in order: project, whiten, alpha, blend. Costs N x H x W, so keep scenes small.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

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


def rotations(quats: Tensor) -> Tensor:
    """Quaternions wxyz [N, 4] of any length to rotation matrices [N, 3, 3]."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
    ]
    return torch.stack(rows, -2)


def harmonics(directions: Tensor, count: int) -> Tensor:
    """Real spherical harmonics at unit directions [N, 3], signs as in 3DGS: [N, count], count = 1, 4, 9 or 16."""
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    basis = [
        torch.full_like(x, 0.28209479177387814),
        -0.4886025119029199 * y,
        0.4886025119029199 * z,
        -0.4886025119029199 * x,
        1.0925484305920792 * x * y,
        -1.0925484305920792 * y * z,
        0.31539156525252005 * (2 * zz - xx - yy),
        -1.0925484305920792 * x * z,
        0.5462742152960396 * (xx - yy),
        -0.5900435899266435 * y * (3 * xx - yy),
        2.890611442640554 * x * y * z,
        -0.4570457994644658 * y * (4 * zz - xx - yy),
        0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
        -0.4570457994644658 * x * (4 * zz - xx - yy),
        1.445305721320277 * z * (xx - yy),
        -0.5900435899266435 * x * (xx - 3 * yy),
    ]
    return torch.stack(basis[:count], -1)


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
