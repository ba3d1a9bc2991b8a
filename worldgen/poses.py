"""Posed pictures as other tools deliver them: nerfstudio's transforms.json and COLMAP's models, pinhole cameras only.

nerfstudio's cameras have OpenGL axes (x right, y up, z backward), COLMAP's poses go from world to camera; both become
our `Camera`: OpenCV axes, camera to world. The world itself keeps its axes, its origin and its scale.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from worldgen.colmap_binary import expect_whole
from worldgen.errors import UserError
from worldgen.types import Camera

_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
_UNDISTORTED = "PINHOLE without distortion (undistorted images, as `colmap image_undistorter` makes them)"
_NO_ROTATION = 1e-3  # how far a rotation's product with its transpose may be from the identity
_COLMAP_FILES = ("cameras", "images", "points3D")

Frame = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class PosedPicture:
    """A picture and the camera that took it.

    name: the file's, as the poses have it; held_out: not for training; generated: the poses say that a network made
    it; mask: a picture that is black where nothing counts, None = everything counts.
    """

    name: str
    path: Path
    camera: Camera
    held_out: bool = False
    generated: bool = False
    mask: Path | None = None


def read_transforms(path: Path, images: Path) -> list[PosedPicture]:
    """Pictures of a transforms.json, sorted by name; `test_frames`, `val_filenames`, `test_filenames` are held out.

    images: the folder that the frames' paths begin in. Sizes that are not told are the pictures' own, focal lengths may
    be told by `camera_angle_x`, principal points that are not told lie in the middle. Raises UserError for what is no
    such file, a camera that is no pinhole, a pose that is no rotation, and for pictures that are not there.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        frames = [(frame, False) for frame in content["frames"]]
        frames += [(frame, True) for frame in content.get("test_frames", [])]
        files = [_with_suffix(images / frame["file_path"]) for frame, _ in frames]
        _expect_there(path, files)
        found = [
            _from_frame(path, file, frame, content, held_out, images)
            for file, (frame, held_out) in zip(files, frames, strict=True)
        ]
        found = _split(path, found, content)
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise UserError(f"{path}: not a transforms.json as nerfstudio writes it ({_told(error)})") from error
    return sorted(found, key=lambda picture: picture.name)


def is_colmap(folder: Path) -> bool:
    """Whether a folder holds a COLMAP model, text or binary."""
    return any(all((folder / f"{name}{kind}").is_file() for name in _COLMAP_FILES[:2]) for kind in (".bin", ".txt"))


def read_colmap(folder: Path, images: Path) -> list[PosedPicture]:
    """Pictures of the COLMAP model in `folder`, text or binary, sorted by name; those without a pose are left out.

    images: the folder that the names begin in. Raises UserError as `read_transforms` does, and where pycolmap is not
    installed.
    """
    model = _colmap_model(folder)
    found = []
    for image in model.images.values():
        if image.has_pose:
            c2w = torch.eye(4, dtype=torch.float64)
            c2w[:3] = torch.from_numpy(np.array(image.cam_from_world().inverse().matrix()))
            camera = _from_colmap(folder, model.cameras[image.camera_id], _rigid(f"{folder}: {image.name}", c2w))
            found.append(PosedPicture(image.name, images / image.name, camera))
    _expect_there(folder, [picture.path for picture in found])
    return sorted(found, key=lambda picture: picture.name)


def read_colmap_points(folder: Path) -> tuple[Tensor, Tensor]:
    """The points of the COLMAP model in `folder`: [N, 3] in its world, and their colours [N, 3] in [0, 1].

    Raises UserError as `read_colmap` does.
    """
    points = _colmap_model(folder).points3D.values()
    xyz = np.array([point.xyz for point in points], np.float32).reshape(-1, 3)
    rgb = np.array([point.color for point in points], np.float32).reshape(-1, 3)
    return torch.from_numpy(xyz), torch.from_numpy(rgb) / 255


