"""Photos of which all that surrounds them is known: crops of real 360° panoramas, with the panoramas.

The photos are PNG files whose EXIF data tell the camera, so that the recipe reads their true field of view.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from eval.benchmarks.panorama import Case, cases
from eval.synthetic.panoramas import PACKAGES
from worldgen.errors import UserError
from worldgen.runs.artifacts import save_image
from worldgen.types import View

MAX_WIDTH = 2048
_FOCAL_MM = 20
_CENTIMETRES = 3  # as EXIF counts units of resolution


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
    if count is not None and count < 1:
        raise UserError(f"--count: {count}, wanted 1 or more")
    if max_width < 256 or max_width % 2:
        raise UserError(f"--max-width: {max_width}, wanted an even number from 256")
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
