"""What a scene of posed pictures follows from, as a hash: of files as they are, before anything is rounded."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from train.data.point_files import Points
from worldgen.io.poses import PosedPicture
from worldgen.runs.disk import sha256_of
from worldgen.types import Camera

_VERSION = 1  # raised when the same files come to make another scene
_DECIMALS = 9  # of poses, whose rotations are made exact by a computation


def source_of(pictures: Sequence[PosedPicture], points: Points | None, choices: str) -> str:
    """Hex digest of the pictures' and masks' files, their poses and lenses, and the points, if any are known.

    choices: whatever else decides what becomes of them.
    """
    digest = hashlib.sha256(f"{_VERSION} {choices}".encode())
    for picture in pictures:
        kind = f"{picture.distortion} {picture.held_out} {picture.generated}"
        digest.update(f"{_file(picture.path)} {_file(picture.mask)} {_camera(picture.camera)} {kind}\n".encode())
    if points is not None:
        for tensor in (points.xyz, points.rgb, points.normals):
            digest.update(b"none" if tensor is None else tensor.float().contiguous().numpy())
    return digest.hexdigest()


def _file(path: Path | None) -> str:
    return "none" if path is None else sha256_of(path)


def _camera(camera: Camera) -> str:
    pose = [round(value, _DECIMALS) + 0.0 for value in camera.c2w.flatten().tolist()]  # no -0.0
    return f"{pose} {camera.width} {camera.height} {camera.fx} {camera.fy} {camera.cx} {camera.cy}"
