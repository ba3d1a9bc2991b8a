"""Posed pictures as other tools deliver them: what `transforms_json.py` and `colmap.py` read.

Cameras have OpenCV axes, camera to world, in float64: coordinates on a map are too large for float32. The world keeps
its axes, its origin and its scale.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from worldgen.errors import UserError
from worldgen.io import packed
from worldgen.io.undistort import Distortion
from worldgen.types import Camera

_MOST_LOST = 0.5  # share of the pictures
_EXACT = 1e-4  # a rotation's columns may be so far from orthogonal and of length 1 without a word
_NO_ROTATION = 0.03  # ... and so far, all of one length, with one: three decimals are off by 2e-3

_log = logging.getLogger("worldgen")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class PosedPicture:
    """A picture and the camera that took it.

    name: the file's, as the poses have it; camera: its c2w is float64; distortion: of its lens, None = a pinhole;
    held_out: not for training; generated: the poses say that a network made it; mask: a picture that is black where
    nothing counts, None = everything counts. depth: the file of its depth, if the poses name one.
    """

    name: str
    path: Path
    camera: Camera
    distortion: Distortion | None = None
    held_out: bool = False
    generated: bool = False
    mask: Path | None = None
    depth: Path | None = None


@dataclass(frozen=True, eq=False)
class Pose:
    """c2w: [4, 4] float64, its rotation exact; mended: whether that had to be made so by more than rounding."""

    c2w: Tensor
    mended: bool


def rigid(where: str, c2w: Tensor) -> Pose:
    """A pose [4, 4] of float64 with the nearest exact rotation, whatever the length that its columns share.

    Raises UserError for what is no rotation times a number above 0, and for what is not finite.
    """
    broken = c2w.numel() - int(torch.isfinite(c2w).sum())
    if broken:
        raise UserError(f"{where}: {broken} values of its pose are not finite, wanted none")
    rotation = c2w[:3, :3]
    scale = rotation.norm(dim=0).mean().item()
    gap = (rotation.T @ rotation / max(scale, 1e-300) ** 2 - torch.eye(3, dtype=c2w.dtype)).abs().max().item()
    determinant = torch.linalg.det(rotation).item()
    if not gap <= _NO_ROTATION or determinant <= 0:
        lengths = ", ".join(f"{length:.4g}" for length in rotation.norm(dim=0).tolist())
        raise UserError(
            f"{where}: its pose is no rotation (columns {lengths} long, determinant {determinant:.4g}), wanted "
            "orthogonal columns of one length and a determinant above 0"
        )
    if c2w[3].tolist() != [0, 0, 0, 1]:
        raise UserError(f"{where}: the last row of its pose is {c2w[3].tolist()}, wanted [0, 0, 0, 1]")
    u, _, vh = torch.linalg.svd(rotation)
    exact = c2w.clone()
    exact[:3, :3] = u @ vh
    return Pose(exact, max(gap, abs(scale - 1)) > _EXACT)


def warn_of_mended(where: str, poses: Sequence[Pose]) -> None:
    """One line, if there is anything to say."""
    if mended := sum(pose.mended for pose in poses):
        _log.warning(
            "%s: %d of its %d rotations are scaled or rounded, so the nearest exact ones are taken",
            where,
            mended,
            len(poses),
        )


def expect_lens(where: str, width: float, height: float, fx: float, fy: float, cx: float, cy: float) -> None:
    """Raises UserError unless all of them are above 0."""
    if not all(0 < value < math.inf for value in (width, height, fx, fy, cx, cy)):
        found = ", ".join(f"{value:g}" for value in (width, height, fx, fy, cx, cy))
        raise UserError(f"{where}: w, h, fl_x, fl_y, cx, cy are {found}, wanted all above 0")


def with_picture(where: str, files: Sequence[Path], items: Sequence[T]) -> list[T]:
    """The items whose file is there. One line counts the others; they may be half of all."""
    there = [packed.is_file(file) for file in files]
    lost = [file for file, found in zip(files, there, strict=True) if not found]
    items = [item for item, found in zip(items, there, strict=True) if found]
    leave_out(where, len(lost), len(files), "pictures are not there", str(lost[0]) if lost else "")
    return items


def leave_out(where: str, count: int, whole: int, what: str, first: str) -> None:
    """Tells in one line what is left out, if anything is. Raises UserError where it is more than half, or there was
    nothing."""
    if not whole:
        raise UserError(f"{where}: no frames, wanted some pictures with poses")
    if count > _MOST_LOST * whole:
        raise UserError(f"{where}: {count} of its {whole} {what}, the first is {first}, wanted half of them at least")
    if count:
        _log.warning("%s: %d of its %d %s and are left out, the first is %s", where, count, whole, what, first)
