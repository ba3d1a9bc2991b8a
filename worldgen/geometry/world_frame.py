"""Scenes of any size, anywhere: moved and scaled so that float32, and lengths that suit a room, suit them too."""

from dataclasses import replace

import numpy as np
from torch import Tensor

from worldgen.types import Camera, Gaussians, WorldFrame

_POINTS_AT = 10.0  # points lie at most this far at their median, where the cameras stand closer together than that
_ONE_PLACE = 1e-9  # cameras that are apart by less than this part of their coordinates stand at one place


def frame_of(positions: Tensor, xyz: Tensor | None = None) -> WorldFrame:
    """The frame whose origin lies amid the cameras, and whose unit is their median distance from it.

    positions: [N, 3] float64, of the cameras; xyz: [M, 3] float64, points. Cameras at one place, or nearly so, tell no
    length: a tenth of the points' median distance is the unit where it is more, and 1 is where there are no points.
    Medians, so that no outlier decides.
    """
    places = positions.cpu().numpy()
    middle = np.median(places, axis=0)
    away = np.linalg.norm(places - middle, axis=1)
    apart = away[away > _ONE_PLACE * max(np.abs(places).max(), np.finfo(float).tiny)]
    unit = float(np.median(apart)) if len(apart) else 0.0
    if xyz is not None and len(xyz):
        unit = max(unit, float(np.median(np.linalg.norm(xyz.cpu().numpy() - middle, axis=1))) / _POINTS_AT)
    x, y, z = middle.tolist()
    return WorldFrame((x, y, z), unit or 1.0)


def points_into(frame: WorldFrame, xyz: Tensor) -> Tensor:
    """[N, 3] float64 of the files' world to float32 of the frame."""
    xyz = xyz.double()
    return ((xyz - xyz.new_tensor(frame.offset)) / frame.scale).float()


def camera_into(frame: WorldFrame, camera: Camera) -> Camera:
    """A camera of the files' world, float64, as one of the frame, float32."""
    c2w = camera.c2w.float()
    c2w[:3, 3] = points_into(frame, camera.c2w[None, :3, 3])[0]
    return replace(camera, c2w=c2w)


def gaussians_out_of(frame: WorldFrame, gaussians: Gaussians) -> Gaussians:
    """Gaussians of the frame in the files' world, as far as float32 holds them; detached."""
    means = gaussians.means.detach().double()
    means = (means * frame.scale + means.new_tensor(frame.offset)).float()
    log_scales = gaussians.log_scales.detach() + float(np.log(frame.scale))
    return replace(gaussians, means=means, log_scales=log_scales)
