"""Whether a COLMAP model's binary files are whole. pycolmap does not look: past the end of a file it takes whatever
numbers it finds for counts, and may go on without end.

The layout is that of COLMAP's documentation ("Output format", https://colmap.github.io/format.html).
"""

import mmap
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worldgen.errors import UserError

_POSE = 7 * 8  # quaternion wxyz and translation


def expect_whole(folder: Path, pycolmap: Any) -> None:
    """Raises UserError where one of the files in `folder` holds less than it says. pycolmap: the module."""

    def camera(data: mmap.mmap, at: int) -> int:
        model = pycolmap.CameraModelId(struct.unpack_from("<i", data, at + 4)[0])
        params = pycolmap.Camera.create_from_model_id(1, model, 1.0, 1, 1).params
        return at + 4 + 4 + 8 + 8 + 8 * len(params)  # id, model, width, height

    walks = {"cameras": camera, "images": _image, "points3D": _point, "frames": _frame}
    for name, walk in walks.items():
        path = folder / f"{name}.bin"
        if path.is_file() and not _is_whole(path, walk):  # frames.bin is newer than the others
            raise UserError(f"{path}: damaged or cut short, wanted the whole file as COLMAP wrote it")


def _is_whole(path: Path, walk: Callable[[mmap.mmap, int], int]) -> bool:
    """walk: from where a record begins to where the next one does."""
    if not path.stat().st_size:
        return False  # which cannot be mapped
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            (count,), at = struct.unpack_from("<Q", data), 8
            for _ in range(count):
                at = walk(data, at)
        except (struct.error, ValueError, IndexError, OverflowError):  # beyond the end; no such camera model
            return False
        return at <= len(data)


def _image(data: mmap.mmap, at: int) -> int:
    end = data.find(b"\0", at + 4 + _POSE + 4)  # id, pose, camera id, then the name
    if end < 0:
        raise ValueError("no end of the name")
    return end + 1 + 8 + 24 * struct.unpack_from("<Q", data, end + 1)[0]  # x, y, point id


def _point(data: mmap.mmap, at: int) -> int:
    head = 8 + 3 * 8 + 3 + 8  # id, place, colour, error
    return at + head + 8 + 8 * struct.unpack_from("<Q", data, at + head)[0]  # image id, index in it


def _frame(data: mmap.mmap, at: int) -> int:
    head = 4 + 4 + _POSE  # id, rig id
    return at + head + 4 + 16 * struct.unpack_from("<I", data, at + head)[0]  # sensor type and id, data id
