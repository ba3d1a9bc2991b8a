"""A training's run at W&B: its settings, and the steps of its run folder, which hold what came of it.

with training_steps("wandb", WandbTraining(run_dir, "fit", identity, settings), ("splat",), note) as log_step:
    log_step(folder.step("splat", ...))     # in which `logging_to` logs its curves
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from logging import getLogger
from pathlib import Path
from typing import Any

from train.lightning.settings import LoggerName
from worldgen.errors import first_line
from worldgen.runs.provenance import git_commit, machine, package_versions
from worldgen.runs.wandb_identity import Destination, WandbIdentity, new_id, taken_up
from worldgen.runs.wandb_names import ABOUT, tags_of
from worldgen.runs.wandb_runs import group_of
from worldgen.runs.wandb_session import WandbSession, open_session, wandb_session
from worldgen.runs.wandb_steps import LoggedSteps, LogStep

_log = getLogger("worldgen")


@dataclass(frozen=True)
class WandbTraining:
    """job_type: its kind; made_of: its identity, of which another training in the same folder has another one;
    settings: become the run's config; photo, photo_sha256: the scene that it is of, where it is of one."""

    run_dir: Path
    job_type: str
    made_of: str
    settings: Mapping[str, Any]
    photo: str = ""
    photo_sha256: str = ""

    @cached_property
    def where(self) -> Destination:
        """Where at W&B it goes, by the environment."""
        return Destination().settled()

    @property
    def identity(self) -> WandbIdentity:
        """The run that it is, or goes on with."""
        wanted = WandbIdentity(
            new_id(),
            self.job_type,
            f"{self.run_dir.resolve().name} · {self.job_type}",
            group_of(self.run_dir),
            tags_of(self.job_type),
            self.where.project,
            self.where.entity,
            made_of=self.made_of,
        )
        return taken_up(self.run_dir, wanted)

    @property
    def config(self) -> dict[str, Any]:
        """Settings, and what else is worth knowing of it."""
        about = {
            "run": self.run_dir.resolve().name,
            "folder": str(self.run_dir.resolve()),
            "photo": self.photo,
            "photo_sha256": self.photo_sha256,
            "git_commit": git_commit(),
            "versions": package_versions(),
            "machine": machine(),
        }
        return {**self.settings, ABOUT: about}

    @contextmanager
    def session(self) -> Iterator[WandbSession]:
        """The session that this process has open for the run folder, a world's or the training's, or else a new one."""
        session = open_session(self.run_dir)
        if session is not None:
            yield session
            return
        with wandb_session(self.run_dir, self.identity, self.where, self.config, _log.warning) as session:
            yield session


def training_steps(
    logger: LoggerName, training: WandbTraining, steps: Collection[str], note: Callable[[str], None]
) -> AbstractContextManager[LogStep]:
    """While it is open, steps of the run folder are logged, and curves go to the same W&B run; nothing where `logger`
    is not wandb. steps: that are asked for. note: prints a line for the person."""
    if logger == "wandb":
        try:
            return LoggedSteps(training.run_dir, training.identity, training.where, training.config, steps, note)
        except Exception as error:  # what the folder keeps of W&B cannot be read, say
            note(f"W&B cannot be had ({first_line(error)}); the run goes on")
    return nullcontext(lambda result: None)
