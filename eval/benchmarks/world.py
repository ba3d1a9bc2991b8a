"""Does a finished run reach the project's figures? `python -m eval.benchmarks.world runs/example`

The input view rendered again from the panorama and from the finished splats, seams, and what each step cost. Steps that
a run found done count with what they took when they were made. The last line is one JSON object.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from eval.metrics import psnr
from eval.metrics.panorama_seams import worst_view_seam
from eval.metrics.seam_ratios import border_seam, wrap_seam
from worldgen import program
from worldgen.arguments import Parser
from worldgen.errors import UserError
from worldgen.geometry.equirect import to_perspective
from worldgen.io.photo import examine, load_photo
from worldgen.io.photo_sphere import GIVEN
from worldgen.recipe.given import front_view, given_panorama
from worldgen.runs.reader import RunReader
from worldgen.runs.steps_table import STEPS
from worldgen.types import View
from worldgen.world import World

WANTED = {
    "panorama_psnr_db": (35.0, "or more"),
    "world_psnr_db": (24.0, "or more"),
    "wrap_seam": (1.2, "or less"),
    "worst_view_seam": (1.2, "or less"),
    "photo_seam": (1.2, "or less"),
    "seconds": (120.0, "or less"),
    "peak_memory_mb": (3000.0, "or less"),
}


def measure(world: World, photo: View) -> dict[str, float]:
    """The figures in WANTED, by name."""
    steps = RunReader(world.run_dir).manifest()["steps"]
    heuristic = steps["panorama"]["config"]["panorama"].get("heuristic", "anchored")
    reduced = at_density_of(world.panorama.rgb, photo)
    return {
        "panorama_psnr_db": photo_psnr_db(world.panorama.rgb, photo),
        "world_psnr_db": psnr(world.render(reduced.camera), reduced.rgb),
        "wrap_seam": wrap_seam(world.panorama.rgb),
        "worst_view_seam": worst_view_seam(world.panorama.rgb, heuristic),
        "photo_seam": border_seam(world.panorama.rgb, world.panorama.photo),
        "seconds": sum(step["seconds"] for step in steps.values()),
        "peak_memory_mb": max(step["peak_memory_mb"] for step in steps.values()),
    }


def photo_psnr_db(panorama: Tensor, photo: View) -> float:
    """dB between a photo and its camera's view of the panorama [3, H, W]; see `at_density_of`."""
    photo = at_density_of(panorama, photo)
    return psnr(to_perspective(panorama, photo.camera, "bicubic").clamp(0, 1), photo.rgb)


def at_density_of(panorama: Tensor, photo: View) -> View:
    """The photo, reduced to as many pixels per degree as the panorama has, if it has more."""
    shrink = photo.camera.fx / (panorama.shape[-1] / (2 * torch.pi))
    if shrink <= 1:
        return photo
    camera = photo.camera.resized(round(photo.camera.width / shrink), round(photo.camera.height / shrink))
    size = (camera.height, camera.width)
    rgb = F.interpolate(photo.rgb[None], size, mode="bicubic", antialias=True, align_corners=False)[0]
    return View(camera, rgb.clamp(0, 1), torch.ones(size, dtype=torch.bool))


def photo_view(run_dir: Path, image: Path | None) -> View:
    """The run's photo as its camera took it, of a 360-degree panorama its front view.

    Raises UserError unless `image` is the file that the run began with.
    """
    reader = RunReader(run_dir)
    manifest, camera = reader.manifest(), reader.camera()
    known = manifest["photo"]
    path = image or Path("examples", known["name"])
    given = manifest["steps"]["panorama"]["config"]["panorama"].get("heuristic") == GIVEN
    photo = load_photo(path)
    if photo.sha256 != known["sha256"]:
        raise UserError(f"{path}: another photo than the run's {known['name']}; --image=<file> names the right one")
    height, width = photo.rgb.shape[1:]
    if given:
        return front_view(given_panorama(photo.rgb, examine(path).sphere, width), camera.fov_deg)
    return View(camera.resized(width, height), photo.rgb, torch.ones(height, width, dtype=torch.bool))


def report(run_dir: Path, figures: dict[str, float]) -> None:
    """Prints what each step took, each figure beside what is wanted, and all of it as JSON."""
    steps = RunReader(run_dir).manifest()["steps"]
    for name in (step.name for step in STEPS):
        step = steps[name]
        print(f"{name:20} {step['seconds']:10.1f} s {step['peak_memory_mb']:8.0f} MB")
    for name, value in figures.items():
        bound, side = WANTED[name]
        reached = value >= bound if side == "or more" else value <= bound
        print(f"{name:20} {value:10.2f}   wanted {bound:g} {side}: {'yes' if reached else 'NO'}")
    seconds = {name: step["seconds"] for name, step in steps.items()}
    print(json.dumps({**{name: round(value, 3) for name, value in figures.items()}, "steps_s": seconds}))


def main(arguments: Sequence[str]) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run folder")
    parser.add_argument("--image", type=Path, help="the run's photo (default: the one of its name in examples/)")
    options = parser.parse_args(arguments)
    world = World.open(options.run)
    report(options.run, measure(world, photo_view(options.run, options.image)))
    return 0


if __name__ == "__main__":
    program.run("eval.benchmarks.world")
