"""What every module here has, so that a training that is resumed leaves the same curves as one that was not."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor


class LoggedModule(pl.LightningModule):
    """A module whose curves are part of its checkpoints.

    losses: [steps], which `training_step` fills in; curves: such buffers, by the names that `loggers.StepCurves` logs
    them by; history: (step, values) of whatever was logged so far.
    """

    losses: Tensor
    curves: ClassVar[Mapping[str, str]] = {"loss": "losses"}

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.history: list[tuple[int, dict[str, float]]] = []
        self.register_buffer("losses", torch.zeros(steps))

    def log_values(self, step: int, values: dict[str, float]) -> None:
        """To the logger, if there is one, and kept for a resumed run to log its own."""
        self.history.append((step, values))
        if self.logger is not None:
            self.logger.log_metrics(values, step=step)

    def on_train_start(self) -> None:
        """Logs what was logged before this process began."""
        for step, values in self.history:
            if self.logger is not None:
                self.logger.log_metrics(values, step=step)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = list(checkpoint["history"])
