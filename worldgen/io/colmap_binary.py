"""A COLMAP model's binary files. Each is read to its end, so that one that was cut short is told.

The layout is that of COLMAP's documentation ("Output format", https://colmap.github.io/format.html).
"""

import mmap
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np

from worldgen.io.colmap_records import MODELS, CameraRecord, Damaged, ImageRecord, PointRecords

_NAMES = {number: (name, count) for name, (number, count) in MODELS.items()}
_POINT = np.dtype([("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("track", "<u8")])
_TRACK_BYTES = 8  # image id, and index in it
_FEATURE_BYTES = 24  # x, y, point id

T = TypeVar("T")


def read_cameras(path: Path) -> list[CameraRecord]:
    """Raises Damaged where the file holds less than it says, or a camera model that nobody knows."""
    return _read(path, _camera)


def read_images(path: Path) -> list[ImageRecord]:
    """Raises Damaged where the file holds less than it says."""
    return _read(path, _image)


def read_points(path: Path) -> PointRecords:
    """Raises Damaged where the file holds less than it says."""
    with _mapped(path) as data:
        rows, at = [], 8
        for _ in range(_count(data, _POINT.itemsize)):
            rows.append(data[at : at + _POINT.itemsize])
            (track,) = struct.unpack_from("<Q", data, at + _POINT.itemsize - 8)
            at += _POINT.itemsize + _TRACK_BYTES * track
        if at > len(data):
            raise Damaged("it ends within a point")
    records = np.frombuffer(b"".join(rows), _POINT)
    return PointRecords(records["xyz"], records["rgb"])


def _read(path: Path, record: Callable[[mmap.mmap, int], tuple[T, int]]) -> list[T]:
    """record: what begins at a place, and where the next one does."""
    found = []
    with _mapped(path) as data:
        at = 8
        for _ in range(_count(data, 1)):
            one, at = record(data, at)
            found.append(one)
        if at > len(data):
            raise Damaged("it ends within a record")
    return found


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    if not path.stat().st_size:
        raise Damaged("it is empty")  # which cannot be mapped
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            yield data
        except (struct.error, OverflowError, UnicodeDecodeError) as error:
            raise Damaged("it ends before it should") from error


def _count(data: mmap.mmap, smallest: int) -> int:
    """How many records the file says it has. Nothing is made room for before it can be true."""
    (count,) = struct.unpack_from("<Q", data)
    if count * smallest > len(data):
        raise Damaged(f"it promises {count} records")
    return count


def _camera(data: mmap.mmap, at: int) -> tuple[CameraRecord, int]:
    number, model, width, height = struct.unpack_from("<IiQQ", data, at)
    if model not in _NAMES:
        raise Damaged(f"its camera model {model} is unknown")
    name, count = _NAMES[model]
    params = struct.unpack_from(f"<{count}d", data, at + 24)
    return CameraRecord(number, name, width, height, params), at + 24 + 8 * count


def _image(data: mmap.mmap, at: int) -> tuple[ImageRecord, int]:
    _, *pose, camera = struct.unpack_from("<I7dI", data, at)
    start = at + 4 + 7 * 8 + 4
    end = data.find(b"\0", start)
    if end < 0:
        raise Damaged("a name has no end")
    (features,) = struct.unpack_from("<Q", data, end + 1)
    name = data[start:end].decode("utf-8", "surrogateescape")
    return ImageRecord(name, camera, tuple(pose[:4]), tuple(pose[4:])), end + 9 + _FEATURE_BYTES * features
