"""A COLMAP model's text files, as COLMAP and tools that imitate it write them: names may hold spaces, and the last line
may be missing where it would be empty.

The layout is that of COLMAP's documentation ("Output format", https://colmap.github.io/format.html).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from worldgen.io.colmap_records import MODELS, CameraRecord, Damaged, ImageRecord, PointRecords


def read_cameras(path: Path) -> list[CameraRecord]:
    """Raises Damaged for a line that is none of a camera."""
    found = []
    for number, line in _lines(path):
        words = line.split()
        if not words:
            continue
        with_all = len(words) >= 4 and words[1] in MODELS and len(words) == 4 + MODELS[words[1]][1]
        if not with_all:
            raise Damaged(f"line {number} is {line[:60]!r}, wanted CAMERA_ID MODEL WIDTH HEIGHT and all parameters")
        width, height, *params = _numbers(number, words[2:])
        found.append(CameraRecord(int(words[0]), words[1], int(width), int(height), tuple(params)))
    return found


def read_images(path: Path) -> list[ImageRecord]:
    """The line after an image's tells of its points, which do not count here. Raises Damaged for a line that is none of
    an image, and where that of the points is missing."""
    found, lines = [], _lines(path)
    for number, line in lines:
        words = line.split(None, 9)
        if not words:
            continue
        if len(words) < 10:
            raise Damaged(f"line {number} is {line[:60]!r}, wanted IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME")
        *pose, camera = _numbers(number, words[1:9])
        found.append(ImageRecord(words[9].strip(), int(camera), tuple(pose[:4]), tuple(pose[4:])))
        _expect_features(*next(lines, (number + 1, "")))
    return found


def _expect_features(number: int, line: str) -> None:
    words = line.split()
    _numbers(number, words[-3:])
    if len(words) % 3:
        raise Damaged(f"line {number} is {line[:60]!r}, wanted X Y POINT3D_ID of each of an image's points, or nothing")


def read_points(path: Path) -> PointRecords:
    """Raises Damaged for a line that is none of a point."""
    rows = []
    for number, line in _lines(path):
        words = line.split(None, 7)
        if not words:
            continue
        if len(words) < 7:
            raise Damaged(f"line {number} is {line[:60]!r}, wanted POINT3D_ID X Y Z R G B ERROR and its track")
        rows.append(_numbers(number, words[1:7]))
    values = np.array(rows, np.float64).reshape(-1, 6)
    return PointRecords(values[:, :3], values[:, 3:].clip(0, 255).astype(np.uint8))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Those that are no comments, and their numbers."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, start=1):
            if not line.startswith("#"):
                yield number, line.rstrip("\r\n")


def _numbers(number: int, words: list[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise Damaged(f"line {number} has {' '.join(words)[:60]!r}, wanted numbers") from error
