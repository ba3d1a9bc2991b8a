"""Renders 3D Gaussians, differentiably: numba on the CPU, gsplat on CUDA, one interface and one set of rules.

The rules are those of gsplat 1.5.3; worldgen/splat/reference.py states them in forty lines of torch.
"""

from dataclasses import dataclass
from functools import partial
from math import isqrt
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from worldgen.splat import cuda
from worldgen.splat.kernels import raster
from worldgen.splat.raster_info import RasterInfo
from worldgen.types import Camera, Gaussians

MAX_SH_DEGREE = 3
KERNELS = "1"  # to be raised with every change of a picture: scores of renders in the cache are then computed anew


@dataclass(frozen=True, eq=False)
class Render:
    """rgb: [3, H, W], may exceed 1; alpha: [H, W] in [0, 1]; zdepth: [H, W], the alpha-weighted *sum* of metres
    (divide by alpha for a depth); info: which Gaussians, and after backward the gradients of their centres."""

    rgb: Tensor
    alpha: Tensor
    zdepth: Tensor
    info: RasterInfo


def sh_degree(gaussians: Gaussians) -> int:
    """Degree of the spherical harmonics; ValueError where their number fits none that we render."""
    count = gaussians.sh.shape[1]
    degree = isqrt(count) - 1
    if (degree + 1) ** 2 != count or not 0 <= degree <= MAX_SH_DEGREE:
        raise ValueError(f"Gaussians.sh: {count} coefficients, wanted 1, 4, 9 or 16")
    return degree


class _CpuRasterizer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, camera: Camera, antialiased: bool, background: Tensor, info: RasterInfo, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        *images, state = raster.rasterize(Gaussians(*tensors), camera, background, antialiased)
        rows, ctx.shows = raster.visible_rows(state)
        info.rows = torch.from_numpy(rows)
        ctx.save_for_backward(*images, *tensors)
        ctx.state, ctx.info = state, info
        ctx.set_materialize_grads(False)
        return tuple(images)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *v_images: Tensor | None) -> tuple[Tensor | None, ...]:
        images, tensors = ctx.saved_tensors[:3], ctx.saved_tensors[3:]
        gradients, v_centres = raster.rasterize_backward(
            Gaussians(*tensors), ctx.state, images, v_images, ctx.info.absolute
        )
        ctx.info.fetch = partial(torch.from_numpy, v_centres[ctx.shows])
        return None, None, None, None, *gradients.values()


def rasterize(
    gaussians: Gaussians,
    camera: Camera,
    background: Tensor | None = None,
    antialiased: bool | None = None,
    absgrad: bool = False,
) -> Render:
    """Renders what `camera` sees, with gradients for every tensor of `gaussians` that asks for one.

    background: [3] in [0, 1], black if None; a constant, it gets no gradient. antialiased: scale each opacity down by
    what the 0.3 px^2 blur adds to the splat's area (Mip-Splatting), so that small splats do not swell from afar; None =
    as the Gaussians were fitted. absgrad: the centres' gradients are summed up over pixels without their signs (AbsGS),
    so that what pulls a splat to both sides at once counts; for density control.
    Gaussians with a value that is not finite or a quaternion of zeros are not drawn (on CUDA that is gsplat's affair).
    Raises ValueError for spherical harmonics beyond degree 3, UserError for CUDA tensors without gsplat.
    """
    degree = sh_degree(gaussians)
    antialiased = gaussians.antialiased if antialiased is None else antialiased
    background = gaussians.means.new_zeros(3) if background is None else background
    info = RasterInfo(absgrad)
    if gaussians.means.is_cuda:
        rgb, alpha, zdepth = cuda.rasterize(gaussians, camera, background, antialiased, degree, info)
        return Render(rgb, alpha, zdepth, info)
    tensors = [tensor.to(torch.float32).contiguous() for tensor in gaussians.tensors().values()]
    background = background.detach().to(torch.float32).contiguous()
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        rgb, alpha, zdepth = _CpuRasterizer.apply(camera, antialiased, background, info, *tensors)
        return Render(rgb, alpha, zdepth, info)
    rgb, alpha, zdepth, state = raster.rasterize(Gaussians(*tensors), camera, background, antialiased)
    info.rows = torch.from_numpy(raster.visible_rows(state)[0])
    return Render(rgb, alpha, zdepth, info)
