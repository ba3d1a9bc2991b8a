"""Where training curves go, and what keeps Lightning quiet meanwhile."""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger

from train.lightning.module import LoggedModule
from train.lightning.settings import LoggerName
from train.lightning.step_callback import StepCallback


@contextmanager
def logging_to(
    name: LoggerName, folder: Path, run_id: str, settings: Mapping[str, Any], job_type: str = "train"
) -> Iterator[Logger | bool]:
    """A logger while the block runs.

    csv: `metrics.csv` in the folder. wandb: the run of this id, resumed if there is one; WANDB_MODE is obeyed. It has
    the run folder's name, and what it has in common with its neighbours, the runs of a sweep, is a group; `job_type` is
    W&B's word for the kind of run. none: False, as Lightning's Trainer takes it.
    """
    if name == "csv":
        curves = CSVLogger(folder, name="", version="")
        yield curves
        curves.save()  # what was logged after Lightning's last step
    elif name == "wandb":
        import wandb

        run_dir = folder.resolve().parent
        logger = WandbLogger(
            project=os.environ.get("WANDB_PROJECT", "worldgen"),
            save_dir=folder,
            id=run_id,
            name=run_dir.name,
            group=run_dir.parent.name,
            job_type=job_type,
            resume="allow",
            settings=wandb.Settings(silent=True),
        )
        try:
            logger.log_hyperparams(dict(settings))
            yield logger
        finally:
            logger.experiment.finish()
    else:
        yield False


class LossCurve(StepCallback):
    """Logs the mean of every so many of a module's `losses`, [steps]."""

    def __init__(self, every_steps: int) -> None:
        self.every_steps = every_steps

    def on_step_end(self, trainer: Trainer, module: LightningModule, step: int) -> None:
        assert isinstance(module, LoggedModule)
        if step % self.every_steps == 0:
            module.log_values(step, {"loss": module.losses[step - self.every_steps : step].mean().item()})


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Without Lightning's notices about the machine, data loading and log folders; errors still show."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\.")
            yield
    finally:
        logger.setLevel(level)
