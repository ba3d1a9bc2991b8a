"""An open-air scene whose distances are known: a meadow under the sky, a brick wall, a white house, a trunk."""

import torch
from torch import Tensor

from worldgen.geometry.equirect import directions
from worldgen.types import Camera, DistanceMap, Panorama, View

GROUND_M = 1.6
SKY_M = 100.0
THINGS = (  # low corner, high corner, colour; y points down, the ground is at y = 1.6
    ((-20.0, -4.0, 8.0), (3.0, 1.6, 14.0), (0.55, 0.25, 0.15)),  # wall in front
    ((-9.0, -6.0, -22.0), (12.0, 1.6, -14.0), (0.85, 0.82, 0.75)),  # house at the back
    ((4.6, -5.0, -0.3), (5.2, 1.6, 0.3), (0.22, 0.13, 0.08)),  # trunk to the right
)


def meadow(height: int, seed: int = 0) -> tuple[Panorama, DistanceMap, Tensor]:
    """What is seen from the origin, the truth, and bool [H, W] where something upright stands."""
    rays = directions(height, 2 * height)
    noise = torch.randn(height, 2 * height, 1, generator=torch.Generator().manual_seed(seed))
    down = rays[..., 1:2]
    rgb = torch.tensor([0.35, 0.55, 0.9]) + (1 + down.clamp(max=0)) * torch.tensor([0.35, 0.25, 0.05])
    ground = GROUND_M / down[..., 0].clamp(min=1e-6)
    on_ground = ground < SKY_M
    rgb = torch.where(on_ground[..., None], torch.tensor([0.3, 0.45, 0.15]) * (1 + 0.15 * noise), rgb)
    distance = torch.where(on_ground, ground, torch.tensor(SKY_M))
    upright = torch.zeros_like(on_ground)
    for low, high, colour in THINGS:
        first, second = torch.tensor(low) / rays, torch.tensor(high) / rays
        near, far = torch.minimum(first, second).amax(-1), torch.maximum(first, second).amin(-1)
        hit = (near < far) & (near > 0) & (near < distance)
        distance = torch.where(hit, near, distance)
        upright |= hit
        rgb = torch.where(hit[..., None], torch.tensor(colour) * (1 + 0.08 * noise), rgb)
    nowhere = torch.zeros_like(on_ground)
    panorama = Panorama(rgb.clamp(0, 1).movedim(-1, 0).contiguous(), nowhere)
    return panorama, DistanceMap(distance, ~on_ground & ~upright), upright


def meadow_view(fov_deg: float = 80.0, width: int = 160, height: int = 120) -> View:
    """A level photo of nothing but sky above ground, blue over noisy green."""
    generator = torch.Generator().manual_seed(0)
    ground = (torch.arange(height) >= height / 2)[:, None].expand(height, width)
    green, blue = torch.tensor([0.2, 0.5, 0.2])[:, None, None], torch.tensor([0.5, 0.7, 0.9])[:, None, None]
    noise = 0.1 * (torch.rand(1, height, width, generator=generator) - 0.5)
    rgb = torch.where(ground, green, blue) + ground * noise
    return View(Camera.from_fov(width, height, fov_deg), rgb, torch.ones(height, width, dtype=torch.bool))
