"""Weights & Biases as a second home for what a run folder holds: one W&B run for each step of the recipe.

    python -m worldgen -m experiment=panorama_ablation images=photos logger=wandb

A sweep's runs share a group; a step's name is its job type; its id follows from the run folder, so that a requeued job
goes on with the same W&B run. Nothing here can end a run: where W&B cannot be had, that is said and the recipe goes on.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, cast

from worldgen.errors import UserError, expect
from worldgen.runs.disk import write_text
from worldgen.runs.folder import StepResult, load_json_or_nothing
from worldgen.runs.record import StepRecord, hash_of, load_record, look
from worldgen.runs.steps_table import COMPLETE, DEPTH, LIFT, PANORAMA, REFINE

if TYPE_CHECKING:
    import wandb

PICTURES = {PANORAMA: "panorama.png", REFINE: "panorama.png", DEPTH: "distance.png"}
CLOUDS = {LIFT: "cloud.safetensors", COMPLETE: "cloud.safetensors"}
_INIT_TIMEOUT_S, _FINISH_TIMEOUT_S = 60, 300
_log = logging.getLogger("worldgen")


class Tracking(Protocol):
    """What a choice of the config group `logger` stands for."""

    def of_run(
        self, run_dir: Path, photo: str, group: str | None, note: Callable[[str], None]
    ) -> Callable[[StepResult], None]:
        """What logs every step's result in the run folder `run_dir`.

        photo: its file name; group: see `group_of`; note: prints a line for the person."""


class NoTracking:
    """Logs nothing."""

    def of_run(
        self, run_dir: Path, photo: str, group: str | None, note: Callable[[str], None]
    ) -> Callable[[StepResult], None]:
        del run_dir, photo, group, note
        return lambda result: None


@dataclass(frozen=True)
class WandbTracking:
    """project, entity: as W&B means them; None = as the account says. max_points: of a cloud, at most."""

    project: str | None = "worldgen"
    entity: str | None = None
    max_points: int = 50_000

    def __post_init__(self) -> None:
        expect_wandb("logger=wandb")
        expect("logger.max_points", self.max_points, self.max_points >= 1, "1 or more")

    def of_run(
        self, run_dir: Path, photo: str, group: str | None, note: Callable[[str], None]
    ) -> Callable[[StepResult], None]:
        return _WandbSteps(self, run_dir, photo, group or group_of(run_dir), note)


class _WandbSteps:
    """Logs each step once for each state of its files; what W&B missed is logged when the command runs again."""

    def __init__(
        self, settings: WandbTracking, run_dir: Path, photo: str, group: str, note: Callable[[str], None]
    ) -> None:
        self._settings, self._run_dir, self._photo, self._group, self._note = settings, run_dir, photo, group, note
        self._out_of_reach = self._said_where = False

    def __call__(self, result: StepResult) -> None:
        if self._out_of_reach:  # each further try would cost its time-out
            return
        try:
            self._log_once(result)
        except Exception as error:
            self._out_of_reach = True
            _log.warning("W&B: step %s was not logged: %s: %s", result.name, type(error).__name__, error)
            self._note(f"W&B cannot be had ({one_line(error)}); the run goes on, the same command logs it later")

    def _log_once(self, result: StepResult) -> None:
        record = load_record(result.path)
        state = hash_of([record.key, look(result.path, record.files).sha256])
        marks = self._run_dir / "wandb" / "logged.json"
        logged = load_json_or_nothing(marks)
        if logged.get(result.name) == state:
            return
        with wandb_run(
            self._run_dir,
            job_type=result.name,
            group=self._group,
            name=f"{self._run_dir.resolve().name}/{result.name}",
            config=self._config(result, record),
            project=self._settings.project,
            entity=self._settings.entity,
        ) as run:
            self._fill(run, result)
            if run.disabled:  # by WANDB_MODE: nothing is kept anywhere
                return
            self._say_where(run)
        marks.parent.mkdir(exist_ok=True)
        write_text(marks, json.dumps(logged | {result.name: state}, indent=1) + "\n")

    def _say_where(self, run: "wandb.Run") -> None:
        if not self._said_where:
            later = f"offline; later: wandb sync {self._run_dir}/wandb/offline-run-*"
            self._note(f"W&B: {later if run.offline else run.url}")
            self._said_where = True

    def _config(self, result: StepResult, record: StepRecord) -> dict[str, Any]:
        about = {"run": self._run_dir.resolve().name, "photo": self._photo, "step": result.name}
        return about | record.config | {"versions": record.versions}

    def _fill(self, run: "wandb.Run", result: StepResult) -> None:
        import wandb

        facts = {**result.facts, "seconds": result.seconds, "peak_memory_mb": result.peak_memory_mb}
        figures = {name: value for name, value in facts.items() if is_number(value)}
        media: dict[str, Any] = {}
        picture = result.path / PICTURES.get(result.name, "")
        if picture.is_file():
            media[picture.stem] = wandb.Image(str(picture))
        cloud = result.path / CLOUDS.get(result.name, "")
        if cloud.is_file() and (points := points_of(cloud, self._settings.max_points)) is not None:
            media["cloud"] = wandb.Object3D(points)
        run.log(figures | media)
        run.summary.update({name: value for name, value in facts.items() if name not in figures})


def expect_wandb(setting: str) -> None:
    """Raises UserError where the package is missing. setting: what asked for it."""
    if find_spec("wandb") is None:
        raise UserError(f"{setting}: the package wandb is not installed, wanted pip install 'worldgen[wandb]'")


def group_of(run_dir: Path) -> str:
    """The name of the folder that holds a sweep's run folders."""
    return run_dir.resolve().parent.name or "worldgen"


