"""One training, set up so that it may be killed at any moment and goes on when it is called again.

with quiet_lightning(), logging_to("csv", out_dir, identity, settings) as logger:
    train_module(module, batches, TrainingSettings(steps), out_dir, identity, logger, track)
drop_checkpoints(out_dir)     # once what came of it is on the disk
"""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.utilities import rank_zero_only

from train.lightning.bar import ProgressBar
from train.lightning.checkpoints import AtomicCheckpointIO, RegularCheckpoints, newest_sound
from train.lightning.loggers import StepCurves
from train.lightning.module import LoggedModule
from train.lightning.settings import TrainingSettings
from train.lightning.signals import StopWhenAsked, stoppable
from worldgen.progress import Track, untracked


def train_module(
    module: LoggedModule,
    batches: Iterable[Any],
    settings: TrainingSettings,
    out_dir: Path,
    identity: str,
    logger: Logger | bool = False,
    track: Track = untracked,
    callbacks: Sequence[pl.Callback] = (),
) -> None:
    """Runs what is left of the optimisation, from the newest sound checkpoint of this `identity`; checkpoints of other
    identities in the same folder are thrown away.

    What a step sees must follow from its number (`module.global_step`), not from how many batches this process drew.
    callbacks: called after the loss curve, before the checkpoint of their step. Raises UserError where a checkpoint is
    that of another model.
    """
    if not settings.steps:
        return
    folder = checkpoint_folder(out_dir)
    for other in folder.glob("*"):
        if other.name != identity and is_first():
            shutil.rmtree(other, ignore_errors=True)
    saved = RegularCheckpoints(folder / identity, settings.checkpoint_every)
    with stoppable() as stop:
        trainer = pl.Trainer(
            max_steps=settings.steps,
            logger=logger,
            callbacks=[
                StepCurves(settings.loss_every),
                *callbacks,
                saved,
                ProgressBar(track, settings.steps, settings.what),
                StopWhenAsked(stop, saved.save),
            ],
            plugins=[AtomicCheckpointIO(module.state_dict()), *_environment()],
            default_root_dir=out_dir,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **{"devices": 1, **settings.trainer},
        )
        trainer.fit(module, batches, ckpt_path=newest_sound(folder / identity))


def _environment() -> list[SLURMEnvironment]:
    """In a Slurm job, Lightning's own way with signals is turned off: it knows nothing of our checkpoints."""
    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []


def is_first() -> bool:
    """Whether this process is the only one of its training, or the one that writes files."""
    return getattr(rank_zero_only, "rank", 0) == 0


def checkpoint_folder(out_dir: Path) -> Path:
    """Beside the folder of the results, so that they outlive it, under a name that nobody gives to what is their own;
    a folder for each identity in it."""
    return out_dir.parent / ".checkpoints"


def drop_checkpoints(out_dir: Path) -> None:
    """Removes all that were written while the results of `out_dir` were made."""
    shutil.rmtree(checkpoint_folder(out_dir), ignore_errors=True)
