"""A room of boxes whose distances are known exactly: where rays hit its walls and the boxes that stand in it."""

from dataclasses import dataclass

import torch
from torch import Tensor

Corner = tuple[float, float, float]


@dataclass(frozen=True)
class Boxes:
    """An axis-aligned room round the origin, `low` to `high`, and boxes (low, high) in it. Metres; y points down."""

    low: Corner
    high: Corner
    inside: tuple[tuple[Corner, Corner], ...] = ()

    def hit(self, origin: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
        """From origin [3], in the room's air, along unit rays [..., 3]: distance [...] and what is hit, int64 [...].

        0 is the room itself, 1 the first box in it, and so on.
        """
        distance = slabs(origin, rays, self.low, self.high)[1]
        found = torch.zeros_like(distance, dtype=torch.int64)
        for index, (low, high) in enumerate(self.inside, start=1):
            near, far = slabs(origin, rays, low, high)
            nearer = (near < far) & (near > 0) & (near < distance)
            distance = torch.where(nearer, near, distance)
            found.masked_fill_(nearer, index)
        return distance, found

    def clearance(self, xyz: Tensor) -> Tensor:
        """How far points [..., 3] lie from the nearest surface, metres [...]; negative in a wall or in a box."""
        low, high = torch.tensor(self.low), torch.tensor(self.high)
        gap = torch.minimum(xyz - low, high - xyz).amin(-1)
        for one_low, one_high in self.inside:
            beyond = torch.maximum(torch.tensor(one_low) - xyz, xyz - torch.tensor(one_high))
            outside = beyond.clamp(min=0).norm(dim=-1) + beyond.amax(-1).clamp(max=0)
            gap = torch.minimum(gap, outside)
        return gap


def slabs(origin: Tensor, rays: Tensor, low: Corner, high: Corner) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave a box, in metres along them; they miss it where enter >= leave."""
    enter = torch.full(rays.shape[:-1], -torch.inf)
    leave = torch.full(rays.shape[:-1], torch.inf)
    for axis in range(3):
        along = rays[..., axis]
        inverse = 1 / torch.where(along.abs() < 1e-9, torch.full_like(along, 1e-9), along)
        first, second = (low[axis] - origin[axis]) * inverse, (high[axis] - origin[axis]) * inverse
        enter = torch.maximum(enter, torch.minimum(first, second))
        leave = torch.minimum(leave, torch.maximum(first, second))
    return enter, leave
