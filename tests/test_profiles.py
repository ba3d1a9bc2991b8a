"""Profiles choose adapters and sizes, nothing else: the same recipe runs with a fake for every adapter."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from worldgen import pipeline
from worldgen.config import CONF_DIR, compose, defaults, groups
from worldgen.present.console import Reporter
from worldgen.recipe.panorama import PanoramaSettings

FAKES = (
    "experiment=tiny",
    "panorama.width=256",
    "panorama.view_size=64",
    "prefill=none",
    "finish=none",
    "depth=network",
    "completer=inpainting",
    "fov._target_=tests.fakes.NarrowFov",
    "prompts._target_=tests.fakes.PlainPrompter",
    "inpainter._target_=tests.fakes.SmoothInpainter",
    "view_depth._target_=tests.fakes.FlatDepth",
    "depth.shape._target_=tests.fakes.FlatDepth",
    "depth.settings.view_size=64",
    "depth.settings.merge_height=64",
    "export.headset=null",
)


def targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, child in node.items():
            yield from [child] if key == "_target_" else targets(child)


def numbers_only(node: Any) -> bool:
    if isinstance(node, dict):
        return all(numbers_only(child) for child in node.values())
    return isinstance(node, int | float) and not isinstance(node, bool)


@pytest.mark.parametrize("profile", groups()["profile"])
def test_a_profile_is_choices_of_groups_and_numbers(profile):
    content = OmegaConf.to_container(OmegaConf.load(CONF_DIR / "profile" / f"{profile}.yaml"))
    chosen = [key for entry in content.pop("defaults", []) for key in entry]
    assert all(key.removeprefix("override /") in defaults() for key in chosen)
    assert numbers_only(content)


def test_without_a_profile_nothing_stands_in():
    assert PanoramaSettings().prefill is None
    assert PanoramaSettings().finish is None


@pytest.mark.slow
def test_the_recipe_runs_with_a_fake_for_every_adapter(tmp_path):
    row, column = np.mgrid[0:96, 0:128]
    photo = tmp_path / "hills.png"
    Image.fromarray(np.stack([row * 2, column, 255 - row * 2], axis=-1).astype(np.uint8)).save(photo)
    overrides = [f"image={photo}", f"out={tmp_path / 'run'}", *FAKES]
    config = compose(None, overrides)
    OmegaConf.set_struct(config, False)
    config.refine = OmegaConf.load(CONF_DIR / "refine" / "_views.yaml")
    config.refine.settings.view_size = 64
    config.refine.model = {"_target_": "tests.fakes.Repainter"}
    assert not [name for name in targets(OmegaConf.to_container(config)) if name.startswith("worldgen.embedded")]
    made = pipeline.run(config, Reporter(quiet=True)).root
    assert "a fake" in (made / "prompts" / "prompts.json").read_text()
    assert "a fake" in (made / "fov" / "camera.json").read_text()
    assert list((made / "panorama" / "views").glob("*.png"))
    assert len(list((made / "refine" / "views").glob("*.png"))) == 16
    assert all((made / name).stat().st_size > 0 for name in ("panorama.png", "world.ply", "world.html"))
