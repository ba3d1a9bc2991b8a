"""The command line of the small inpainter's training: `python -m train.small_diffusion out=<folder>`."""

import json
from collections.abc import Sequence
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from worldgen import command
from worldgen.config import RUNS_DIR, compose_program, instantiate
from worldgen.errors import expect, is_whole
from worldgen.paths import user_path
from worldgen.present.console import Reporter

USAGE = """\
Trains the small inpainting network that a machine without a GPU can run, from panoramas of free licences.

  python -m train.small_diffusion out=runs/small_diffusion      all of it: an autoencoder, then the network
  python -m train.small_diffusion --cfg job                     every key and its value

The same command goes on with a training that was stopped. <out>/inpainter/pipeline is in the layout of diffusers'
StableDiffusionInpaintPipeline: inpainter=small_diffusion inpainter.path=<that folder> paints with it. The last line
printed is one JSON object.

keys
  out        the run folder (default: runs/small_diffusion)
  seed       another whole number gives other networks (default: 0)
  quiet      quiet=true prints nothing but errors and the last line
  pictures.*, training.*   what is learnt from, and how long; conf/small_diffusion.yaml tells what each key means
  runtime.device   where it runs: auto (default: a GPU where there is one), cpu, cuda; no part of the result's name

groups and their choices (* = default), as group=choice
"""
_ROOT = "small_diffusion"
_SMALLER = "training.denoiser.batch=8"


def main(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit status."""
    arguments = list(arguments) or ["quiet=false"]
    return command.begin(arguments, USAGE, partial(command.describe_groups, _ROOT), _obey, _SMALLER)


def _obey(arguments: Sequence[str]) -> None:
    if any(argument.startswith("-") for argument in arguments):
        command.run_by_hydra(arguments, _ROOT, _run)
        return
    _run(compose_program(_ROOT, arguments))


def _run(config: DictConfig) -> None:
    """Trains, or goes on, and tells what came of it. Raises UserError."""
    fits = is_whole(config.seed) and 0 <= config.seed < 2**32
    expect("seed", config.seed, fits, "a whole number from 0, below 2^32")
    instantiate(config.runtime).expect_device_alone("python -m train.small_diffusion")
    out = RUNS_DIR / _ROOT if config.out is None else user_path(str(config.out))
    reporter = Reporter(config.quiet)
    try:
        facts = train_into(out, config, reporter)
    finally:
        reporter.close()
    print(json.dumps({"run": str(out), **facts}))


def train_into(out: Path, config: DictConfig, reporter: Reporter) -> dict[str, Any]:
    """The networks as a run folder, of which what stands already is kept; returns the facts of its steps."""
    from train.small_diffusion.stages import encode_latents, train_autoencoder, train_denoiser
    from worldgen.runs.folder import RunFolder

    settings = instantiate(config.training)
    device = instantiate(config.runtime).torch_device
    plain: Any = OmegaConf.to_container(config, resolve=True)
    data = {"pictures": plain["pictures"], "seed": config.seed}
    pictures = cache(partial(instantiate, config.pictures))
    told, track, seed = {}, reporter.track, config.seed
    with RunFolder.open(out, sha256(_ROOT.encode()).hexdigest(), _ROOT) as folder:
        here = partial(folder.path, filename="")

        def autoencoder(fresh: Path) -> dict[str, Any]:
            return train_autoencoder(settings, pictures(), fresh, track, seed, device, made_of)

        def latents(fresh: Path) -> dict[str, Any]:
            return encode_latents(settings, pictures(), here("autoencoder"), fresh, track, seed, device)

        def inpainter(fresh: Path) -> dict[str, Any]:
            return train_denoiser(settings, here("autoencoder"), here("latents"), fresh, track, seed, device, made_of)

        steps = (
            ("autoencoder", "pictures as few numbers", "autoencoder", (), autoencoder),
            ("latents", "pictures and masks, encoded", "pool", ("autoencoder",), latents),
            ("inpainter", "the network itself", "denoiser", ("autoencoder", "latents"), inpainter),
        )
        for number, (name, title, key, inputs, make) in enumerate(steps, start=1):
            made_of = {**data, key: plain["training"][key]}
            with reporter.step(number, len(steps), name, title) as line:
                line.result = folder.step(name, made_of, inputs, make, edited_ok=False)
            told[name] = {**line.result.facts, "seconds": round(line.result.seconds, 1)}
    return told
