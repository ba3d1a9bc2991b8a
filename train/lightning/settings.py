"""What can be set of any training here; without Lightning, which takes long to import."""

from dataclasses import dataclass, field
from typing import Any, Literal

LoggerName = Literal["none", "csv", "wandb"]
"""Where training curves go; see `loggers.logging_to`."""


@dataclass(frozen=True)
class TrainingSettings:
    """steps: optimiser steps in all; what: is being done, for the bar; checkpoint_every, loss_every: steps from one
    checkpoint, or point of the loss curve, to the next; trainer: more arguments of Lightning's Trainer, such as
    precision or accumulate_grad_batches."""

    steps: int
    what: str = "training"
    checkpoint_every: int = 250
    loss_every: int = 10
    trainer: dict[str, Any] = field(default_factory=dict)
