"""The runs of an experiment as its sweep would make them: command, folders, and what keeps them from running here.

part = Part("experiment=panorama_ablation", photos, Path("runs/panorama_ablation"), ("profile=paper",))
part.planned()                 # run folders, each with its own settings
part.command()                 # what makes those that are missing
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from eval.protocols.runs import is_run, read_run
from worldgen.cli import NAMES_NO_RUN
from worldgen.command import run_suffix
from worldgen.config import CONF_DIR, check, compose, namesakes
from worldgen.errors import UserError
from worldgen.io.photo_folder import photos_in
from worldgen.paths import as_overrides, quote
from worldgen.pipeline import networks_of_hub, steps_until
from worldgen.runs.naming import run_folder

_NO_SETTING = ("hydra/", "hydra.")


@dataclass(frozen=True)
class Planned:
    """One run of a sweep. overrides: its own, photo aside; last: the step that it shall have finished."""

    folder: Path
    overrides: tuple[str, ...]
    last: str

    @property
    def state(self) -> str:
        """`finished`, `begun` or `missing`."""
        if not is_run(self.folder):
            return "begun" if self.folder.is_dir() else "missing"
        try:
            return "finished" if self.last in read_run(self.folder).finished else "begun"
        except UserError:
            return "begun"


@dataclass(frozen=True)
class Part:
    """One sweep. experiment: a file of conf/experiment; photos: a folder of them; out: holds the run folders;
    overrides: what the person adds, as on worldgen's command line."""

    experiment: str
    photos: Path
    out: Path
    overrides: tuple[str, ...] = ()

    def planned(self) -> list[Planned]:
        """Its runs, in the sweep's order. Raises UserError for what cannot be composed, and without photos."""
        photos = [str(photo) for photo in photos_in(self.photos)]
        images = f"image={','.join(map(quote, photos))}"
        given = as_overrides([f"experiment={self.experiment}", *self.overrides], several=True)
        check([override for override in given if not override.startswith("hydra/")], sweep=True)
        shared = namesakes([images])
        found = []
        for single in _combinations([*_params(self.experiment), *given]):
            settings = [override for override in single if not override.startswith(_NO_SETTING)]
            last = steps_until(compose("photo.jpg", settings).until)[-1].name
            suffix = run_suffix(settings, NAMES_NO_RUN)
            for photo in photos:
                folder = run_folder(self.out, Path(photo), suffix, shared)
                found.append(Planned(folder, tuple(settings), last))
        return found

    def command(self, more: Sequence[str] = ()) -> list[str]:
        """The sweep's command line, as words. more: further overrides, and what narrows the sweep."""
        places = [f"images={self.photos}", f"out={self.out}"]
        return ["python", "-m", "worldgen", "-m", f"experiment={self.experiment}", *places, *self.overrides, *more]


def shown(command: Sequence[str]) -> str:
    """A command as a shell takes it."""
    return shlex.join(command)


@lru_cache
def lacking(overrides: tuple[str, ...]) -> tuple[str, ...]:
    """Why a run with these overrides cannot start here: a line for each network whose weights are absent, or for a
    setting that an adapter cannot fulfil."""
    try:
        reasons = [adapter.unavailable() for adapter in networks_of_hub(compose("photo.jpg", overrides))]
    except UserError as error:
        return (str(error),)
    return tuple(dict.fromkeys(reason for reason in reasons if reason))


def without_controlnet(overrides: Sequence[str]) -> bool:
    """Whether runs would be completed by the inpainter alone, for no ControlNet is named."""
    completer = compose("photo.jpg", overrides).completer
    return "controlnet" in completer and completer.controlnet is None and completer.path is None


def _params(experiment: str) -> list[str]:
    """What an experiment sweeps over, as overrides."""
    content = OmegaConf.load(CONF_DIR / "experiment" / f"{experiment}.yaml")
    return [f"{key}={value}" for key, value in content.hydra.sweeper.params.items()]


def _combinations(overrides: Sequence[str]) -> Iterator[list[str]]:
    """As Hydra's own sweeper has them: a later override of a key takes the place of the earlier one."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    yield from BasicSweeper.split_arguments(parsed, None)[0]
