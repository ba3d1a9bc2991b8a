"""The CUDA rasteriser: gsplat behind the interface of worldgen/splat/rasterize.py."""

import importlib

import torch
from torch import Tensor

from worldgen.errors import UserError
from worldgen.splat.raster_info import RasterInfo
from worldgen.types import Camera, Gaussians


def _gsplat():
    try:
        return importlib.import_module("gsplat")
    except ImportError as error:
        raise UserError(
            f"gsplat: not importable ({error}), wanted for Gaussians on a CUDA device; install worldgen[cuda]"
        ) from error


def rasterize(
    gaussians: Gaussians, camera: Camera, background: Tensor, antialiased: bool, sh_degree: int, info: RasterInfo
) -> tuple[Tensor, Tensor, Tensor]:
    """rgb [3, H, W], alpha [H, W], zdepth [H, W] (alpha-weighted sum), differentiable through gsplat's kernels."""
    device = gaussians.means.device
    images, alphas, meta = _gsplat().rasterization(
        means=gaussians.means,
        quats=gaussians.quats,
        scales=torch.exp(gaussians.log_scales),
        opacities=torch.sigmoid(gaussians.opacity_logits),
        colors=gaussians.sh,
        viewmats=camera.w2c.to(device)[None],
        Ks=camera.intrinsics.to(device)[None],
        width=camera.width,
        height=camera.height,
        near_plane=0.01,
        eps2d=0.3,
        sh_degree=sh_degree,
        packed=False,
        backgrounds=background.to(device)[None],
        render_mode="RGB+D",
        rasterize_mode="antialiased" if antialiased else "classic",
        absgrad=info.absolute,
    )
    centres = meta["means2d"]
    info.rows = (meta["radii"][0] > 0).all(-1).nonzero()[:, 0]
    if centres.requires_grad:
        centres.retain_grad()
        info.fetch = lambda: (centres.absgrad if info.absolute else centres.grad)[0, info.rows]
    return images[0, ..., :3].permute(2, 0, 1), alphas[0, ..., 0], images[0, ..., 3]
