"""Pairs of posed pictures (`worldgen/io/poses.py`) that show much of the same from two places."""

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.io.poses import PosedPicture


def nearby_pairs(
    pictures: list[PosedPicture],
    min_distance_m: float = 0.1,
    max_distance_m: float = 1.0,
    max_angle_deg: float = 45.0,
    count: int | None = None,
) -> list[tuple[PosedPicture, PosedPicture]]:
    """Pairs (A, B) of a picture and the nearest one that shows much of the same from another place [? the paper].

    The distance is between the cameras, the angle between where they look. Ties go to the first name. count: that many
    pairs, spread evenly over the sequence; None = all. Where there are held-out pictures, B is one of them.
    """
    if len(pictures) < 2:
        return []
    places = torch.stack([picture.camera.position.double() for picture in pictures])
    ahead = F.normalize(torch.stack([picture.camera.c2w[:3, 2].double() for picture in pictures]), dim=1)
    distance = torch.cdist(places, places)
    angle = torch.rad2deg(torch.acos((ahead @ ahead.T).clamp(-1, 1)))
    fits = (distance >= min_distance_m) & (distance <= max_distance_m) & (angle <= max_angle_deg)
    held_out = torch.tensor([picture.held_out for picture in pictures])
    if held_out.any():
        fits &= held_out[None, :] & ~held_out[:, None]
    nearest = distance.masked_fill(~fits, float("inf")).argmin(dim=1)
    pairs = [(pictures[a], pictures[int(nearest[a])]) for a in range(len(pictures)) if fits[a].any()]
    if count is None or count >= len(pairs):
        return pairs
    return [pairs[int((index + 0.5) * len(pairs) / count)] for index in range(count)]


def a_to_b(pair: tuple[PosedPicture, PosedPicture]) -> Tensor:
    """[4, 4]: from A's camera coordinates to B's, metres."""
    first, second = pair
    return second.camera.w2c @ first.camera.c2w
