"""A textured box room whose distances are known exactly: the truth for depth, lifting, warps and completion."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from eval.synthetic.boxes import Corner, slabs
from worldgen.geometry.cameras import world_rays
from worldgen.geometry.equirect import directions
from worldgen.recipe.lift import LiftSettings, lift
from worldgen.types import Camera, DistanceMap, Panorama, PointCloud, View


@dataclass(frozen=True)
class BoxRoom:
    """An axis-aligned room round the origin, with axis-aligned pillars in it. Metres; y points down.

    The default holds the 2 m cube: floor 1.6 m below the origin, ceiling 1.5 m above it. The default pillar stands in
    front, to the right, and reaches from the floor to the ceiling.
    """

    low: Corner = (-3.0, -1.5, -4.0)
    high: Corner = (3.5, 1.6, 5.0)
    pillars: tuple[tuple[Corner, Corner], ...] = (((1.4, -1.5, 2.0), (1.9, 1.6, 2.6)),)

    def trace(self, origin: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
        """From origin [3] (inside the room) along unit rays [..., 3]: rgb [..., 3] and distance [...]."""
        distance = slabs(origin, rays, self.low, self.high)[1]
        for low, high in self.pillars:
            near, far = slabs(origin, rays, low, high)
            hit = (near < far) & (near > 0)
            distance = torch.where(hit, torch.minimum(distance, near), distance)
        return texture(origin + rays * distance[..., None]), distance

    def view(self, camera: Camera) -> View:
        """What `camera` sees, with distances along the rays."""
        rgb, distance = self.trace(camera.position, world_rays(camera))
        return View(camera, rgb.movedim(-1, 0).contiguous(), torch.ones_like(distance, dtype=torch.bool), distance)

    def panorama(self, height: int) -> tuple[Panorama, DistanceMap]:
        """What is seen from the origin."""
        rgb, distance = self.trace(torch.zeros(3), directions(height, 2 * height))
        nowhere = torch.zeros_like(distance, dtype=torch.bool)
        return Panorama(rgb.movedim(-1, 0).contiguous(), nowhere), DistanceMap(distance, nowhere)

    def surface_gap(self, xyz: Tensor) -> Tensor:
        """How far points [..., 3] lie from the nearest surface of the room or a pillar, metres [...]."""
        gaps = [_box_gap(xyz, low, high) for low, high in ((self.low, self.high), *self.pillars)]
        return torch.stack(gaps).amin(0)


@lru_cache
def room_cloud(height: int, room: BoxRoom = BoxRoom()) -> PointCloud:
    """A room, lifted from a panorama of that height. Shared: do not write to it."""
    panorama, distances = room.panorama(height)
    return lift(panorama.rgb, distances, LiftSettings())


def specks(count: int, seed: int) -> PointCloud:
    """All round the origin and in it, of any size, seen from any side: behind the camera, beyond the picture, huge."""
    generator = torch.Generator().manual_seed(seed)
    xyz = 1.5 * torch.randn(count, 3, generator=generator)
    normals = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    spacing = 0.5 * torch.rand(count, generator=generator) ** 4
    return PointCloud(xyz, torch.rand(count, 3, generator=generator), normals, spacing)


def texture(xyz: Tensor) -> Tensor:
    """A smooth colour in [0, 1] of points [..., 3]: waves of 0.9 m and 0.35 m, different along each axis."""
    phase = xyz @ torch.tensor([[1.0, 0.3, 0.2], [-0.2, 1.0, 0.3], [0.3, -0.2, 1.0]])
    coarse = torch.sin(phase * (2 * math.pi / 0.9))
    fine = torch.sin(phase.roll(1, -1) * (2 * math.pi / 0.35))
    return 0.5 + 0.25 * coarse + 0.2 * fine


def _box_gap(xyz: Tensor, low: Corner, high: Corner) -> Tensor:
    """Distance of points to the surface of a box, from either side."""
    middle = (torch.tensor(low) + torch.tensor(high)) / 2
    beyond = (xyz - middle).abs() - (torch.tensor(high) - torch.tensor(low)) / 2
    outside = beyond.clamp(min=0).norm(dim=-1)
    inside = (-beyond.amax(-1)).clamp(min=0)
    return outside + inside