def run_id(folder: Path, job_type: str) -> str:
    """The id of a folder's W&B run, the same whenever and wherever it is asked for; never longer than 64 characters."""
    place = folder.resolve()
    readable = re.sub(r"[^\w-]+", "_", place.name, flags=re.ASCII)[:32]
    return f"{readable}-{job_type[:16]}-{hashlib.sha256(os.fsencode(f'{place}/{job_type}')).hexdigest()[:12]}"


@contextmanager
def wandb_run(
    folder: Path,
    *,
    job_type: str,
    group: str,
    name: str,
    config: Mapping[str, Any],
    project: str | None,
    entity: str | None,
) -> Iterator["wandb.Run"]:
    """Begins, or goes on with, the W&B run of `folder` and `job_type`; its files go to `folder`/wandb.

    It is a run beside whatever other one this process may have. Raises what wandb raises, and UserError for names that
    its files cannot hold.
    """
    import wandb

    for text in (str(folder), group, name):
        _expect_utf8(text)

    settings = wandb.Settings(
        console="off",  # what a step prints is in log.txt
        silent=True,
        disable_git=True,
        save_code=False,
        x_disable_stats=True,
        x_save_requirements=False,
        init_timeout=_INIT_TIMEOUT_S,
        finish_timeout=_FINISH_TIMEOUT_S,
        finish_timeout_raises=True,
    )
    run = wandb.init(
        id=run_id(folder, job_type),
        resume="allow",
        reinit="create_new",
        mode=cast(Any, os.environ.get("WANDB_MODE")),  # which wandb itself reads once in a process
        job_type=job_type,
        group=group,
        name=name,
        config=dict(config),
        project=project,
        entity=entity,
        dir=str(folder),
        settings=settings,
    )
    try:
        yield run
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish()


def _expect_utf8(name: str) -> None:
    """Raises UserError for bytes of another encoding, of which W&B's own log would complain line by line."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{name}: not UTF-8, wanted a name that is") from error


def points_of(path: Path, most: int) -> "Any | None":
    """A cloud's points as W&B shows them: [N, 6] metres and 0..255 colours, y up, z backward; None without any.

    At most `most`, drawn at random, the same ones every time. Rounded to millimetres: they are kept as text.
    """
    import numpy as np
    import torch

    from worldgen.io.clouds import load_cloud

    cloud = load_cloud(path)
    if not len(cloud):
        return None
    drawn = torch.randperm(len(cloud), generator=torch.Generator().manual_seed(0))[:most].sort().values
    place = cloud.xyz[drawn].double().numpy() * [1, -1, -1]
    colour = (cloud.rgb[drawn].clamp(0, 1) * 255).round().double().numpy()
    return np.concatenate([place.round(3), colour], axis=1)


def one_line(error: BaseException) -> str:
    """An exception's first line, without a full stop."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a fact can be drawn as a curve or compared: true and false cannot."""
    return isinstance(value, int | float) and not isinstance(value, bool)
