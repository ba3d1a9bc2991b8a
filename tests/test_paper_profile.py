"""Profiles of the hub from photo to splats, by tiny random networks in its layout; killed in the middle, they go on.

What the pictures show is noise. What counts is that every step runs its networks' real code and leaves its files.
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_diffusion import LATENTS, save_controlnet, save_lora, save_sd, save_sdxl
from tiny_moge import save_tiny_moge
from tiny_vlm import save_tiny_qwen

from worldgen import pipeline
from worldgen.config import compose
from worldgen.models.pipelines import HubPipeline
from worldgen.present.console import Reporter
from worldgen.runs.steps_table import STEPS

pytestmark = pytest.mark.slow

ANSWER = {"indoor": False, "atmosphere": "a quiet shore", "sky": "pale sky", "ground": "wet sand", "negative": "people"}
SIZES = (
    "panorama.width=512",
    "panorama.view_size=64",
    "refine.settings.view_size=64",
    "complete.size=64",
    "complete.budget=12",
    "views.size=64",
    "splat.steps=20",
    "splat.max_gaussians=5000",
    "splat.correction.distortion.grid=16",
    "export.video.seconds=0.5",
    "export.video.fps=8",
    "export.video.width=64",
    "export.video.height=48",
    "export.headset=null",
    "depth.settings.view_size=64",
    "depth.settings.merge_height=64",
)


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def networks(tmp_path_factory) -> list[str]:
    """Overrides that name a tiny network for each place of the profile."""
    hub = tmp_path_factory.mktemp("hub")
    sdxl = save_sdxl(hub / "sdxl")
    paint = save_sdxl(hub / "paint", LATENTS, "StableDiffusionXLPipeline")
    moge = {version: save_tiny_moge(hub / f"moge{version}.pt", version) for version in (1, 2)}
    paths = {
        "fov.path": moge[2],
        "prompts.path": save_tiny_qwen(hub / "vlm"),
        "inpainter.path": sdxl,
        "refine.model.path": paint,
        "depth.shape.path": moge[1],
        "completer.path": save_controlnet(hub / "controlnet", sdxl),
        "view_depth.path": moge[2],
    }
    steps = ["inpainter.steps=2", "refine.model.steps=4"]
    return [*(f"{key}={path}" for key, path in paths.items()), *steps, "depth.metric=null"]


@pytest.fixture
def photo(tmp_path, monkeypatch) -> Path:
    """A picture, and a model that says something of it."""
    from transformers import ProcessorMixin

    monkeypatch.setattr(ProcessorMixin, "decode", lambda *_, **__: json.dumps(ANSWER))
    row, column = np.mgrid[0:96, 0:128]
    path = tmp_path / "shore.png"
    Image.fromarray(np.stack([row * 2, column, 255 - row * 2], axis=-1).astype(np.uint8)).save(path)
    return path


def world(photo: Path, out: Path, networks: list[str], profile: str = "paper", sizes: Sequence[str] = SIZES) -> Path:
    overrides = [f"image={photo}", f"out={out}", f"profile={profile}", *networks, *sizes]
    return pipeline.run(compose(None, overrides), Reporter(quiet=True)).root


def hashes(root: Path) -> dict[str, str]:
    """Of all that the steps before the export left, but for the fit's curve, which begins anew."""
    return {
        path.relative_to(root).as_posix(): sha256(path.read_bytes()).hexdigest()
        for step in STEPS[:-1]
        for path in sorted((root / step.name).rglob("[!.]*"))
        if path.is_file() and path.name != "metrics.csv"
    }


def test_every_step_runs_and_a_killed_run_ends_with_the_same_files(tmp_path, photo, networks, monkeypatch):
    calls = count()
    call, dies = HubPipeline.call, set[int]()

    def mortal(self, *arguments):
        number = next(calls)
        if number in dies:
            dies.remove(number)
            raise Killed
        return call(self, *arguments)

    monkeypatch.setattr(HubPipeline, "call", mortal)
    whole = world(photo, tmp_path / "whole", networks)
    needed = next(calls)
    wanted = hashes(whole)
    assert len(list((whole / "panorama" / "views").glob("*.png"))) >= 12
    assert len(list((whole / "refine" / "views").glob("*.png"))) == 16
    assert "complete/011.png" in wanted
    assert all((whole / name).stat().st_size > 0 for name in ("panorama.png", "world.ply", "world.html"))

    calls = count()
    dies |= {needed // 6, needed // 2, needed - 2}  # in the panorama, the refinement, the completion
    while dies:
        with pytest.raises(Killed):
            world(photo, tmp_path / "killed", networks)
    assert hashes(world(photo, tmp_path / "killed", networks)) == wanted
    assert next(calls) < needed + 25  # what was done was not done again, but for a call's other pictures


def test_the_laptops_profile_runs(tmp_path, photo):
    moge = save_tiny_moge(tmp_path / "moge.pt", 2)
    small = save_sd(tmp_path / "sd")
    lora = save_lora(tmp_path / "lora", small)
    networks = [
        f"inpainter.path={small}",
        f"inpainter.loras=[{{model: {lora.parent}, file: {lora.name}}}]",
        *(f"{place}.path={moge}" for place in ("fov", "depth.shape", "view_depth")),
    ]
    sizes = [size for size in SIZES if not size.startswith(("refine.", "splat.correction."))]
    made = world(photo, tmp_path / "run", networks, "laptop", sizes)
    assert len(list((made / "panorama" / "views").glob("*.png"))) >= 12
    assert len(list((made / "complete").glob("*.png"))) > 3
    assert all((made / name).stat().st_size > 0 for name in ("panorama.png", "world.ply", "world.html"))
