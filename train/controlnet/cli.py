"""The command line of a ControlNet's training: `python -m train.controlnet data=<choice> inpainter=<choice>`."""

import hashlib
import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from train.controlnet.settings import DECIDES_NOTHING
from worldgen import command, slurm
from worldgen.config import RUNS_DIR, compose_program, instantiate
from worldgen.errors import UserError, expect, is_whole
from worldgen.paths import user_path
from worldgen.present.console import Reporter

USAGE = """\
Trains a ControlNet that completes views from the points that are seen in them (arXiv 2503.16611, step 8).

  python -m train.controlnet data=runs data.scenes.folders=runs    our own runs; needs SDXL inpainting's weights
  python -m train.controlnet experiment=fb_warp data=dl3dv         as the paper does it, on DL3DV-10K
  python -m train.controlnet -m hydra/launcher=slurm ...           as a Slurm job; slurm/controlnet.sbatch: on many
  python -m train.controlnet --cfg job                             every key and its value

The same command goes on with a training that was stopped. <out>/controlnet is what the recipe takes:
completer=controlnet completer.path=<out>/controlnet. The last line printed is one JSON object.

keys
  out            the run folder; with -m the folder that holds one for each run (default: runs/controlnet-...)
  seed           another whole number gives another training (default: 0)
  quiet          quiet=true prints nothing but errors and the last line
  controlnet.*   the training, for example controlnet.steps=1000, controlnet.logger=wandb
  data.*         what it is trained on, for example data.warp=forward
  runtime.*      where the frozen networks run, and their precision; no part of a training's name or hash

groups and their choices (* = default), as group=choice; conf/<group>/<choice>.yaml tells what each key means
"""
STEP = "controlnet"
NAMES_NO_RUN = ("out", "quiet", "experiment", "runtime")
_SMALLER = "controlnet.batch=1"


def main(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit status."""
    slurm.heed_warning()
    return command.begin(arguments, USAGE, partial(command.describe_groups, "controlnet"), _obey, _SMALLER)


def _obey(arguments: Sequence[str]) -> None:
    if any(argument.startswith("-") for argument in arguments):
        command.run_by_hydra(arguments, "controlnet", job)
        return
    config = compose_program("controlnet", arguments)
    _run(config, None if config.out is None else user_path(str(config.out)))


def job(config: DictConfig) -> None:
    """One run of a sweep."""
    command.hydra_job(config, _run, NAMES_NO_RUN, _SMALLER)


def _run(config: DictConfig, out: Path | None) -> None:
    """Makes, or finishes, one training, and tells what came of it. Raises UserError."""
    fits = is_whole(config.seed) and 0 <= config.seed < 2**32
    expect("seed", config.seed, fits, "a whole number from 0, below 2^32")
    expect("out", config.out, config.out is None or bool(str(config.out)), "a folder")
    made_of = _made_of(config)
    out = out or RUNS_DIR / f"controlnet-{config.data.warp}-{_sha256(made_of)[:6]}"
    reporter = Reporter(config.quiet)
    began = time.perf_counter()
    try:
        facts = _train(out, config, made_of, reporter)
    finally:
        reporter.close()
    if facts is None:  # another process of this training tells
        return
    if not config.quiet:
        print(f"The ControlNet is in {out / STEP} ({time.perf_counter() - began:.0f} s)")
        print(f"  python -m worldgen image=photo.jpg completer=controlnet completer.path={out / STEP}")
    print(json.dumps({"run": str(out), "warp": config.data.warp, "seed": config.seed, **facts}))


def _made_of(config: DictConfig) -> dict[str, Any]:
    """The part of the config that decides which weights come out."""
    # Processes count: together they make a step's batch.
    parts: dict[str, Any] = {
        name: OmegaConf.to_container(config[name], resolve=True) for name in ("data", "inpainter", "controlnet")
    }
    for name in DECIDES_NOTHING:
        del parts["controlnet"][name]
    return {**parts, "seed": config.seed}


def _train(out: Path, config: DictConfig, made_of: dict[str, Any], reporter: Reporter) -> dict[str, Any] | None:
    """Facts of the training in the run folder `out`; None in processes that only help with it."""
    settings, runtime = instantiate(config.controlnet), instantiate(config.runtime)
    inpainter = _inpainter(config)
    data = instantiate(config.data)
    from train.controlnet.training import identity_of, train_controlnet
    from train.lightning.trainer import is_first
    from train.lightning.wandb_training import WandbTraining, training_steps
    from worldgen.progress import untracked
    from worldgen.runs.contents import contents_of, with_contents
    from worldgen.runs.folder import RunFolder
    from worldgen.runs.record import is_made

    read = with_contents(made_of, contents_of(made_of, {}))  # a checkpoint serves no other weights at the same place
    if not is_first():
        if not is_made(out / STEP, made_of):
            train_controlnet(settings, data, inpainter, read, out / STEP, runtime, untracked, config.seed)
        return None
    reporter.note(f"{len(data.scenes)} scenes, {config.data.warp} -> {out}")

    def fit(folder: Path) -> dict[str, Any]:
        return train_controlnet(settings, data, inpainter, read, folder, runtime, reporter.track, config.seed)

    told = made_of | {"controlnet": OmegaConf.to_container(config.controlnet, resolve=True)}
    training = WandbTraining(out, "controlnet", identity_of(settings, read, config.seed), told)
    with (
        RunFolder.open(out, _sha256(config.data), "data") as folder,
        training_steps(settings.logger, training, (STEP,), reporter.note) as log_step,
    ):
        with reporter.step(1, 1, STEP, "ControlNet") as line:
            line.result = folder.step(STEP, made_of, (), fit, edited_ok=False, assets=inpainter.versions())
        log_step(line.result)
    return line.result.facts


def _inpainter(config: DictConfig) -> Any:
    from worldgen.models.diffusion import DiffusionInpainter

    inpainter = instantiate(config.inpainter)
    name = type(inpainter).__name__
    fits = isinstance(inpainter, DiffusionInpainter)
    expect("inpainter", name, fits, "a diffusion inpainter of SDXL or Stable Diffusion, such as inpainter=sdxl")
    if why := inpainter.unavailable():
        raise UserError(why)
    return inpainter


def _sha256(content: Any) -> str:
    plain = OmegaConf.to_container(content, resolve=True) if isinstance(content, DictConfig) else content
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()
