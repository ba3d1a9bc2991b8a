"""What the files of a COLMAP model hold, whether they are text or binary: `colmap_text.py` and `colmap_binary.py`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Name to number in the binary files, and how many parameters there are ("Camera models", COLMAP's documentation).
MODELS = {
    "SIMPLE_PINHOLE": (0, 3),
    "PINHOLE": (1, 4),
    "SIMPLE_RADIAL": (2, 4),
    "RADIAL": (3, 5),
    "OPENCV": (4, 8),
    "OPENCV_FISHEYE": (5, 8),
    "FULL_OPENCV": (6, 12),
    "FOV": (7, 5),
    "SIMPLE_RADIAL_FISHEYE": (8, 4),
    "RADIAL_FISHEYE": (9, 5),
    "THIN_PRISM_FISHEYE": (10, 12),
    "RAD_TAN_THIN_PRISM_FISHEYE": (11, 16),
    "SIMPLE_DIVISION": (12, 4),
    "DIVISION": (13, 5),
    "SIMPLE_FISHEYE": (14, 3),
    "FISHEYE": (15, 4),
    "EUCM": (16, 6),
    "EQUIRECTANGULAR": (17, 2),
}


class Damaged(ValueError):
    """A file that is not as COLMAP writes it; the message says where."""


@dataclass(frozen=True)
class CameraRecord:
    """model: a name of `MODELS`; params: as COLMAP orders them."""

    number: int
    model: str
    width: int
    height: int
    params: tuple[float, ...]


@dataclass(frozen=True)
class ImageRecord:
    """World to camera: quaternion wxyz, and translation."""

    name: str
    camera: int
    quaternion: tuple[float, ...]
    translation: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class PointRecords:
    """xyz: [N, 3] float64; rgb: [N, 3] bytes."""

    xyz: NDArray[np.float64]
    rgb: NDArray[np.uint8]
