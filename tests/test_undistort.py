"""Lens distortion: OpenCV's polynomials written down again, and pictures of a room taken through such lenses."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from tests.lenses import distorted, photo_by, rays_of, room_by, straight
from worldgen.geometry.cameras import look_at
from worldgen.io.undistort import Distortion, distort, largest_radius, pinhole, undistort
from worldgen.types import Camera

LENS = Camera(look_at(20.0, 10.0, torch.tensor([0.2, 0.1, -0.3])), 320, 240, 220.0, 210.0, 152.0, 126.0)
LENSES = {
    "barrel": Distortion((-0.15, 0.02, 0.004, -0.003)),
    "pincushion": Distortion((0.12, 0.03)),
    "opencv": Distortion((0.0578, -0.0805, -0.00098, 0.000156)),
    "rational": Distortion((0.3, -0.1, 0.001, 0.002, 0.05, 0.35, -0.05, 0.01)),
    "fisheye": Distortion((0.03, -0.01, 0.002, 0.001), fisheye=True),
    "equidistant": Distortion((), fisheye=True),
}


@pytest.mark.parametrize("name", LENSES)
def test_an_undistorted_picture_is_the_one_that_a_pinhole_takes(name):
    lens = LENSES[name]
    photo = photo_by(LENS, lens)
    view = pinhole(LENS, lens)
    picture, seen = undistort(photo, LENS, lens, view)
    assert picture.shape == (view.height, view.width, 3)
    assert (view.fx, view.fy) == (LENS.fx, LENS.fy)
    truth = room_by(view, *rays_of(view))
    wrong = np.abs(picture - truth).max(axis=-1)[seen]
    assert np.median(wrong) < 0.01
    assert np.quantile(wrong, 0.98) < 0.05
    apart = np.abs(room_by(view, *distorted(*rays_of(view), lens)) - truth).max(axis=-1)[seen]
    assert np.median(apart) > 3 * np.median(wrong)  # what it would be if the lens were taken for a pinhole


@pytest.mark.parametrize("name", LENSES)
def test_distorting_is_the_way_back(name):
    """What is known of each ray, seen through the lens: by the plain polynomial, pixel for pixel."""
    lens = LENSES[name]
    view = pinhole(LENS, lens)
    ray = np.stack(rays_of(view), axis=-1)
    bent = np.stack([distort(ray[..., axis].copy(), view, LENS, lens)[0] for axis in (0, 1)])
    seen = distort(ray[..., 0].copy(), view, LENS, lens)[1]
    assert seen.shape == (LENS.height, LENS.width)
    assert seen.mean() > (0.5 if lens.fisheye else 0.97)
    truth = np.stack(straight(*rays_of(LENS), lens))
    assert np.abs(bent - truth)[:, seen].max() < 0.51 / 210 + 1e-6  # half a pixel of the view


@pytest.mark.parametrize("name", LENSES)
def test_what_is_seen_is_what_the_lens_saw(name):
    """Forward through the plain polynomial: pixels that land in the photo, and no others, are seen."""
    lens = LENSES[name]
    view = pinhole(LENS, lens)
    x, y = distorted(*rays_of(view), lens)
    u, v = x * LENS.fx + LENS.cx, y * LENS.fy + LENS.cy
    seen = undistort(np.ones((LENS.height, LENS.width), np.float32), LENS, lens, view)[1]
    inside = (u > 0.01) & (u < LENS.width - 0.01) & (v > 0.01) & (v < LENS.height - 0.01)
    outside = (u < -0.01) | (u > LENS.width + 0.01) | (v < -0.01) | (v > LENS.height + 0.01)
    assert seen[inside].all()
    assert not seen[outside].any()
    # The photo's own edges: none of it lies beyond the picture, but of a fisheye.
    if not lens.fisheye:
        edge = straight(*(rays[:: LENS.height - 1] for rays in rays_of(LENS)), lens)
        left, right = (edge[0] * view.fx + view.cx).min(), (edge[0] * view.fx + view.cx).max()
        assert left > -0.01 * LENS.width - 1
        assert right < view.width + 0.01 * LENS.width + 1


def test_the_picture_grows_where_the_lens_saw_more_and_never_shrinks():
    barrel, pincushion = (pinhole(LENS, LENSES[name]) for name in ("barrel", "pincushion"))
    assert barrel.width > 1.04 * LENS.width
    assert barrel.height > 1.02 * LENS.height
    assert (pincushion.width, pincushion.height) == (LENS.width, LENS.height)
    wide = replace(LENS, fx=LENS.width / math.pi, fy=LENS.width / math.pi)  # a fisheye of 180 degrees
    grown = pinhole(wide, LENSES["equidistant"])
    assert grown.width == LENS.width + 2 * (LENS.width // 4)


def test_no_pixel_is_shown_twice_where_the_polynomial_folds_back():
    lens = Distortion((-0.3,))  # r (1 - 0.3 r^2) is largest at r = 1 / sqrt(0.9)
    assert largest_radius(lens) == pytest.approx(1 / math.sqrt(0.9), rel=2e-3)
    wide = replace(LENS, fx=100.0, fy=100.0)
    view = pinhole(wide, lens)
    seen = undistort(np.ones((LENS.height, LENS.width), np.float32), wide, lens, view)[1]
    x, y = rays_of(view)
    assert not seen[np.hypot(x, y) > largest_radius(lens)].any()
    assert seen[np.hypot(x, y) < 0.9].all()
    bent = Distortion((-0.2, 0, 0, 0), fisheye=True)
    angle = brentq(lambda theta: 1 - 0.6 * theta**2, 0.1, 1.5)
    assert largest_radius(bent) == pytest.approx(math.tan(angle), rel=2e-2)


def test_masks_keep_their_values():
    mask = (np.arange(LENS.width * LENS.height).reshape(LENS.height, LENS.width) % 7 == 0).astype(np.float32)
    lens = LENSES["opencv"]
    found, _ = undistort(mask, LENS, lens, pinhole(LENS, lens), nearest=True)
    assert set(np.unique(found)) == {0.0, 1.0}
