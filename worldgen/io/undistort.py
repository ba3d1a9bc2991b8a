"""Lens distortion taken out of a picture: the pinhole camera that shows it best, and the picture that this one takes;
and put back into what was found in that one.

A lens is told as OpenCV does (calib3d, "Camera calibration and 3D reconstruction" and "Fisheye camera model"). The
focal lengths stay what they are, so that the middle of the picture keeps its pixels; the picture grows where the lens
saw more than a pinhole of its size would, up to a quarter of its side on each side; and what no pixel was taken of is
not `seen`. So no ray of the lens is lost but the widest of a fisheye's, and no black border is taken for a picture.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from worldgen.types import Camera

_MARGIN = 0.25  # by which a picture may grow on each side, of that side: of a fisheye, what lies beyond is all stretch
_NO_MARGIN = 0.01  # growing by less is not worth an odd size
_STEP_PX = 4  # how finely it is looked where the lens saw anything
_WIDEST = 20.0  # tangent of the widest angle that counts
_SAMPLES = 20_001
_FOUND_PX = 0.25  # OpenCV's search for a ray has found it where that is seen so near to its pixel


@dataclass(frozen=True)
class Distortion:
    """What a lens does to straight lines; a fisheye's bends them even where all coefficients are 0.

    coefficients: k1 k2 p1 p2 k3 k4 k5 k6 of a perspective lens, k1 k2 k3 k4 of a fisheye; fewer = the rest is 0.
    """

    coefficients: tuple[float, ...]
    fisheye: bool = False

    @property
    def is_none(self) -> bool:
        """Whether the lens is a pinhole's."""
        return not self.fisheye and not any(self.coefficients)

    def padded(self) -> NDArray[np.float64]:
        """All 8, or 4, coefficients."""
        found = np.zeros(4 if self.fisheye else 8)
        found[: len(self.coefficients)] = self.coefficients
        return found


def pinhole(lens: Camera, distortion: Distortion) -> Camera:
    """The pinhole camera to which `undistort` brings a picture of this lens: the pose and focal lengths are the lens's.

    lens: the picture's size and the lens's intrinsics.
    """
    margin_x, margin_y = (int(_MARGIN * side) for side in (lens.width, lens.height))
    widest = _grown(lens, -margin_x, -margin_y, lens.width + margin_x, lens.height + margin_y)
    columns, rows = (max(2, -(-side // _STEP_PX)) for side in (widest.width, widest.height))
    seen = _sources(lens, distortion, widest.resized(columns, rows))[2]
    edges = []
    for side, margin, whole, count, along in (
        (lens.width, margin_x, widest.width, columns, seen.any(axis=0)),
        (lens.height, margin_y, widest.height, rows, seen.any(axis=1)),
    ):
        cells = np.flatnonzero(along).tolist()
        first, beyond = (cells[0], cells[-1] + 1) if cells else (0, 0)
        low, high = (round(edge * whole / count) - margin for edge in (first, beyond))
        edges.append((low if low < -_NO_MARGIN * side else 0, high if high > (1 + _NO_MARGIN) * side else side))
    (left, right), (top, bottom) = edges
    return _grown(lens, left, top, right, bottom)


def undistort(
    layers: NDArray, lens: Camera, distortion: Distortion, view: Camera, nearest: bool = False
) -> tuple[NDArray, NDArray[np.bool_]]:
    """Layers [H, W] or [H, W, C] of a picture taken through `lens`, as `view` sees them, of the same type; and bool
    [H, W], where the lens saw anything at all. Cubic interpolation, or each pixel as it is in the `nearest`."""
    x, y, seen = _sources(lens, distortion, view)
    kind = cv2.INTER_NEAREST if nearest else cv2.INTER_CUBIC
    return cv2.remap(layers, x, y, kind, borderMode=cv2.BORDER_REPLICATE), seen


def distort(layer: NDArray, view: Camera, lens: Camera, distortion: Distortion) -> tuple[NDArray, NDArray[np.bool_]]:
    """The way back: a layer [H, W] of the pinhole `view` as a picture through `lens` shows it, each pixel as it is in
    the nearest, of the lens's size; and bool [H, W], where the view shows what the lens saw."""
    column, row = np.meshgrid(np.arange(lens.width, dtype=np.float64), np.arange(lens.height, dtype=np.float64))
    bent = np.stack([column, row], axis=-1).reshape(-1, 1, 2)
    matrix, coefficients = _matrix(lens), distortion.padded()
    until = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 50, 1e-7)
    if distortion.fisheye:
        plain = cv2.fisheye.undistortPoints(bent, matrix, coefficients, criteria=until)
        back = cv2.fisheye.distortPoints(plain, matrix, coefficients)
    else:
        pixels = cv2.undistortImagePoints(bent, matrix, coefficients, None, until)
        plain = (pixels - matrix[:2, 2]) / (lens.fx, lens.fy)
        rays = cv2.convertPointsToHomogeneous(plain)
        back = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), matrix, coefficients)[0]
    found = np.linalg.norm(back - bent, axis=-1).ravel() < _FOUND_PX
    found &= np.linalg.norm(plain, axis=-1).ravel() < largest_radius(distortion)
    x, y = (plain[:, 0] * (view.fx, view.fy) + (view.cx, view.cy)).T
    found &= (x >= 0) & (x < view.width) & (y >= 0) & (y < view.height)
    rows, columns = (np.where(found, axis, 0).astype(np.int64) for axis in (y, x))
    size = (lens.height, lens.width)
    return layer[rows, columns].reshape(size), found.reshape(size)


