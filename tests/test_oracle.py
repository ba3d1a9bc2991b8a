"""With networks that know the world, the recipe rebuilds it: pytest tests/test_oracle.py

This fails if a frame, a sign, a scale or a mask is wrong anywhere between the photo and the splats.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from tests.oracle import FOV_DEG, ROOM, photo_view
from worldgen import pipeline
from worldgen.config import compose
from worldgen.geometry.cameras import look_at
from worldgen.present.console import Reporter
from worldgen.recipe.cube import cube_positions
from worldgen.runs.artifacts import save_image
from worldgen.runs.reader import RunReader
from worldgen.splat.rasterize import rasterize
from worldgen.types import Camera

HEIGHT = 512
SIZES = {
    "panorama": {"width": 2 * HEIGHT, "view_size": 384},
    "complete": {
        "order": "all",
        "budget": None,
        "at_once": 14,
        "size": 256,
        "min_hole": 0.0005,
        "max_hole": 1.0,
        "pinhole_px": 1,
    },
    "refine": {"settings": {"view_size": 384}},
    "views": {"size": 256},
    "splat": {"steps": 1500, "max_gaussians": 400_000, "correction": {"distortion": {"grid": 16}}},
    "export": {"video": {"seconds": 0.5, "fps": 8, "width": 64, "height": 48}},
}
MERGE = {"_target_": "worldgen.recipe.depth.MergeSettings", "view_size": 256, "merge_height": HEIGHT}


def oracle(name: str, **settings: Any) -> dict[str, Any]:
    return {"_target_": f"tests.oracle.Oracle{name}", **settings}


def run(folder: Path, heuristic: str, until: str | None) -> RunReader:
    photo = folder / "room.png"
    save_image(photo, photo_view().rgb)
    overrides = [f"image={photo}", f"out={folder / heuristic}", f"panorama={heuristic}", f"fov_deg={FOV_DEG}"]
    config = compose(None, [*overrides, "profile=paper"])
    OmegaConf.set_struct(config, False)
    config.refine.model = oracle("Repainter")
    config.prompts, config.inpainter = oracle("Prompter"), oracle("Inpainter", heuristic=heuristic)
    config.depth.shape, config.depth.metric = oracle("Depth"), oracle("Depth", metric=True)
    config.depth.settings = OmegaConf.merge(config.depth.settings, MERGE)
    config.completer, config.view_depth = oracle("Completer"), oracle("Depth")
    config.until = until
    config = OmegaConf.merge(config, SIZES)
    return RunReader(pipeline.run(config, Reporter(quiet=True)).root)


def psnr_db(one: torch.Tensor, other: torch.Tensor) -> float:
    return -10 * float((one - other).square().mean().log10())


@pytest.mark.parametrize(
    "heuristic", ["anchored", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sequential", "adhoc"))]
)
def test_panorama_and_distances_are_the_rooms(tmp_path, heuristic):
    reader = run(tmp_path, heuristic, until="lift")
    true_panorama, true_distances = ROOM.panorama(HEIGHT)
    assert psnr_db(reader.panorama().rgb, true_panorama.rgb) > 35
    relative = (reader.distances().distance / true_distances.distance - 1).abs()
    assert relative.median() < 0.03
    assert not reader.distances().sky.any()
    assert ROOM.surface_gap(reader.lifted().xyz).median() < 0.1


@pytest.mark.slow
def test_views_from_the_cubes_corners_are_the_rooms(tmp_path):
    reader = run(tmp_path, "anchored", until="splat")
    gaussians = reader.gaussians()
    figures = []
    for number, position in enumerate(cube_positions(2.0)[-8:]):
        camera = Camera.from_fov(256, 256, 90, look_at(135.0 * number, 0.0, position))
        figures.append(psnr_db(rasterize(gaussians, camera).rgb.clamp(0, 1), ROOM.view(camera).rgb))
    assert min(figures) > 24
    assert sum(figures) / len(figures) > 28
