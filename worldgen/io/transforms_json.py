"""nerfstudio's, instant-ngp's and Blender's transforms.json: pictures, poses and lenses.

Cameras there have OpenGL axes (x right, y up, z backward). Keys are those that nerfstudio's and instant-ngp's loaders
read (https://docs.nerf.studio/quickstart/data_conventions.html); what a frame says goes before what the file says.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from worldgen.errors import UserError
from worldgen.io import packed
from worldgen.io.picture_names import PictureFiles
from worldgen.io.poses import PosedPicture, expect_lens, leave_out, rigid, warn_of_mended, with_picture
from worldgen.io.undistort import Distortion
from worldgen.types import Camera

_PERSPECTIVE = ("PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "PERSPECTIVE")
_FISHEYE = ("OPENCV_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "FISHEYE")
_COEFFICIENTS = ("k1", "k2", "k3", "k4", "p1", "p2")  # in the order of `distortion_params`
_SPLITS = ("train", "val", "test")

Frame = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Transforms:
    """pictures: sorted by name. points: the .ply that the file names, if any. applied: [4, 4] float64, what was done to
    the original world to make the poses' (`applied_transform`, then `applied_scale`), None = nothing."""

    pictures: list[PosedPicture]
    points: Path | None
    applied: Tensor | None


def read_transforms(path: Path, images: Path) -> Transforms:
    """What a transforms.json tells; `test_frames`, `val_filenames`, `test_filenames` are held out.

    images: the folder that the frames' paths begin in. Sizes that are not told are the pictures' own, focal lengths may
    be told as angles, one of them counts for both axes, principal points that are not told lie in the middle. Frames
    without a pose, and those without their picture, are left out with a line. Raises UserError for what is no such
    file, a camera that is neither perspective nor fisheye, a pose that is no rotation, and where more than half of the
    frames would be left out.
    """
    try:
        with packed.opened(path) as file:
            content = json.loads(file.read().decode("utf-8-sig"))
        frames = [(frame, False) for frame in content["frames"]]
        frames += [(frame, True) for frame in content.get("test_frames", [])]
        split = _split(path, [frame["file_path"] for frame, _ in frames], content)
        chosen = [(frame, split(frame) or apart) for frame, apart in frames if apart or split(frame) is not None]
        pictures = _read_frames(path, images, chosen, content)
        return Transforms(pictures, _points(path, content), _applied(path, content))
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ArithmeticError) as error:
        told = f"{error} is missing" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        raise UserError(f"{path}: not a transforms.json as nerfstudio writes it ({told})") from error


def _split(path: Path, names: Sequence[str], content: Frame) -> Callable[[Frame], bool | None]:
    """Whether a frame is held out by nerfstudio's lists: True for `val_filenames` and `test_filenames`; where there are
    `train_filenames`, None (left out) for what is in no list."""
    listed = {kind: {_plain(name) for name in content.get(f"{kind}_filenames") or ()} for kind in _SPLITS}
    for kind, wanted in listed.items():
        if lost := wanted.difference(map(_plain, names)):
            raise UserError(
                f"{path}: {kind}_filenames has {min(lost)}, which is no frame's file_path, wanted only those"
            )
    apart = listed["val"] | listed["test"]

    def held_out(frame: Frame) -> bool | None:
        name = _plain(frame["file_path"])
        if name in apart:
            return True
        return False if not listed["train"] or name in listed["train"] else None

    return held_out


def _plain(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))


def _read_frames(path: Path, images: Path, frames: Sequence[tuple[Frame, bool]], shared: Frame) -> list[PosedPicture]:
    """frames: each with whether it is held out."""
    there = PictureFiles(images)
    posed = [(frame, apart) for frame, apart in frames if frame.get("transform_matrix") is not None]
    lost = next((frame["file_path"] for frame, _ in frames if frame.get("transform_matrix") is None), "")
    leave_out(str(path), len(frames) - len(posed), len(frames), "frames have no transform_matrix", lost)
    files = [there.find(frame["file_path"]) for frame, _ in posed]
    found = []
    for file, (frame, apart) in with_picture(str(path), files, list(zip(files, posed, strict=True))):
        where = f"{path}: frame {frame['file_path']}"
        lens, distortion = _lens(where, frame, shared, file), _distortion(where, frame, shared)
        mask = there.find(frame["mask_path"]) if frame.get("mask_path") else None
        if mask is not None and not packed.is_file(mask):
            raise UserError(f"{where}: its mask {mask} is not there, wanted a picture")
        depth = there.find(frame["depth_file_path"]) if frame.get("depth_file_path") else None
        pose = rigid(where, _c2w(where, frame))
        camera = Camera(pose.c2w, *lens)
        generated = frame.get("generated") is True
        found.append((pose, PosedPicture(frame["file_path"], file, camera, distortion, apart, generated, mask, depth)))
    warn_of_mended(str(path), [pose for pose, _ in found])
    return sorted((picture for _, picture in found), key=lambda picture: picture.name)


