"""COLMAP's models, text or binary: pictures, poses, lenses and points.

COLMAP's poses go from world to camera, and its pixel centres lie at +0.5 as ours do. pycolmap's own reader is not used:
of files that were cut short it makes up numbers (cameras) or comes to no end (points), of `DJI 001.png` it takes `DJI`,
and where each image has but one line it loses every other one in silence. Here each of these is told in one line.
"""

import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from worldgen.errors import UserError
from worldgen.io import colmap_binary, colmap_text
from worldgen.io.colmap_records import CameraRecord, Damaged, ImageRecord
from worldgen.io.picture_names import PictureFiles
from worldgen.io.poses import PosedPicture, expect_lens, leave_out, with_picture
from worldgen.io.undistort import Distortion
from worldgen.types import Camera

# Of the models that OpenCV can undistort: whether they are fisheyes, and which of its coefficients follow cx and cy.
_LENSES: dict[str, tuple[bool, tuple[int, ...]]] = {
    "SIMPLE_PINHOLE": (False, ()),
    "PINHOLE": (False, ()),
    "SIMPLE_RADIAL": (False, (0,)),
    "RADIAL": (False, (0, 1)),
    "OPENCV": (False, (0, 1, 2, 3)),
    "FULL_OPENCV": (False, tuple(range(8))),
    "SIMPLE_FISHEYE": (True, ()),
    "FISHEYE": (True, ()),
    "SIMPLE_RADIAL_FISHEYE": (True, (0,)),
    "RADIAL_FISHEYE": (True, (0, 1)),
    "OPENCV_FISHEYE": (True, (0, 1, 2, 3)),
}
_ONE_FOCAL = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
_KINDS: dict[str, ModuleType] = {".bin": colmap_binary, ".txt": colmap_text}

T = TypeVar("T")


def is_colmap(folder: Path) -> bool:
    """Whether a folder holds a COLMAP model, text or binary."""
    return _kind(folder) is not None


def read_colmap(folder: Path, images: Path) -> list[PosedPicture]:
    """Pictures of the COLMAP model in `folder`, text or binary, sorted by name. Those without a pose, and those whose
    file is not there, are left out with a line.

    images: the folder that the names begin in. Raises UserError for what is no such model, a lens that OpenCV cannot
    undistort, and where more than half of the pictures would be left out.
    """
    kind = _kind(folder) or ".txt"
    cameras = {one.number: one for one in _read(folder / f"cameras{kind}", _KINDS[kind].read_cameras)}
    images_path = folder / f"images{kind}"
    records = _read(images_path, _KINDS[kind].read_images)
    posed = [record for record in records if _has_pose(record)]
    first = next((record.name for record in records if not _has_pose(record)), "")
    leave_out(str(folder), len(records) - len(posed), len(records), "images have no pose", first)
    there = PictureFiles(images)
    files = [there.find(record.name) for record in posed]
    found = []
    for file, record in with_picture(str(folder), files, list(zip(files, posed, strict=True))):
        if record.camera not in cameras:
            raise UserError(f"{images_path}: {record.name} has camera {record.camera}, wanted one of cameras{kind}")
        lens, distortion = _lens(folder, cameras[record.camera])
        found.append(PosedPicture(record.name, file, Camera(_c2w(record), *lens), distortion))
    return sorted(found, key=lambda picture: picture.name)


def read_colmap_poses(folder: Path) -> dict[str, Tensor]:
    """c2w [4, 4] float64 of the model's images that have a pose, by their names, whether their files are there or not.
    Raises UserError for what is no such file."""
    kind = _kind(folder) or ".txt"
    records = _read(folder / f"images{kind}", _KINDS[kind].read_images)
    return {record.name: _c2w(record) for record in records if _has_pose(record)}


def read_colmap_points(folder: Path) -> tuple[Tensor, Tensor] | None:
    """The points of the COLMAP model in `folder`: [N, 3] float64 in its world, and their colours [N, 3] in [0, 1]; None
    where it has no points3D file of its kind. Raises UserError for what is no such file."""
    kind = _kind(folder) or ".txt"
    path = folder / f"points3D{kind}"
    if not path.is_file():
        return None
    points = _read(path, _KINDS[kind].read_points)
    return torch.from_numpy(points.xyz.copy()), torch.from_numpy(points.rgb.copy()).float() / 255


def _kind(folder: Path) -> str | None:
    there = (kind for kind in _KINDS if all((folder / f"{name}{kind}").is_file() for name in ("cameras", "images")))
    return next(there, None)


def _read(path: Path, reader: Callable[[Path], T]) -> T:
    try:
        return reader(path)
    except Damaged as error:
        raise UserError(f"{path}: damaged or cut short ({error}), wanted the file as COLMAP writes it") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), wanted a file of a COLMAP model") from error


def _has_pose(record: ImageRecord) -> bool:
    numbers = (*record.quaternion, *record.translation)
    return all(map(math.isfinite, numbers)) and any(record.quaternion)


def _c2w(record: ImageRecord) -> Tensor:
    w, x, y, z = record.quaternion
    rotation = torch.from_numpy(Rotation.from_quat([x, y, z, w]).as_matrix().T.copy())
    c2w = torch.eye(4, dtype=torch.float64)
    c2w[:3, :3] = rotation
    c2w[:3, 3] = -rotation @ torch.tensor(record.translation, dtype=torch.float64)
    return c2w


def _lens(folder: Path, camera: CameraRecord) -> tuple[tuple[int, int, float, float, float, float], Distortion | None]:
    """Width, height, fx, fy, cx, cy in pixels; and what the lens does beyond that."""
    where = f"{folder}: camera {camera.number}"
    if camera.model not in _LENSES:
        raise UserError(f"{where}: {camera.model}, wanted one of {', '.join(_LENSES)}")
    one_focal = camera.params[:1] if camera.model in _ONE_FOCAL else ()
    fx, fy, cx, cy, *rest = (*one_focal, *camera.params)
    lens = (camera.width, camera.height, fx, fy, cx, cy)
    expect_lens(where, *lens)
    fisheye, places = _LENSES[camera.model]
    coefficients = [0.0] * (max(places, default=-1) + 1)
    for place, value in zip(places, rest, strict=True):
        coefficients[place] = value
    if not all(map(math.isfinite, coefficients)):
        raise UserError(f"{where}: its distortion is {coefficients}, wanted finite numbers")
    distortion = Distortion(tuple(coefficients), fisheye)
    return lens, None if distortion.is_none else distortion
