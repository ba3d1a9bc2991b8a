"""What the trainings of both small networks have in common: Adam whose rate follows from the step's number."""

import math
from typing import Any

import torch
from torch import nn

from train.lightning.module import LoggedModule

_WARM = 0.04  # of the steps, in which the rate rises
_CLIP = 1.0  # norm of the gradient at most
_DECAY = 0.01  # of weights


class SmallModule(LoggedModule):
    """Trains `network`; a subclass says by which loss. What a step sees follows from the seed and its number alone.

    rate: Adam's highest; it rises at first, then falls to nothing as a cosine does.
    """

    automatic_optimization = False

    def __init__(self, network: nn.Module, steps: int, rate: float) -> None:
        super().__init__(steps)
        self.network, self.steps, self.rate = network, steps, rate

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.network.parameters(), self.rate, (0.9, 0.99), weight_decay=_DECAY)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One step; the batch counts for nothing."""
        step = self.global_step
        optimiser: Any = self.optimizers()
        for group in optimiser.param_groups:
            group["lr"] = self.rate * rate_at(step, self.steps)
        loss = self.loss_at(step)
        self.losses[step] = loss.detach()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP)
        optimiser.step()
        self.after_step()

    def loss_at(self, step: int) -> torch.Tensor:
        """[], of the samples of a step."""
        raise NotImplementedError

    def after_step(self) -> None:
        """What follows once the weights have moved."""


def rate_at(step: int, steps: int) -> float:
    """The share of the highest rate that a step has."""
    warm = max(1, round(_WARM * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
