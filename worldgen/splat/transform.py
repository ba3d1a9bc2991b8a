"""Gaussians in another frame: turned and scaled with all that belongs to them, view-dependent colours too."""

import math
from dataclasses import replace

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from worldgen.splat.harmonics import harmonics_rotation
from worldgen.splat.quaternions import quaternion_product
from worldgen.splat.rasterize import sh_degree
from worldgen.types import Gaussians


def transformed(gaussians: Gaussians, rotation: Tensor, scale: float = 1.0) -> Gaussians:
    """What a point x was is then at scale * rotation @ x, and looks the same from there.

    rotation: [3, 3], proper and orthonormal; scale: above 0. Raises ValueError for spherical harmonics that we do not
    render.
    """
    turn = rotation.to(gaussians.means.device, torch.float64)
    x, y, z, w = Rotation.from_matrix(turn.cpu().numpy()).as_quat()
    return replace(
        gaussians,
        means=(scale * gaussians.means.double() @ turn.T).to(gaussians.means),
        quats=quaternion_product(gaussians.quats.new_tensor([w, x, y, z]), gaussians.quats),
        log_scales=gaussians.log_scales + math.log(scale),
        sh=_turned_harmonics(gaussians.sh, turn, sh_degree(gaussians)),
    )


def _turned_harmonics(sh: Tensor, rotation: Tensor, degree: int) -> Tensor:
    """sh: [N, K, 3]."""
    bands = [
        (harmonics_rotation(rotation, band) @ sh[:, band**2 : (band + 1) ** 2].double()).to(sh)
        for band in range(1, degree + 1)
    ]
    return torch.cat([sh[:, :1], *bands], dim=1)
