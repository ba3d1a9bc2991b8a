"""Where training curves go, and what keeps Lightning quiet meanwhile."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger

from train.splat import LoggerName


def make_logger(name: LoggerName, folder: Path, run_id: str) -> Logger | bool:
    """csv: `metrics.csv` in the folder. wandb: the run of this id, resumed if there is one; WANDB_MODE is obeyed."""
    if name == "csv":
        return CSVLogger(folder, name="", version="")
    if name == "wandb":
        return WandbLogger(project="worldgen", save_dir=folder, id=run_id, resume="allow")
    return False


class LossCurve(Callback):
    """Tells a module's log the mean of every so many of its `losses`, [steps]."""

    def __init__(self, every_steps: int) -> None:
        self.every_steps = every_steps

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if step % self.every_steps == 0:
            module.tell(step, {"loss": module.losses[step - self.every_steps : step].mean().item()})


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
