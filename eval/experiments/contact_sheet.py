"""Worlds on one sheet, to be looked at: a row for each.

    python -m eval.experiments.contact_sheet runs/crops/* --out sheet.jpg
    python -m eval.experiments.contact_sheet runs/crops/* --before runs/old --out sheet.jpg

A row shows the photo's middle as the panorama has it, the panorama, what is seen a metre to the left, to the right,
ahead and back, and distances (bright is near, grey is sky). With --before the panorama of the run of that name in
another folder, made by other settings or an earlier version, comes before them. The last line printed is one JSON
object.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from worldgen.arguments import Parser, ends_in_one_line
from worldgen.command import exit_status
from worldgen.errors import UserError, expect
from worldgen.geometry.equirect import to_perspective
from worldgen.io.photo import picture_errors
from worldgen.runs.disk import landing
from worldgen.runs.reader import RunReader
from worldgen.runs.steps_table import DEPTH, PANORAMA
from worldgen.types import Camera
from worldgen.world import World

NAME = "contact_sheet"
STEPS_M = ((-1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, -1.0))
"""Left, right, ahead, back."""
_FOV_DEG = 80.0
_GAP_PX = 6
_TIMES = 3  # views are rendered so many times larger, and reduced
_QUALITY = 85  # of a JPEG


def row(run_dir: Path, before: Path | None, height: int) -> list[Image.Image]:
    """A world's pictures, all `height` pixels high. before: the run whose panorama stands beside it.

    Raises UserError where a run is not finished, or has no panorama.
    """
    reader, world = RunReader(run_dir), World.open(run_dir)
    rgb = world.panorama.rgb
    photo = _picture(to_perspective(rgb, _square(reader.camera(), height * _TIMES)))
    size = (height * _TIMES, height * _TIMES)
    steps = [world.camera(position=place, fov_deg=_FOV_DEG, size=size) for place in STEPS_M]
    views = [_picture(world.render(camera)) for camera in steps]
    old = [] if before is None else [_read(RunReader(before).existing(PANORAMA, "panorama.png"))]
    pictures = [photo, *old, _picture(rgb), *views, _read(reader.existing(DEPTH, "distance.png"))]
    return [each.resize((height * each.width // each.height, height), Image.Resampling.LANCZOS) for each in pictures]


def sheet(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Rows of pictures, those of a row of one height, on white."""
    width = max(sum(each.width + _GAP_PX for each in pictures) for pictures in rows) - _GAP_PX
    height = sum(pictures[0].height + _GAP_PX for pictures in rows) - _GAP_PX
    whole, top = Image.new("RGB", (width, height), "white"), 0
    for pictures in rows:
        left = 0
        for each in pictures:
            whole.paste(each, (left, top))
            left += each.width + _GAP_PX
        top += pictures[0].height + _GAP_PX
    return whole


def _square(camera: Camera, size: int) -> Camera:
    """The middle of what a photo's camera sees, as large as it is, size x size pixels."""
    focal_px = camera.fx * size / min(camera.width, camera.height)
    return Camera(camera.c2w, size, size, focal_px, focal_px, size / 2, size / 2)


def _picture(rgb: Tensor) -> Image.Image:
    pixels = (rgb.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(pixels.numpy()))


def _read(path: Path) -> Image.Image:
    with picture_errors(path), Image.open(path) as image:
        return image.convert("RGB")


def _obey(arguments: argparse.Namespace) -> None:
    expect("--height", arguments.height, arguments.height >= 16, "16 pixels or more")
    fits = arguments.out.suffix.lower() in (".jpg", ".jpeg", ".png")
    expect("--out", arguments.out, fits, "a file whose name ends in .jpg or .png")
    folder = arguments.out.resolve().parent
    expect("--out", arguments.out, folder.is_dir(), f"a file in a folder that is there, and {folder} is not")
    before: Path | None = arguments.before
    rows = [
        row(run, None if before is None else before / run.resolve().name, arguments.height) for run in arguments.runs
    ]
    try:
        with landing(arguments.out) as file:
            sheet(rows).save(file, quality=_QUALITY)
    except OSError as error:
        raise UserError(f"{arguments.out}: cannot be written ({error.strerror or error})") from error
    runs = [str(run) for run in arguments.runs]
    print(json.dumps({"experiment": NAME, "out": str(arguments.out), "runs": runs}))


@ends_in_one_line
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = Parser(
        f"python -m eval.experiments.{NAME}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="finished run folders")
    parser.add_argument("--before", type=Path, help="a folder of runs of the same names")
    parser.add_argument("--out", type=Path, required=True, help="the sheet: .jpg or .png")
    parser.add_argument("--height", type=int, default=150, help="of a row, in pixels (default: 150)")
    return exit_status(partial(_obey, parser.parse_args(argv)), "--height=50")


if __name__ == "__main__":
    sys.exit(main(None))