def _c2w(where: str, frame: Frame) -> Tensor:
    """[4, 4], with OpenCV axes."""
    found = torch.tensor(frame["transform_matrix"], dtype=torch.float64)
    if found.shape == (3, 4):
        found = torch.cat([found, torch.tensor([[0.0, 0, 0, 1]], dtype=torch.float64)])
    if found.shape != (4, 4):
        raise UserError(f"{where}: a transform_matrix of {'x'.join(map(str, found.shape))}, wanted 4x4")
    found[:3, 1:3] *= -1
    return found


def _told(frame: Frame, shared: Frame, name: str) -> float | None:
    value = frame.get(name, shared.get(name))
    return None if value is None else float(value)


def _lens(where: str, frame: Frame, shared: Frame, file: Path) -> tuple[int, int, float, float, float, float]:
    """Width, height, fx, fy, cx, cy in pixels."""
    width, height = _told(frame, shared, "w"), _told(frame, shared, "h")
    if width is None or height is None:
        width, height = _size_of(file)
    fx, fy = _focal(frame, shared, "x", width), _focal(frame, shared, "y", height)
    fx, fy = fy if fx is None else fx, fx if fy is None else fy
    cx, cy = _told(frame, shared, "cx"), _told(frame, shared, "cy")
    lens = width, height, fx or 0.0, fy or 0.0, width / 2 if cx is None else cx, height / 2 if cy is None else cy
    expect_lens(where, *lens)
    return int(width), int(height), *lens[2:]


def _focal(frame: Frame, shared: Frame, axis: str, side: float) -> float | None:
    """In pixels, by whichever key tells it: fl_x, camera_angle_x (radians) or x_fov (degrees), and likewise for y."""
    if (focal := _told(frame, shared, f"fl_{axis}")) is not None:
        return focal
    angle = _told(frame, shared, f"camera_angle_{axis}")
    if angle is None and (degrees := _told(frame, shared, f"{axis}_fov")) is not None:
        angle = math.radians(degrees)
    return None if angle is None else side / (2 * math.tan(angle / 2))


def _distortion(where: str, frame: Frame, shared: Frame) -> Distortion | None:
    model = frame.get("camera_model", shared.get("camera_model"))
    fisheye = model in _FISHEYE or (model is None and bool(frame.get("is_fisheye", shared.get("is_fisheye"))))
    if not fisheye and model is not None and model not in _PERSPECTIVE:
        raise UserError(
            f"{where}: camera_model {model}, wanted one of {', '.join(_PERSPECTIVE[:5] + _FISHEYE[:3])}; panoramas "
            "must be cut into such views first"
        )
    source = frame if "distortion_params" in frame or any(key in frame for key in _COEFFICIENTS) else shared
    if "distortion_params" in source:
        values = [float(value) for value in source["distortion_params"]]
        if len(values) != len(_COEFFICIENTS):
            wanted = ", ".join(_COEFFICIENTS)
            raise UserError(f"{where}: {len(values)} distortion_params, wanted {len(_COEFFICIENTS)}: {wanted}")
    else:
        values = [float(source.get(key) or 0.0) for key in _COEFFICIENTS]
    if not all(map(math.isfinite, values)):
        raise UserError(f"{where}: its distortion is {values}, wanted finite numbers")
    k1, k2, k3, k4, p1, p2 = values
    if fisheye and (p1 or p2):
        raise UserError(f"{where}: a fisheye with p1 {p1:g} and p2 {p2:g}, wanted 0: OpenCV's has k1 to k4 alone")
    if not fisheye and k4:
        raise UserError(f"{where}: k4 {k4:g} of a perspective lens, wanted 0: OpenCV's has k1, k2, k3, p1, p2")
    found = Distortion((k1, k2, k3, k4), fisheye=True) if fisheye else Distortion((k1, k2, p1, p2, k3))
    return None if found.is_none else found


def _points(path: Path, content: Frame) -> Path | None:
    name = content.get("ply_file_path")
    if name is not None and not isinstance(name, str):
        raise UserError(f"{path}: ply_file_path is {name!r}, wanted the path of a .ply")
    return PictureFiles(path.parent).find(name) if name else None


def _applied(path: Path, content: Frame) -> Tensor | None:
    matrix, scale = content.get("applied_transform"), content.get("applied_scale")
    if matrix is None and scale is None:
        return None
    found = torch.eye(4, dtype=torch.float64)
    if matrix is not None:
        rows = torch.tensor(matrix, dtype=torch.float64)
        if rows.shape not in ((3, 4), (4, 4)):
            raise UserError(f"{path}: applied_transform of {'x'.join(map(str, rows.shape))}, wanted 3x4")
        found[:3] = rows[:3]
    found[:3] *= 1.0 if scale is None else float(scale)
    if not bool(torch.isfinite(found).all()) or not torch.linalg.det(found).item():
        raise UserError(f"{path}: applied_transform and applied_scale cannot be undone, wanted finite, invertible ones")
    return found


def _size_of(file: Path) -> tuple[int, int]:
    try:
        with packed.opened(file) as content, Image.open(content) as image:
            return image.size
    except Exception as error:  # Pillow raises nearly anything on a broken file
        raise UserError(f"{file}: not a picture that can be read, wanted JPEG, PNG or the like") from error
