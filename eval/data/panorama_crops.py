"""Photos of which all that surrounds them is known: crops of real 360° panoramas, with the panoramas.

The photos are PNG files whose EXIF data tell the camera, so that the recipe reads their true field of view.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational
from torch import Tensor

from eval.synthetic.panoramas import PACKAGES, crop, truth_panoramas
from worldgen.errors import UserError, expect
from worldgen.runs.artifacts import save_image
from worldgen.types import Camera, View

MAX_WIDTH = 2048
PHOTO_FOV_DEG = 80.0
_FINE_WIDTH = 1024  # of a panorama of which BRISQUE and NIQE mean something, and photos show several sides
_FOCAL_MM = 20
_CENTIMETRES = 3  # as EXIF counts units of resolution


@dataclass(frozen=True, eq=False)
class Case:
    """One truth [3, H, W], turned so that the photo is its middle, and the photo; fine: of a fine panorama."""

    name: str
    truth: Tensor
    photo: View
    fine: bool


def cases(max_width: int) -> Iterator[Case]:
    """Fine truths are photographed in three directions, coarse ones in one."""
    for name, rgb in truth_panoramas():
        fine = rgb.shape[2] >= _FINE_WIDTH
        if rgb.shape[2] > max_width:
            rgb = F.interpolate(rgb[None], (max_width // 2, max_width), mode="area")[0]
        for yaw_deg in (-31, 89, 209) if fine else (0,):
            truth = rgb.roll(round(-yaw_deg / 360 * rgb.shape[2]), dims=2)
            yield Case(f"{name}{yaw_deg:+d}" if fine else name, truth, take_photo(truth), fine)


def take_photo(panorama: Tensor) -> View:
    """A level 4:3 photo of the middle of a panorama [3, H, W], at the panorama's own density in its centre."""
    focal_px = panorama.shape[2] / (2 * math.pi)
    width = 4 * round(focal_px * math.tan(math.radians(PHOTO_FOV_DEG / 2)) / 2)
    height = width * 3 // 4
    rgb = crop(panorama, 0.0, PHOTO_FOV_DEG, width, height)
    return View(Camera.from_fov(width, height, PHOTO_FOV_DEG), rgb, torch.ones(height, width, dtype=torch.bool))


def write_panoramas(
    folder: Path,
    count: int | None = None,
    fine_only: bool = False,
    max_width: int = MAX_WIDTH,
    say: Callable[[str], None] = print,
) -> list[str]:
    """Writes `folder`/photos/<name>.png and `folder`/truth/<name>.png, the panorama with the photo in its middle.

    count: only the first so many; fine_only: only of panoramas that are 1024 pixels wide or more; max_width: finer
    panoramas are reduced to it. Returns the names. Raises UserError where there is none.
    """
    expect("--count", count, count is None or count >= 1, "1 or more")
    expect("--max-width", max_width, max_width >= 256 and max_width % 2 == 0, "an even number from 256")
    for part in ("photos", "truth"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    licences = [f"{package.source}: {package.licence}\n" for package in PACKAGES]
    (folder / "licences.txt").write_text("".join(licences), encoding="utf-8")
    names = []
    for case in islice(_wanted(max_width, fine_only), count):
        save_photo(folder / "photos" / f"{case.name}.png", case.photo)
        save_image(folder / "truth" / f"{case.name}.png", case.truth)
        names.append(case.name)
        size = f"{case.photo.camera.width}x{case.photo.camera.height}"
        say(f"{case.name}: a photo of {size} and its panorama of {case.truth.shape[2]}x{case.truth.shape[1]}")
    if not names:
        raise UserError("--fine-only: no panorama that is 1024 pixels wide or more can be had")
    return names


def save_photo(path: Path, photo: View) -> None:
    """A photo as a PNG with EXIF data of a camera that has its horizontal field of view, to some millionths."""
    camera = photo.camera
    sensor_mm = _FOCAL_MM * camera.width / camera.fx
    pixels = (photo.rgb.permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = f"A crop of a panorama, {camera.fov_deg:.6g} degrees wide"
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.FocalLength] = IFDRational(_FOCAL_MM)
    details[ExifTags.Base.ExifImageWidth] = camera.width
    details[ExifTags.Base.ExifImageHeight] = camera.height
    density = IFDRational(round(camera.width / sensor_mm * 10 * 1_000_000), 1_000_000)
    details[ExifTags.Base.FocalPlaneXResolution] = details[ExifTags.Base.FocalPlaneYResolution] = density
    details[ExifTags.Base.FocalPlaneResolutionUnit] = _CENTIMETRES
    Image.fromarray(pixels).save(path, exif=exif)


def _wanted(max_width: int, fine_only: bool) -> Iterator[Case]:
    return (case for case in cases(max_width) if case.fine or not fine_only)
