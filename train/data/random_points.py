"""Points where nobody knows any: drawn at random where several of the cameras look."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from train.data.point_files import Points
from train.data.start_cloud import inside
from worldgen.types import Camera

_NEAR, _FAR = 0.25, 10.0  # depth of random points, relative to the distance to where the cameras look
_SEEN_BY, _SEEN_BY_AT_LEAST = 0.1, 3  # of the cameras, random points
_ROUNDS = 20  # of drawing them
_ENOUGH_LEFT = 0.1  # of those that are wanted
_PARALLEL = 1e-3  # smallest eigenvalue, a camera, of what fixes the point that the axes come nearest to
_GREY = 0.5


def random_points(where: str, cameras: Sequence[Camera], count: int, seed: int) -> Points:
    """Grey points where several cameras look: evenly over their pixels, and over the logarithm of the depth.

    Nobody knows how far away things are: the depths reach from a quarter of the distance to where the cameras look to
    ten times that. Of those only what `_SEEN_BY` of the cameras, three at least, see is kept: what fewer see can show
    each of them whatever it likes, as a fog of its own in front of it. Where hardly any is left, all are taken.
    """
    generator = torch.Generator().manual_seed(seed)
    lens = torch.tensor([[c.width, c.height, c.fx, c.fy, c.cx, c.cy] for c in cameras], dtype=torch.float32)
    c2w = torch.stack([camera.c2w for camera in cameras])
    focus = focus_distance(cameras)
    enough = min(len(cameras), max(_SEEN_BY_AT_LEAST, math.ceil(_SEEN_BY * len(cameras))))
    kept: list[Tensor] = []
    for _ in range(_ROUNDS):
        which = torch.randint(len(cameras), (count,), generator=generator)
        across, down, away = torch.rand(3, count, generator=generator)
        width, height, fx, fy, cx, cy = lens[which].unbind(-1)
        zdepth = focus * _NEAR * (_FAR / _NEAR) ** away
        rays = torch.stack([(across * width - cx) / fx, (down * height - cy) / fy, torch.ones(count)], dim=-1)
        local = (rays * zdepth[:, None])[..., None]
        xyz = c2w[which, :3, 3] + (c2w[which, :3, :3] @ local)[..., 0]
        kept.append(xyz[_views_of(xyz, cameras) >= enough])
        if sum(map(len, kept)) >= count:
            break
    found = torch.cat(kept)[:count]
    if len(found) < _ENOUGH_LEFT * count:
        found = xyz
    return Points(where, found, torch.full_like(found, _GREY))


def focus_distance(cameras: Sequence[Camera]) -> float:
    """How far from the cameras, in the median, lies the point that their optical axes come nearest to.

    Where that is behind them, as when they look outwards, or the axes are parallel: how far apart they are. Above 0.
    """
    places = torch.stack([camera.position for camera in cameras]).double()
    axes = torch.stack([camera.c2w[:3, 2] for camera in cameras]).double()
    spread = (places - places.mean(dim=0)).norm(dim=1).max().item() or 1.0
    across = torch.eye(3, dtype=torch.float64) - axes[:, :, None] * axes[:, None, :]  # what is not along the axis
    total = across.sum(dim=0)
    if torch.linalg.eigvalsh(total)[0] < _PARALLEL * len(cameras):
        return spread
    focus = torch.linalg.solve(total, (across @ places[..., None]).sum(dim=0)[:, 0])
    ahead = ((focus - places) * axes).sum(dim=1).median().item()
    return ahead if ahead > 0 else spread


def _views_of(xyz: Tensor, cameras: Sequence[Camera]) -> Tensor:
    """[N], how many cameras have each point [N, 3] in their pictures."""
    return sum((inside(camera, xyz) for camera in cameras), torch.zeros(len(xyz), dtype=torch.int64))
