"""Points of a scene's world that its pictures see: those that came with it, or else those that the pictures tell."""

import logging
from pathlib import Path

import torch
from torch import Tensor

from train.data.measured_folders import MeasuredFolder, posed_pictures, unpacked
from train.data.posed import colmap_model, read_folder
from train.data.triangulate import can_triangulate, triangulated_points
from worldgen.errors import UserError
from worldgen.io.colmap import read_colmap_points, read_colmap_poses
from worldgen.io.poses import PosedPicture

OWN, BESIDE, TRIANGULATED = "its own points", "the points of COLMAP's model beside", "triangulated points"
_FEWEST_COMMON, _AGREE = 4, 0.02  # poses that two models share, and how far they may be apart, in parts of their spread

_log = logging.getLogger("worldgen")


def scene_points(scene: MeasuredFolder, most_views: int, size: int, cache: Path) -> tuple[str, Tensor] | None:
    """Where they come from, and xyz [N, 3] in the poses' world; None where there are none.

    most_views: pictures to triangulate from, at most, evenly chosen, 0 = none; size: pixels of their shorter side;
    cache: a folder where triangulated points are kept. Raises UserError for files that are no points.
    """
    if scene.pictures_of is posed_pictures:
        own = read_folder(unpacked(scene.folder))[1]
        if own is not None:
            return OWN, own.xyz
    beside = _of_model_beside(scene)
    if beside is not None:
        return BESIDE, beside
    if not most_views or not can_triangulate():
        return None
    views = []
    for picture in scene.pictures[:: -(-len(scene.pictures) // most_views)]:
        try:
            views.append(scene.straightened(picture, size)[1])
        except UserError:  # told where its depth is to be estimated
            continue
    found = triangulated_points(scene.name, views, cache)
    return None if found is None else (TRIANGULATED, found.xyz)


def _of_model_beside(scene: MeasuredFolder) -> Tensor | None:
    """Points [N, 3] of a COLMAP model that lies with a transforms.json, moved as the cameras that both know were."""
    model = colmap_model(scene.home)
    if model is None:
        return None
    found = read_colmap_points(model)
    if found is None or not len(found[0]):
        return None
    move = _between(read_colmap_poses(model), scene.pictures)
    if move is None:
        _log.warning("%s: its cameras stand otherwise than the poses' do, so its points are of no use", model)
        return None
    scale, rotation, offset = move
    return scale * found[0] @ rotation.T + offset


def _between(poses: dict[str, Tensor], pictures: list[PosedPicture]) -> tuple[float, Tensor, Tensor] | None:
    """The similarity (scale, rotation [3, 3], offset [3]) from one world to the pictures', by the poses (c2w [4, 4]) of
    files of one name; None where they are too few, or no similarity of each other."""
    by_stem = {Path(name).stem: c2w for name, c2w in poses.items()}
    common = [picture for picture in pictures if picture.path.stem in by_stem]
    if len(common) < _FEWEST_COMMON:
        return None
    there = torch.stack([by_stem[picture.path.stem] for picture in common])
    here = torch.stack([picture.camera.c2w for picture in common]).double()
    u, _, vh = torch.linalg.svd((here[:, :3, :3] @ there[:, :3, :3].mT).sum(dim=0))
    rotation = u @ torch.diag(u.new_tensor([1, 1, float(torch.linalg.det(u @ vh))])) @ vh
    middle_there, middle_here = there[:, :3, 3].mean(dim=0), here[:, :3, 3].mean(dim=0)
    apart_there, apart_here = (there[:, :3, 3] - middle_there) @ rotation.T, here[:, :3, 3] - middle_here
    spread = float(apart_here.norm(dim=1).median())
    if spread == 0 or float(apart_there.norm()) == 0:
        return None
    scale = float((apart_there * apart_here).sum() / apart_there.square().sum())
    off = float((scale * apart_there - apart_here).norm(dim=1).median())
    if scale <= 0 or off > _AGREE * spread:
        return None
    return scale, rotation, middle_here - scale * rotation @ middle_there
