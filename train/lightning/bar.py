"""The progress bar of a training: moved by Lightning, shown by whoever gives the `Track`."""

from collections.abc import Generator, Iterator

from pytorch_lightning import LightningModule, Trainer

from train.lightning.step_callback import StepCallback
from worldgen.progress import Track


class ProgressBar(StepCallback):
    """Moves the bar of a `Track` a step at a time, from where a resumed run stands. what: is being done."""

    def __init__(self, track: Track, steps: int, what: str) -> None:
        self._items: Iterator = track(range(steps), steps, what)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        super().on_train_start(trainer, module)
        for _ in range(trainer.global_step + 1):
            next(self._items, None)

    def on_step_end(self, trainer: Trainer, module: LightningModule, step: int) -> None:
        next(self._items, None)

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Takes the bar away, also after an exception."""
        if isinstance(self._items, Generator):
            self._items.close()
