"""Callbacks that count optimiser steps, of which one may take several batches (accumulation)."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class StepCallback(Callback):
    """Is told of every optimiser step once, when it is done."""

    _last = 0

    def on_step_end(self, trainer: Trainer, module: LightningModule, step: int) -> None:
        """step: how many are done now."""
        raise NotImplementedError

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._last = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if trainer.global_step != self._last:
            self._last = trainer.global_step
            self.on_step_end(trainer, module, self._last)