def _from_frame(path: Path, file: Path, frame: Frame, shared: Frame, held_out: bool, images: Path) -> PosedPicture:
    name, where = frame["file_path"], f"{path}: frame {frame['file_path']}"
    camera_model = frame.get("camera_model", shared.get("camera_model", "PINHOLE"))
    if camera_model not in ("PINHOLE", "SIMPLE_PINHOLE", "OPENCV") or any(
        frame.get(key, shared.get(key, 0.0)) for key in _DISTORTION
    ):
        model = camera_model if camera_model != "PINHOLE" else "distorted"
        raise UserError(f"{path}: its camera is {model}, wanted {_UNDISTORTED}")
    if frame.get("transform_matrix") is None:
        raise UserError(f"{where}: no pose, wanted its transform_matrix, 4x4")
    c2w = torch.tensor(frame["transform_matrix"], dtype=torch.float64)
    if c2w.shape != (4, 4):
        raise UserError(f"{where}: a transform_matrix of {'x'.join(map(str, c2w.shape))}, wanted 4x4")
    c2w[:, 1:3] *= -1
    camera = Camera(_rigid(where, c2w), *_lens(where, frame, shared, file))
    mask = images / frame["mask_path"] if frame.get("mask_path") else None
    if mask is not None:
        _expect_there(path, [mask])
    return PosedPicture(name, file, camera, held_out, frame.get("generated") is True, mask)


def _lens(where: str, frame: Frame, shared: Frame, file: Path) -> tuple[int, int, float, float, float, float]:
    """Width, height, fx, fy, cx, cy in pixels."""

    def told(name: str) -> float | None:
        value = frame.get(name, shared.get(name))
        return None if value is None else float(value)

    width, height = told("w"), told("h")
    if width is None or height is None:
        width, height = _size_of(file)
    fx, fy = told("fl_x"), told("fl_y")
    if (angle := told("camera_angle_x")) is not None and fx is None:
        fx = width / (2 * math.tan(angle / 2))
        upright = told("camera_angle_y")
        fy = fx if upright is None else height / (2 * math.tan(upright / 2))
    cx, cy = told("cx"), told("cy")
    lens = width, height, fx or 0.0, fy or 0.0, width / 2 if cx is None else cx, height / 2 if cy is None else cy
    if not all(0 < value < math.inf for value in lens):
        found = ", ".join(f"{value:g}" for value in lens)
        raise UserError(f"{where}: w, h, fl_x, fl_y, cx, cy are {found}; wanted all above 0 (or camera_angle_x)")
    return int(width), int(height), *lens[2:]


def _split(path: Path, found: list[PosedPicture], content: Frame) -> list[PosedPicture]:
    """Applies nerfstudio's lists: `val_filenames` and `test_filenames` are held out; where there are `train_filenames`,
    what is in no list is left out."""
    kinds = ("train", "val", "test")
    listed = {kind: {PurePosixPath(name) for name in content.get(f"{kind}_filenames") or ()} for kind in kinds}
    names = [PurePosixPath(picture.name) for picture in found]
    for kind, wanted in listed.items():
        if lost := wanted.difference(names):
            raise UserError(
                f"{path}: {kind}_filenames has {min(lost)}, which is no frame's file_path; wanted only those"
            )
    apart = listed["val"] | listed["test"]
    kept = []
    for name, picture in zip(names, found, strict=True):
        held_out = picture.held_out or name in apart
        if held_out or not listed["train"] or name in listed["train"]:
            kept.append(PosedPicture(**{**vars(picture), "held_out": held_out}))
    return kept