def largest_radius(distortion: Distortion) -> float:
    """Up to which distance from the axis, at depth 1, a picture's radius grows with it. Beyond, the polynomial folds
    back: it was fitted to no picture there, and would show the same pixels a second time."""
    if distortion.fisheye:
        angle = np.linspace(0, np.arctan(_WIDEST), _SAMPLES)
        radius, powers = np.tan(angle), angle**2
        k1, k2, k3, k4 = distortion.padded()
        distorted = angle * (1 + powers * (k1 + powers * (k2 + powers * (k3 + powers * k4))))
    else:
        radius = np.linspace(0, _WIDEST, _SAMPLES)
        powers = radius**2
        k1, k2, _, _, k3, k4, k5, k6 = distortion.padded()
        above, below = (1 + powers * (a + powers * (b + powers * c)) for a, b, c in ((k1, k2, k3), (k4, k5, k6)))
        distorted = radius * above / np.where(below > 0, below, np.nan)
    folds = np.flatnonzero(~(np.diff(distorted) > 0))
    return float(radius[folds[0]] if len(folds) else radius[-1])


def _sources(
    lens: Camera, distortion: Distortion, view: Camera
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Each [H, W] of `view`: the pixel of the lens's picture that each of its own shows, x and y with centres at whole
    numbers as OpenCV has them; and whether there is one."""
    size, fit = (view.width, view.height), (_matrix(lens), distortion.padded(), np.eye(3), _matrix(view))
    maps = cv2.fisheye.initUndistortRectifyMap if distortion.fisheye else cv2.initUndistortRectifyMap
    x, y = maps(*fit, size, cv2.CV_32FC1)
    across = (np.arange(view.width) + 0.5 - view.cx) / view.fx
    down = (np.arange(view.height) + 0.5 - view.cy) / view.fy
    seen = np.hypot(across[None, :], down[:, None]) < largest_radius(distortion)
    seen &= (x >= -0.5) & (x <= lens.width - 0.5) & (y >= -0.5) & (y <= lens.height - 0.5)
    return np.where(seen, x, 0), np.where(seen, y, 0), seen


def _grown(camera: Camera, left: int, top: int, right: int, bottom: int) -> Camera:
    """The part of its plane between these pixels."""
    cx, cy = camera.cx - left, camera.cy - top
    return replace(camera, width=right - left, height=bottom - top, cx=cx, cy=cy)


def _matrix(camera: Camera) -> NDArray[np.float64]:
    """Ours has pixel centres at +0.5, OpenCV's at whole numbers."""
    return np.array([[camera.fx, 0, camera.cx - 0.5], [0, camera.fy, camera.cy - 0.5], [0, 0, 1]])
