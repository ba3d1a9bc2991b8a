"""The command line: `python -m worldgen image=photo.jpg`. One line and exit status 2 for what a person can mend."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from worldgen import command
from worldgen.config import compose, finish, namesakes
from worldgen.errors import UserError
from worldgen.paths import as_overrides, quote, user_path
from worldgen.present.console import Reporter

USAGE = """\
One photo becomes an explorable metric 3D world.

  python -m worldgen image=photo.jpg                      the world goes to runs/photo
  python -m worldgen image=photo.jpg out=runs/kitchen     or where you like
  python -m worldgen image=photo.jpg panorama=sequential  another choice for a step of the recipe
  python -m worldgen image=photo.jpg splat.steps=200      another value within a choice
  python -m worldgen -m image=a.jpg,b.jpg panorama=anchored,sequential    every combination, one after the other
  python -m worldgen -m hydra/launcher=slurm image=a.jpg,b.jpg            the same, as Slurm jobs
  python -m worldgen -m experiment=panorama_ablation images=photos        an experiment, for every photo of a folder
  python -m worldgen --cfg job                            every key and its value

Run the same command again to go on with a run that was stopped, or after editing a file of its folder: steps that are
done stay as they are. To look at a finished world: python -m worldgen.view runs/photo

keys
  image      the photo (JPEG, PNG, WebP, HEIC, TIFF and the like), or a whole 360-degree panorama
  images     a folder of photos, with -m: a run for each
  out        the run folder; with -m the folder that holds one for each run (default: runs/<the photo's name>)
  fov_deg    the photo's horizontal field of view in degrees (default: from its EXIF data)
  seed       another whole number gives another world (default: 0)
  until      the last step to make, for example until=panorama (default: all of them)
  group      with logger=wandb, what the runs of a sweep share (default: the name of the folder that holds out)
  quiet      quiet=true prints nothing but errors

groups and their choices (* = default), as group=choice; conf/<group>/<choice>.yaml tells what each key means
"""
NAMES_NO_RUN = ("image", "namesakes", "out", "quiet", "until", "experiment", "logger", "group")
_SMALLER = "panorama.width=1024"


def main(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit status."""
    return command.begin(arguments, USAGE, partial(command.describe_groups, "config"), _obey, _SMALLER)


def _obey(arguments: Sequence[str]) -> None:
    if any(argument.startswith("-") for argument in arguments):
        arguments = as_overrides([_each_photo(argument) for argument in arguments], several=True)
        if shared := namesakes(arguments):
            arguments.append(f"namesakes=[{','.join(map(quote, shared))}]")
        command.run_by_hydra(arguments, "config", job)
    else:
        _run(compose(None, arguments))


def job(config: DictConfig) -> None:
    """One run of a sweep."""

    def run() -> None:
        hydra_config = HydraConfig.get()
        in_sweep = hydra_config.mode == hydra.types.RunMode.MULTIRUN
        suffix = command.run_suffix(list(hydra_config.overrides.task), NAMES_NO_RUN) if in_sweep else ""
        _run(finish(config, suffix, hydra_config.runtime.choices))

    command.one_of_many(run, _SMALLER)


def _run(config: DictConfig) -> None:
    """Makes the world that `config` describes and says where it is."""
    image = Path(config.image)
    if not image.exists():
        several = " (-m takes a list of photos)" if "," in config.image else ""
        raise UserError(f"{image}: no such file, wanted a photo{several}")
    reporter = Reporter(config.quiet)
    reporter.note(f"{image} -> {config.out}")
    from worldgen import pipeline  # takes seconds, which mistakes in the command line need not

    began = time.perf_counter()
    try:
        root = pipeline.run(config, reporter).root
    finally:
        reporter.close()
    if not config.quiet:
        print(_where_it_is(root, time.perf_counter() - began))


def _where_it_is(root: Path, seconds: float) -> str:
    looks = {
        "world.html": f"open it in a browser to walk in it, or run: python -m worldgen.view {root}",
        "world_vr.html": f"the same with a headset: python -m worldgen.view {root} --https",
        "flythrough.mp4": "a walk as a video",
        "panorama.png": "the photo, all round",
        "report.html": "every step with its picture, time and memory",
        "world.ply": "for splat viewers; also world.spz, world.sog, and points.ply",
    }
    there = [(str(root / name), what) for name, what in looks.items() if (root / name).exists()]
    width = max((len(path) for path, _ in there), default=0)
    return "\n".join([f"The world is in {root} ({seconds:.0f} s)", *(f"  {p:<{width}}  {what}" for p, what in there)])


def _each_photo(argument: str) -> str:
    """`images=<folder>` as a sweep over the photos in it; other arguments as they are."""
    key, _, folder = argument.partition("=")
    if key != "images":
        return argument
    from worldgen.io.photo_folder import photos_in

    return "image=" + ",".join(quote(str(path)) for path in photos_in(user_path(folder)))
