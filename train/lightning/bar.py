"""The progress bar of a training: moved by Lightning, shown by whoever gives the `Track`."""

from collections.abc import Generator, Iterator
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from worldgen.progress import Track


class ProgressBar(Callback):
    """Moves the bar of a `Track` a step at a time, from where a resumed run stands. what: is being done."""

    def __init__(self, track: Track, steps: int, what: str) -> None:
        self._items: Iterator = track(range(steps), steps, what)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        for _ in range(trainer.global_step + 1):
            next(self._items, None)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        next(self._items, None)

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Takes the bar away, also after an exception."""
        if isinstance(self._items, Generator):
            self._items.close()
