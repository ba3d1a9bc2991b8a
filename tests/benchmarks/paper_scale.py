"""What does the recipe cost at the paper's size, networks and fit aside? `python -m tests.benchmarks.paper_scale`

The steps up to completion as `profile=paper` runs them: a panorama of 4096 x 2048, refinement, 16 depth views merged,
the lifted cloud, and a visit to all 196 views of 1024 px. In the networks' place are fakes: one wallpaper behind every
hole, and the depth of a ray-traced room. What the fakes take is told apart and not counted as the recipe's. Seconds are
of wall and of processor (all threads), of each step and of each kind of work; the last line is one JSON object.
"""

import argparse
import json
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from tests.benchmarks.stopwatch import Stopwatch
from tests.fakes import Fake
from tests.oracle import FOV_DEG, ROOM
from worldgen import pipeline, steps
from worldgen.config import compose
from worldgen.present.console import Reporter
from worldgen.runs.artifacts import save_image
from worldgen.runs.reader import RunReader
from worldgen.types import Camera

WIDTH, SIZE, VIEWS = 4096, 1024, 196
FAKES = "the fakes"
KINDS = {
    "paint and blend": [
        "worldgen.recipe.panorama:synthesize",
        "worldgen.recipe.refine:ViewRefiner.__call__",
        "worldgen.models.inpainting_completer:InpaintingCompleter._completed",
    ],
    "project": [f"worldgen.geometry.equirect:{name}" for name in ("to_perspective", "from_perspective", "sample")],
    "masks, filling": ["worldgen.geometry.fill:dilate", "worldgen.geometry.fill:push_pull"],
    "merge depth": ["worldgen.recipe.depth:ViewMergedDepth.__call__"],
    "align depth": ["worldgen.geometry.alignment:align", "worldgen.recipe.view_alignment:with_distances"],
    "lift": ["worldgen.recipe.lift:lift", "worldgen.geometry.points:view_points"],
    "render points": ["worldgen.geometry.points:render_points"],
    "choose views": ["worldgen.recipe.hole_scores:HoleScores.add", "worldgen.recipe.hole_scores:reachable"],
    "pictures on disk": [
        *(f"worldgen.runs.artifacts:{name}" for name in ("save_image", "save_pixels", "save_mask")),
        *(f"worldgen.runs.artifacts:{name}" for name in ("load_image", "load_mask")),
    ],
    "points on disk": ["worldgen.io.clouds:save_cloud", "worldgen.io.clouds:load_cloud"],
    "hash": ["worldgen.runs.disk:sha256_of"],
    "flush": ["worldgen.runs.disk:flush"],
    FAKES: [
        "tests.benchmarks.paper_scale:Wallpaper.__call__",
        "tests.oracle:OracleDepth.__call__",
        "tests.fakes:Repainter.__call__",
    ],
}


class Wallpaper(Fake):
    """Hangs the same picture behind every hole."""

    def __call__(self, rgb: Tensor, known: Tensor, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """See `protocols.Inpainter`."""
        return torch.where(known[:, None] > 0, rgb, pattern(*rgb.shape[2:])).mul_(255).round_().div_(255)


@cache
def pattern(height: int, width: int) -> Tensor:
    """[3, H, W] in [0, 1], with coarse and fine detail, as a PNG of a photo has to hold."""
    generator = torch.Generator().manual_seed(0)
    grids = (torch.rand(1, 3, height // step, width // step, generator=generator) for step in (32, 4))
    coarse, fine = (F.interpolate(grid, (height, width), mode="bicubic")[0] for grid in grids)
    return (0.8 * coarse + 0.2 * fine).clamp(0, 1)


def configured(folder: Path, width: int, size: int, views: int) -> DictConfig:
    """The paper's profile with fakes, for a photo of the room, which is written to `folder`."""
    photo = folder / "room.png"
    save_image(photo, ROOM.view(Camera.from_fov(width // 2, width * 3 // 8, FOV_DEG)).rgb)
    overrides = ["profile=paper", "completer=inpainting", "until=complete", f"fov_deg={FOV_DEG}"]
    config = compose(None, [*overrides, f"image={photo}", f"out={folder / 'run'}"])
    OmegaConf.set_struct(config, False)
    config.fov, config.prompts = {"_target_": "tests.fakes.NarrowFov"}, {"_target_": "tests.fakes.PlainPrompter"}
    config.inpainter = config.completer.inpainter = {"_target_": "tests.benchmarks.paper_scale.Wallpaper"}
    config.refine.model = {"_target_": "tests.fakes.Repainter"}
    config.view_depth = config.depth.shape = {"_target_": "tests.oracle.OracleDepth"}
    config.depth.metric = {"_target_": "tests.oracle.OracleDepth", "metric": True}
    config.panorama.width, config.depth.settings.merge_height = width, width // 2
    config.panorama.view_size = config.refine.settings.view_size = config.depth.settings.view_size = size
    config.complete.size, config.complete.budget = size, views
    return config


def measured(width: int, size: int, views: int) -> dict[str, Any]:
    """Of a panorama so many pixels wide, square views of so many, and at most so many pictures of the cube's 196 views.

    `recipe_s` is `all_s` without the fakes; steps hold their fakes.
    """
    assert steps.PRODUCE, "imported before the clock starts, with all that it wraps"
    watch, results = Stopwatch(), []
    with TemporaryDirectory() as folder:
        config = configured(Path(folder), width, size, views)
        with watch.on(KINDS), closing(Reporter(quiet=True)) as reporter:
            run = RunReader(pipeline.run(config, reporter, results.append).root)
        disk = sum(path.stat().st_size for path in run.root.rglob("*") if path.is_file())
        facts = {"points": len(run.cloud()), "views": len(run.completed())}
    whole = [sum(seconds) for seconds in zip(*watch.seconds.values(), strict=True)]
    recipe = [every - fakes for every, fakes in zip(whole, watch.seconds[FAKES], strict=True)]
    return {
        **facts,
        "peak_mb": round(max(result.peak_memory_mb for result in results)),
        "disk_mb": round(disk / 1e6),
        "recipe_s": _rounded(recipe),
        "all_s": _rounded(whole),
        "kinds_s": {kind: _rounded(seconds) for kind, seconds in watch.seconds.items()},
        "steps_s": {result.name: round(result.seconds, 1) for result in results},
    }


def _rounded(seconds: Sequence[float]) -> list[float]:
    return [round(value, 1) for value in seconds]


def report(found: dict[str, Any]) -> None:
    """Prints a table and the line of JSON."""
    for name, seconds in found["steps_s"].items():
        print(f"step {name:20} {seconds:8.1f} s, its fakes included")
    for name, (wall, cpu) in [*found["kinds_s"].items(), ("the recipe, without fakes", found["recipe_s"])]:
        print(f"{name:25} {wall:8.1f} s wall {cpu:8.1f} s CPU")
    print(json.dumps(found))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--width", type=int, default=WIDTH, help="pixels of the panorama")
    parser.add_argument("--size", type=int, default=SIZE, help="pixels of a view's side")
    parser.add_argument("--views", type=int, default=VIEWS, help="at most so many pictures of the cube's 196")
    chosen = parser.parse_args(arguments)
    measured(256, 64, 1)  # compiles what is compiled once
    report(measured(chosen.width, chosen.size, chosen.views))


if __name__ == "__main__":
    main()