def _rigid(where: str, c2w: Tensor) -> Tensor:
    """A pose [4, 4] of float64 as float32, its rotation the nearest exact one. Raises UserError where it has none."""
    broken = c2w.numel() - int(torch.isfinite(c2w.float()).sum())
    if broken:
        raise UserError(f"{where}: {broken} values of its pose are not finite, wanted none")
    rotation = c2w[:3, :3]
    gap = (rotation.T @ rotation - torch.eye(3, dtype=c2w.dtype)).abs().max().item()
    determinant = torch.linalg.det(rotation).item()
    if gap > _NO_ROTATION or determinant < 0:
        lengths = ", ".join(f"{length:.4g}" for length in rotation.norm(dim=0).tolist())
        raise UserError(
            f"{where}: its pose is no rotation (columns {lengths} long, determinant {determinant:.4g}), wanted "
            "orthogonal columns of length 1 and determinant 1"
        )
    if c2w[3].tolist() != [0, 0, 0, 1]:
        raise UserError(f"{where}: the last row of its pose is {c2w[3].tolist()}, wanted [0, 0, 0, 1]")
    u, _, vh = torch.linalg.svd(rotation)
    exact = c2w.clone()
    exact[:3, :3] = u @ vh
    return exact.float()


def _colmap_model(folder: Path) -> Any:
    """A `pycolmap.Reconstruction`."""
    try:
        import pycolmap  # here, because it is large and few need it
    except ImportError as error:
        raise UserError(f"{folder}: a COLMAP model, which pycolmap reads, wanted: pip install pycolmap") from error
    kind = ".bin" if (folder / "cameras.bin").is_file() else ".txt"
    for name in _COLMAP_FILES:
        if not (folder / f"{name}{kind}").is_file():
            raise UserError(f"{folder}: no {name}{kind} there, wanted cameras, images and points3D, .bin or .txt")
    try:
        if kind == ".bin":
            expect_whole(folder, pycolmap)
        model = pycolmap.Reconstruction()
        (model.read_binary if kind == ".bin" else model.read_text)(str(folder))
    except UserError:
        raise
    except (OSError, ValueError, IndexError, KeyError, RuntimeError, MemoryError) as error:
        raise UserError(f"{folder}: not a model as COLMAP writes it ({_told(error)})") from error
    return model


def _from_colmap(folder: Path, camera: Any, c2w: Tensor) -> Camera:
    if not (camera.is_perspective_pinhole() and camera.is_undistorted()):
        raise UserError(f"{folder}: its camera {camera.camera_id} is {camera.model_name}, wanted {_UNDISTORTED}")
    (fx, _, cx), (_, fy, cy), _ = camera.calibration_matrix().tolist()
    if not all(0 < value < math.inf for value in (camera.width, camera.height, fx, fy)):
        found = f"{camera.width}x{camera.height} pixels, focal lengths {fx:g} and {fy:g}"
        raise UserError(f"{folder}: its camera {camera.camera_id} has {found}; wanted all above 0")
    return Camera(c2w, camera.width, camera.height, fx, fy, cx, cy)


def _with_suffix(file: Path) -> Path:
    """Blender's files name pictures without the .png."""
    return file if file.suffix or file.is_file() else file.with_suffix(".png")


def _size_of(file: Path) -> tuple[int, int]:
    try:
        with Image.open(file) as image:
            return image.size
    except Exception as error:  # Pillow raises nearly anything on a broken file
        raise UserError(f"{file}: not a picture that can be read, wanted JPEG, PNG or the like") from error


def _expect_there(path: Path, files: Iterable[Path]) -> None:
    files = list(files)
    lost = [file for file in files if not file.is_file()]
    if lost or not files:
        what = (
            f"{len(lost)} of its {len(files)} pictures are not there, the first is {lost[0]}" if lost else "no frames"
        )
        raise UserError(f"{path}: {what}; wanted every picture that it names")


def _told(error: BaseException) -> str:
    """An exception's first line, without the place in pycolmap's source that raised it."""
    told = re.sub(r"^\[\S+:\d+\] ", "", str(error).strip().partition("\n")[0]) or type(error).__name__
    return f"{told} is missing" if isinstance(error, KeyError) else told
