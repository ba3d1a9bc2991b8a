"""Posed pictures as data sets deliver them: nerfstudio's transforms.json and COLMAP's text files, pinhole cameras only.

nerfstudio's cameras have OpenGL axes (x right, y up, z backward), COLMAP's poses go from world to camera; both become
our `Camera`: OpenCV axes, camera to world.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.errors import UserError
from worldgen.types import Camera

_PINHOLE = {"PINHOLE": 4, "SIMPLE_PINHOLE": 3}  # COLMAP's camera models, and how many parameters they have
_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")


@dataclass(frozen=True, eq=False)
class PosedPicture:
    """A picture and the camera that took it. name: the file's, as the poses have it; held_out: not for training."""

    name: str
    path: Path
    camera: Camera
    held_out: bool = False


def read_transforms(path: Path, images: Path) -> list[PosedPicture]:
    """Pictures of a transforms.json, sorted by name; its `test_frames` are held out.

    images: the folder that the frames' paths begin in. Raises UserError for what is no such file, a camera that is no
    pinhole, and for pictures that are not there.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("camera_model", "PINHOLE") not in ("PINHOLE", "OPENCV") or any(
            content.get(name, 0.0) for name in _DISTORTION
        ):
            model = content.get("camera_model", "distorted")
            raise UserError(f"{path}: its camera is {model}, wanted PINHOLE without distortion (undistorted images)")
        frames = [(frame, False) for frame in content["frames"]]
        frames += [(frame, True) for frame in content.get("test_frames", [])]
        found = [
            PosedPicture(frame["file_path"], images / frame["file_path"], _opengl(frame, content), held_out)
            for frame, held_out in frames
        ]
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(f"{path}: not a transforms.json as nerfstudio writes it ({_told(error)})") from error
    return _all_there(found, path)


def read_colmap(folder: Path, images: Path) -> list[PosedPicture]:
    """Pictures of COLMAP's cameras.txt and images.txt in `folder`, sorted by name. Raises UserError as above."""
    path = folder / "cameras.txt"
    try:
        cameras = {line[0]: line[1:] for line in _rows(path)}
        for model, *_ in cameras.values():
            if model not in _PINHOLE:
                raise UserError(f"{path}: its camera is {model}, wanted PINHOLE (undistorted images)")
        path = folder / "images.txt"
        found = []
        for line in _rows(path, every_second=True):
            name = " ".join(line[9:])
            found.append(PosedPicture(name, images / name, _colmap(line, cameras[line[8]])))
    except UserError:
        raise
    except (OSError, ValueError, KeyError, IndexError, RuntimeError) as error:
        raise UserError(f"{path}: not a text file as COLMAP writes it ({_told(error)})") from error
    return _all_there(found, path)


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


def _opengl(frame: Mapping[str, Any], shared: Mapping[str, Any]) -> Camera:
    c2w = torch.tensor(frame["transform_matrix"], dtype=torch.float64)
    if c2w.shape != (4, 4):
        raise ValueError(f"a transform_matrix of {'x'.join(map(str, c2w.shape))}, wanted 4x4")
    c2w[:, 1:3] *= -1
    lens = {name: float(frame.get(name, shared.get(name, 0.0))) for name in ("w", "h", "fl_x", "fl_y", "cx", "cy")}
    if not all(value > 0 for value in lens.values()):
        raise ValueError("w, h, fl_x, fl_y, cx and cy are wanted, above 0")
    return Camera(c2w.float(), int(lens["w"]), int(lens["h"]), lens["fl_x"], lens["fl_y"], lens["cx"], lens["cy"])


def _colmap(line: list[str], camera: list[str]) -> Camera:
    """line: image id, quaternion wxyz, translation, camera id, name; camera: model, width, height, parameters."""
    w, x, y, z = F.normalize(torch.tensor([float(value) for value in line[1:5]], dtype=torch.float64), dim=0).tolist()
    rotation = torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ],
        dtype=torch.float64,
    )
    c2w = torch.eye(4, dtype=torch.float64)
    c2w[:3, :3] = rotation.T
    c2w[:3, 3] = -rotation.T @ torch.tensor([float(value) for value in line[5:8]], dtype=torch.float64)
    model, width, height, *numbers = camera
    values = [float(number) for number in numbers]
    if len(values) != _PINHOLE[model]:
        raise ValueError(f"{model} with {len(values)} parameters, wanted {_PINHOLE[model]}")
    fx, fy, cx, cy = values if model == "PINHOLE" else (values[0], *values)
    return Camera(c2w.float(), int(width), int(height), fx, fy, cx, cy)


def _rows(path: Path, every_second: bool = False) -> list[list[str]]:
    """The lines that are no comments, split. every_second: each other line holds points, and may be empty."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    chosen = lines[::2] if every_second else lines
    return [line.split() for line in chosen if line.strip()]


def _all_there(found: list[PosedPicture], path: Path) -> list[PosedPicture]:
    lost = [picture.path for picture in found if not picture.path.is_file()]
    if lost or not found:
        what = (
            f"{len(lost)} of its {len(found)} pictures are not there, the first is {lost[0]}" if lost else "no frames"
        )
        raise UserError(f"{path}: {what}; wanted every picture that it names")
    return sorted(found, key=lambda picture: picture.name)


def _told(error: BaseException) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error).partition("\n")[0]
