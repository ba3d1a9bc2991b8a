"""Which world the points beside a transforms.json speak of, where its poses were moved (`applied_transform`).

nerfstudio says that `applied_transform`, then `applied_scale`, were applied to the original world to make the poses'.
Its current `ns-process-data` applies them to the points as well; files of its earlier ones hold the original points,
and its loader of that time moved them. So both are looked at: points have the colours of the pictures that show them.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from train.data.point_files import Points
from worldgen.geometry.cameras import project
from worldgen.io.packed import opened
from worldgen.io.photo import picture_errors, to_srgb
from worldgen.io.poses import PosedPicture
from worldgen.io.transforms_json import Transforms

_PICTURES, _POINTS, _SIDE_PX = 12, 2000, 256  # looked at
_CLEARLY = 0.8  # of the other's mean difference in colour

_log = logging.getLogger("worldgen")


def in_the_poses_world(points: Points, transforms: Transforms) -> Points:
    """The points as they are, or moved as the poses were where only that agrees with the pictures, which a line tells.

    points: float64.
    """
    if transforms.applied is None:
        return points
    moved = replace(points, xyz=points.xyz @ transforms.applied[:3, :3].T + transforms.applied[:3, 3])
    pictures = transforms.pictures[:: -(-len(transforms.pictures) // _PICTURES)]
    if _difference(moved, pictures) >= _CLEARLY * _difference(points, pictures):
        return points
    _log.warning("%s: its points are moved by applied_transform, as the poses are: only so do they agree", points.where)
    if points.normals is not None:
        turned = points.normals.double() @ transforms.applied[:3, :3].T
        moved = replace(moved, normals=turned.float())
    return moved


def _difference(points: Points, pictures: Sequence[PosedPicture]) -> float:
    """Mean, over some points, of how far their colours are from the pictures' where they lie; 1 for what none shows."""
    chosen = slice(None, None, -(-len(points.xyz) // _POINTS))
    xyz, rgb = points.xyz[chosen], points.rgb[chosen]
    total, seen = torch.zeros(len(xyz)), torch.zeros(len(xyz))
    for picture in pictures:
        pixels, zdepth = project(picture.camera, xyz)
        share = pixels / torch.tensor([picture.camera.width, picture.camera.height])
        inside = (zdepth > 0) & (share >= 0).all(dim=1) & (share < 1).all(dim=1)
        small = _small(picture)
        column, row = (share[inside] * torch.tensor(small.shape[1::-1])).long().unbind(-1)
        total[inside] += (small[row, column] - rgb[inside]).abs().mean(dim=1)
        seen[inside] += 1
    return torch.where(seen > 0, total / seen.clamp(min=1), 1.0).mean().item()


def _small(picture: PosedPicture) -> Tensor:
    """[H, W, 3]."""
    with picture_errors(picture.path), opened(picture.path) as content, Image.open(content) as image:
        small = to_srgb(image)
        small.thumbnail((_SIDE_PX, _SIDE_PX), Image.Resampling.BOX)
    return torch.from_numpy(np.array(small)).float() / 255
