"""The command line of the fit alone: `python -m train.splat views=<folder>`."""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from worldgen import command
from worldgen.config import RUNS_DIR, compose_program, instantiate
from worldgen.errors import UserError, expect, is_whole
from worldgen.models.runtime import with_runtime
from worldgen.paths import user_path
from worldgen.present.console import Reporter

if TYPE_CHECKING:
    from train.splat.optimizer import SplatOptimizer
    from worldgen.types import Scene

USAGE = """\
Fits 3D Gaussians to posed views, with or without corrections for views that disagree.

  python -m train.splat views=runs/venice                      a run folder of ours
  python -m train.splat views=data/garden correction=both      nerfstudio's transforms.json, or COLMAP's model
  python -m train.splat scene=room scene.warp_px=2             a scene of which everything is known
  python -m train.splat -m experiment=distortion_ablation      an experiment; hydra/launcher=slurm runs it as Slurm jobs
  python -m train.splat --cfg job                              every key and its value

The same command goes on with a fit that was stopped. Held-out views are scored every splat.evaluate_every steps and at
the end, and left in <out>/splat/held_out beside the true ones; the last line printed is one JSON object.

keys
  views      the folder of posed views
  out        the run folder; with -m the folder that holds one for each run (default: runs/splat-<the scene's name>)
  seed       another whole number gives another fit (default: 0)
  quiet      quiet=true prints nothing but errors and the last line
  splat.*    the fit, for example splat.steps=1000, splat.logger=wandb
  runtime.device   where it runs: auto (default: a GPU where there is one), cpu, cuda; no part of a fit's name or hash

groups and their choices (* = default), as group=choice; conf/<group>/<choice>.yaml tells what each key means
"""
UNDISTORTED_DIR = ".undistorted"  # in the run folder; may be deleted at any time
NAMES_NO_RUN = ("out", "quiet", "experiment", "runtime")
_SMALLER = "splat.max_gaussians=50000 density=none"
_NO_NUMBERS = (math.inf, -math.inf)  # of which JSON knows nothing: the PSNR of equal pictures


def main(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit status."""
    return command.begin(arguments, USAGE, partial(command.describe_groups, "train"), _obey, _SMALLER)


def _obey(arguments: Sequence[str]) -> None:
    scenes = [argument for argument in arguments if argument.startswith("scene=") and argument != "scene=folder"]
    if scenes and any(argument.startswith("views=") for argument in arguments):
        raise UserError(
            f"views: given beside {scenes[0]}, wanted one of them: views belong to scene=folder, the default"
        )
    # `views` alone is a group of the recipe's config, which Hydra would look for.
    arguments = [f"scene.{argument}" if argument.startswith("views=") else argument for argument in arguments]
    if any(argument.startswith("-") for argument in arguments):
        command.run_by_hydra(arguments, "train", job)
        return
    config = compose_program("train", arguments)
    _run(config, None if config.out is None else user_path(str(config.out)))


def job(config: DictConfig) -> None:
    """One run of a sweep."""
    command.hydra_job(config, _run, NAMES_NO_RUN, _SMALLER)


def _run(config: DictConfig, out: Path | None) -> None:
    """Makes, or finishes, one fit, and tells what came of it. Raises UserError."""
    _check(config)
    optimiser, make_scene = instantiate(config.splat), _with_cache(instantiate(config.scene), out, config.seed)
    reporter = Reporter(config.quiet)
    began = time.perf_counter()
    try:
        scene = _made(make_scene, config.seed)
        out = out or _default_out(scene.name, config.seed)
        reporter.note(f"{scene.name}: {len(scene.views)} views, {len(scene.held_out)} held out -> {out}")
        optimiser.import_fit()
        result = fit_into(out, scene, optimiser, config, reporter)
    finally:
        reporter.close()
    if not config.quiet:
        print(f"The Gaussians are in {out} ({time.perf_counter() - began:.0f} s)")
        print(f"  world.html, world.ply, world.spz to look at; or run: python -m worldgen.view {out}")
    told = {"run": str(out), "scene": scene.name, "correction": config.splat.correction.name, **result}
    print(json.dumps({name: None if value in _NO_NUMBERS else value for name, value in told.items()}))


def _default_out(scene_name: str, seed: int) -> Path:
    return RUNS_DIR / (f"splat-{scene_name}" + (f"-seed{seed}" if seed else ""))


def _with_cache(make_scene: Callable[[int], "Scene"], out: Path | None, seed: int) -> Callable[[int], "Scene"]:
    """Pictures that are undistorted are kept in the run folder."""
    from train.data.posed import FolderScene

    if not isinstance(make_scene, FolderScene):
        return make_scene
    return replace(make_scene, cache=(out or _default_out(make_scene.name, seed)) / UNDISTORTED_DIR)


@lru_cache(maxsize=1)
def _made(make_scene: Callable[[int], "Scene"], seed: int) -> "Scene":
    """A sweep asks for the same scene several times over."""
    return make_scene(seed)


def fit_into(
    out: Path, scene: "Scene", optimiser: "SplatOptimizer", config: DictConfig, reporter: Reporter
) -> dict[str, Any]:
    """The fit as a run folder, of which what stands already is kept; returns its facts."""
    from train.lightning.wandb_training import WandbTraining, training_steps
    from train.splat.export import export_world, files_of
    from train.splat.identity import fingerprint, scene_sha256
    from worldgen.io.gaussians import load_gaussians, save_gaussians
    from worldgen.runs.folder import RunFolder
    from worldgen.types import WorldFrame

    made_of = {name: OmegaConf.to_container(config[name], resolve=True) for name in ("scene", "splat")}
    made_of["seed"] = config.seed
    moved = {} if scene.frame == WorldFrame() else {"frame": asdict(scene.frame)}
    runtime = instantiate(config.runtime)
    metrics = [with_runtime(instantiate(metric), runtime) for metric in config.metric.values() if metric]

    def fit(folder: Path) -> dict[str, Any]:
        result = optimiser(scene, folder, reporter.track, config.seed, metrics, runtime)
        save_gaussians(folder / "gaussians.safetensors", result.gaussians)
        return result.facts

    def export(folder: Path) -> dict[str, Any]:
        return export_world(load_gaussians(out / "splat" / "gaussians.safetensors"), scene.frame, folder, scene.name)

    sha256, steps = scene_sha256(scene), ("splat", "export")
    identity = fingerprint(optimiser, scene, config.seed)
    training = WandbTraining(out, "fit", identity, made_of | moved, scene.name, sha256)
    with (
        RunFolder.open(out, sha256, scene.name) as folder,
        training_steps(optimiser.logger, training, steps, reporter.note) as log_step,
    ):
        with reporter.step(1, 2, "splat", "Gaussian splats") as line:
            line.result = folder.step("splat", made_of, (), fit, edited_ok=False)
        log_step(line.result)
        with reporter.step(2, 2, "export", "files to look at") as exported:
            exported.result = folder.step("export", moved, ("splat",), export)
        log_step(exported.result)
        for name in files_of(scene.frame):
            folder.link(name, "export", name)
    return line.result.facts


def _check(config: DictConfig) -> None:
    instantiate(config.runtime).expect_device_alone("python -m train.splat")
    fits = is_whole(config.seed) and 0 <= config.seed < 2**32
    expect("seed", config.seed, fits, "a whole number from 0, below 2^32")
    expect("out", config.out, config.out is None or bool(str(config.out)), "a folder")
    views = config.scene.get("views", "-")
    expect("views", "missing", bool(views), "views=<folder>, for example views=runs/venice")
