"""The command line: `python -m worldgen image=photo.jpg`. One line and exit status 2 for what a person can mend."""

import errno
import hashlib
import os
import re
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from worldgen.config import CONF_DIR, check, compose, defaults, finish, groups, one_line_errors, parses
from worldgen.errors import UserError
from worldgen.progress import Reporter

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
  image      the photo (JPEG, PNG, WebP, TIFF and the like)
  images     a folder of photos, with -m: a run for each
  out        the run folder; with -m the folder that holds one for each run (default: runs/<the photo's name>)
  fov_deg    the photo's horizontal field of view in degrees (default: from its EXIF data)
  seed       another whole number gives another world (default: 0)
  until      the last step to make, for example until=panorama (default: all of them)
  group      with logger=wandb, what the runs of a sweep share (default: the name of the folder that holds out)
  quiet      quiet=true prints nothing but errors

groups and their choices (* = default), as group=choice; conf/<group>/<choice>.yaml tells what each key means
"""
_STATUS_USER_ERROR, _STATUS_INTERRUPTED = 2, 130
_NAMES_NO_RUN = ("image", "out", "quiet", "until", "experiment", "logger", "group")
_OUT_OF_MEMORY = "not enough memory; smaller sizes need less, for example panorama.width=1024"


class RunFailedError(Exception):
    """One run of a sweep failed, and where it ran has said why."""


def main(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit status."""
    if not arguments or {"-h", "--help"}.intersection(arguments):
        print(USAGE + _describe_groups())
        return 0 if arguments else _STATUS_USER_ERROR
    if "--version" in arguments:
        print(f"worldgen {metadata.version('worldgen')}")
        return 0
    with_hydra = any(argument.startswith("-") for argument in arguments)
    try:
        with _one_line_errors():
            _run_by_hydra(arguments) if with_hydra else _run(compose(*_take_paths(arguments)))
    except RunFailedError as error:
        print(f"not every run came out; the first that did not: {error}", file=sys.stderr)
        return _STATUS_USER_ERROR
    except UserError as error:
        _tell(error)
        return _STATUS_USER_ERROR
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return _STATUS_INTERRUPTED
    return 0


def job(config: DictConfig) -> None:
    """One run of a sweep, in this process or in a Slurm job. Its failure does not keep the others from running."""
    task = list(HydraConfig.get().overrides.task)
    try:
        with _one_line_errors():
            in_sweep = HydraConfig.get().mode == hydra.types.RunMode.MULTIRUN
            _run(finish(config, run_suffix(task) if in_sweep else ""))
    except UserError as error:
        _tell(error)
        raise RunFailedError(str(error)) from error


def run_suffix(overrides: Sequence[str]) -> str:
    """A folder name for the overrides of one run of a sweep, another one for each."""
    telling = [override for override in overrides if re.split("[.=]", override)[0] not in _NAMES_NO_RUN]
    exact = "-".join(telling) or "default"
    safe = re.sub(r"[^\w.=+-]", "_", exact)
    if safe == exact and len(safe) <= 100:
        return safe
    return f"{safe[:100]}-{hashlib.sha256(exact.encode()).hexdigest()[:6]}"


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
        "flythrough.mp4": "a walk as a video",
        "panorama.png": "the photo, grown all round",
        "report.html": "every step with its picture, time and memory",
        "world.ply": "for splat viewers; also world.spz, and points.ply",
    }
    there = [(str(root / name), what) for name, what in looks.items() if (root / name).exists()]
    width = max((len(path) for path, _ in there), default=0)
    return "\n".join([f"The world is in {root} ({seconds:.0f} s)", *(f"  {p:<{width}}  {what}" for p, what in there)])


def _take_paths(arguments: Sequence[str]) -> tuple[str | None, list[str], str | None]:
    """`image=` and `out=` as they stand, whatever signs are in the names; Hydra's grammar would refuse some."""
    paths = dict(argument.split("=", 1) for argument in arguments if argument.startswith(("image=", "out=")))
    others = [argument for argument in arguments if not argument.startswith(("image=", "out="))]
    return paths.get("image"), others, paths.get("out")


def _run_by_hydra(arguments: Sequence[str]) -> None:
    """Sweeps, `--cfg`, `--info`, shell completion: Hydra's own command line."""
    arguments = [_readable(argument) for argument in arguments]
    if not any(argument.startswith(("--config", "-cd", "-cn", "-cp")) for argument in arguments):
        check([argument for argument in arguments if "=" in argument and not argument.startswith("-")], sweep=True)
    arguments = [_each_photo(argument) for argument in arguments]
    _expect_slurm(arguments)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its exceptions on instead of printing them
    sys.argv = ["worldgen", *arguments]
    hydra.main(version_base="1.3", config_path=str(CONF_DIR.resolve()), config_name="config")(job)()


def _each_photo(argument: str) -> str:
    """`images=<folder>` as a sweep over the photos in it; other arguments as they are."""
    key, _, folder = argument.partition("=")
    if key != "images":
        return argument
    from worldgen.photo import photos_in

    return "image=" + ",".join(_quote(str(path)) for path in photos_in(Path(folder).expanduser()))


def _readable(argument: str) -> str:
    """Photos and folders with signs in their names that Hydra's grammar does not know, quoted; the rest as it is."""
    key, _, value = argument.partition("=")
    if key not in ("image", "out") or parses(argument):
        return argument
    one = key == "out" or Path(value).expanduser().exists()
    return f"{key}=" + ",".join(_quote(part) for part in ([value] if one else value.split(",")))


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _expect_slurm(arguments: Sequence[str]) -> None:
    """Raises UserError where jobs are wanted and nobody takes them."""
    if "hydra/launcher=slurm" in arguments and not shutil.which("srun"):
        raise UserError("hydra/launcher=slurm: no srun here, wanted a machine of the Slurm cluster")


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turns what a person can mend, and libraries report in their own ways, into UserErrors."""
    try:
        with one_line_errors():
            yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG):
            raise
        raise UserError(f"{error.filename or 'disk'}: {error.strerror}") from error
    except MemoryError as error:
        raise UserError(_OUT_OF_MEMORY) from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error) and "out of memory" not in str(error):
            raise
        raise UserError(_OUT_OF_MEMORY) from error


def _tell(error: UserError) -> None:
    print(f"error: {error}", file=sys.stderr)
    if os.environ.get("WORLDGEN_TRACEBACK"):
        traceback.print_exception(error)


def _describe_groups() -> str:
    picked = defaults()
    width = max(map(len, groups()))
    return "\n".join(
        f"  {group:<{width}}  {', '.join(choice + '*' * (picked[group] == choice) for choice in choices)}"
        for group, choices in groups().items()
    )
