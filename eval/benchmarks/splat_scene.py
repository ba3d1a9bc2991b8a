"""What the benchmarks of the optimisation render: Gaussians all round the viewer, and a picture to fit them to."""

import math
from typing import Any

import torch
from torch import Tensor

from worldgen.types import Camera, Gaussians

RATES = {"means": 1e-4, "quats": 1e-3, "log_scales": 1e-3, "opacity_logits": 1e-2, "sh": 1e-3}
"""Of Adam, small enough that the scene stays what it is while it is timed."""


def panorama_scene(count: int, seed: int = 0, sh_degree: int = 1) -> Gaussians:
    """Gaussians on the walls of a 6 x 3 x 8 m room seen from inside, about as large as their spacing; an eighth of
    them float nearer."""
    random = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=random), dim=-1)
    distance = (torch.tensor([3.0, 1.5, 4.0]) / directions.abs().clamp(min=1e-6)).amin(dim=1)
    floating = torch.rand(count, generator=random) < 0.125
    distance = torch.where(floating, distance * (0.4 + 0.5 * torch.rand(count, generator=random)), distance)
    spacing = distance * math.sqrt(4 * math.pi / count)
    spread = 0.35 * torch.randn(count, 3, generator=random) + math.log(0.5)
    return Gaussians(
        means=directions * distance[:, None],
        quats=torch.randn(count, 4, generator=random),
        log_scales=torch.log(spacing)[:, None] + spread - torch.tensor([0.0, 0.0, 1.0]),
        opacity_logits=1.5 * torch.randn(count, generator=random),
        sh=torch.randn(count, (sh_degree + 1) ** 2, 3, generator=random) * 0.3,
    )


def leaves(gaussians: Gaussians, device: str = "cpu") -> Gaussians:
    """The same as parameters of their own."""
    tensors: dict[str, Any] = {
        name: t.to(device, copy=True).requires_grad_() for name, t in gaussians.tensors().items()
    }
    return Gaussians(**tensors)


def grey_target(camera: Camera, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """A noisy grey picture [3, H, W], and weights [H, W] of 1."""
    shape = (camera.height, camera.width)
    noise = torch.rand(3, *shape, generator=torch.Generator().manual_seed(2))
    return (0.25 + 0.5 * noise).to(device), torch.ones(shape, device=device)
