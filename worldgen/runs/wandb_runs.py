"""Weights & Biases as a second home for what a run folder holds: one W&B run for each world.

    python -m worldgen -m experiment=panorama_ablation images=photos logger=wandb

Its config is that of the whole run; each step adds a section of figures (`panorama/seconds`), the fit its curves, and
an evaluation, later, its scores (`score/brisque`). A sweep's runs share a group. Nothing here can end a run: where W&B
cannot be had, that is said and the recipe goes on.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, get_args

from worldgen.errors import expect, first_line
from worldgen.runs.folder import StepResult
from worldgen.runs.provenance import git_commit, machine, package_versions
from worldgen.runs.record import StepRecord
from worldgen.runs.steps_table import PANORAMA, SPLAT
from worldgen.runs.wandb_artifacts import ARTIFACT, ArtifactName, log_artifacts
from worldgen.runs.wandb_identity import Destination, WandbIdentity, kept, new_id, taken_up
from worldgen.runs.wandb_media import curves_of, log_curves, media_of
from worldgen.runs.wandb_names import ABOUT, WORLD, run_name, tags_of
from worldgen.runs.wandb_session import WAIT_S, expect_wandb
from worldgen.runs.wandb_steps import LoggedSteps, LogStep

if TYPE_CHECKING:
    import wandb
    from numpy import ndarray

_log = logging.getLogger("worldgen")
_NO_SETTINGS = ("image", "images", "out", "namesakes", "quiet", "logger", "chosen")


@dataclass(frozen=True)
class WorldRun:
    """A run of the recipe. config: plain and resolved; group: None = as `group_of` says; steps: that are asked for;
    chosen: names of the profile and the experiment; side_steps: renders [H, W, 3] uint8 from beside the photo's place,
    by name, once there are splats."""

    folder: Path
    photo: Path
    photo_sha256: str
    config: Mapping[str, Any]
    steps: Sequence[str]
    side_steps: "Callable[[], Mapping[str, ndarray]]" = dict

    @property
    def group(self) -> str:
        return self.config.get("group") or group_of(self.folder)


class Tracking(Protocol):
    """What a choice of the config group `logger` stands for."""

    def of_run(self, run: WorldRun, note: Callable[[str], None]) -> AbstractContextManager[LogStep]:
        """While it is open it logs every step's result in the run's folder. note: prints a line for the person."""


class NoTracking:
    """Logs nothing."""

    @contextmanager
    def of_run(self, run: WorldRun, note: Callable[[str], None]) -> Iterator[LogStep]:
        del run, note
        yield lambda result: None


@dataclass(frozen=True)
class WandbTracking:
    """project, entity, mode: as `Destination` has them; artifacts: files that W&B keeps; max_points: of a cloud, at
    most; wait_s: seconds that the end of a run waits for W&B, at most."""

    project: str | None = None
    entity: str | None = None
    mode: str | None = None
    artifacts: Sequence[ArtifactName] = ()
    max_points: int = 20_000
    wait_s: float = WAIT_S

    def __post_init__(self) -> None:
        expect_wandb("logger=wandb")
        expect("logger.max_points", self.max_points, self.max_points >= 1, "1 or more")
        expect("logger.wait_s", self.wait_s, self.wait_s > 0, "more than 0 seconds")
        names = get_args(ArtifactName)
        for name in self.artifacts:
            expect("logger.artifacts", name, name in names, f"some of {', '.join(names)}")
        _ = self.destination  # says what is wrong with it

    @property
    def destination(self) -> Destination:
        """Where at W&B its runs go."""
        return Destination(self.project, self.entity, self.mode)

    def of_run(self, run: WorldRun, note: Callable[[str], None]) -> AbstractContextManager[LogStep]:
        try:
            return _WorldSteps(self, run, note)
        except Exception as error:  # what the folder keeps of W&B cannot be read, say
            note(f"W&B cannot be had ({first_line(error)}); the run goes on")
            return NoTracking().of_run(run, note)


class _WorldSteps(LoggedSteps):
    """The steps of the recipe, with their pictures, points, curves and files."""

    def __init__(self, tracking: WandbTracking, run: WorldRun, note: Callable[[str], None]) -> None:
        self._tracking, self._run = tracking, run
        identity = taken_up(run.folder, world_identity(run, tracking.destination))
        config = {name: value for name, value in run.config.items() if name not in _NO_SETTINGS}
        super().__init__(
            run.folder,
            identity,
            tracking.destination,
            config | {ABOUT: about_world(run, identity)},
            run.steps,
            note,
            tracking.wait_s,
            tracking.artifacts,
        )

    def more_of(self, result: StepResult, record: StepRecord, state: str) -> "Callable[[wandb.Run], None]":
        pictures = self._side_steps() if result.name == SPLAT else {}  # here: two threads may not draw at once

        def log(run: "wandb.Run") -> None:
            log_curves(run, "fit", curves_of(result.path / "metrics.csv"))
            if media := media_of(result, self._tracking.max_points, pictures):
                run.log(media)
            for name in log_artifacts(run, self._tracking.artifacts, result, record, self._run.photo):
                self.has(f"{ARTIFACT}{name}", state)

        return log

    def _side_steps(self) -> "Mapping[str, ndarray]":
        try:
            return self._run.side_steps()
        except Exception as error:
            _log.warning("W&B: no side-steps: %s: %s", type(error).__name__, first_line(error))
            return {}


def world_identity(run: WorldRun, destination: Destination) -> WandbIdentity:
    """The W&B run that a world's folder would get if it had none."""
    config, where = run.config, destination.settled()
    heuristic, chosen = config[PANORAMA]["heuristic"], config.get("chosen") or {}
    name = run_name(run.folder, run.photo.stem, heuristic, config["seed"])
    tags = tags_of(*chosen.values(), run.photo.stem)
    return WandbIdentity(new_id(), WORLD, name, run.group, tags, where.project, where.entity)


def about_world(run: WorldRun, identity: WandbIdentity) -> dict[str, Any]:
    """What is no setting, and worth knowing of a run all the same; weights, by sha256, come with the steps."""
    chosen = run.config.get("chosen") or {}
    return {
        "run": run.folder.resolve().name,
        "folder": str(run.folder.resolve()),
        "image": str(run.photo),
        "photo": run.photo.name,
        "photo_sha256": run.photo_sha256,
        **chosen,
        "git_commit": git_commit(),
        "versions": package_versions(),
        "machine": machine(),
        "copied_from": identity.copied_from,
    }


def group_of(run_dir: Path) -> str:
    """The name of the folder that holds a sweep's run folders."""
    return run_dir.resolve().parent.name or "worldgen"


def logged_group(run_dir: Path) -> str:
    """The group that W&B has a world in, as its folder tells."""
    identity = kept(run_dir, WORLD)
    return identity.group if identity else group_of(run_dir)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a fact can be drawn as a curve or compared: true and false cannot."""
    return isinstance(value, int | float) and not isinstance(value, bool)
