"""Ctrl-C, SIGTERM and Slurm's warning while Lightning trains: what is done is saved, then the process ends.

SIGTERM is what shells, `scancel` and preemption send; SIGUSR1 is what `sbatch --signal=USR1@120` sends before a job's
time is over, SIGUSR2 what submitit (hydra/launcher=slurm) asks for. The first of them lets the step that is being taken
come to its end, which ends with a checkpoint; a second one does what it did before the training.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from pytorch_lightning import LightningModule, Trainer

from train.lightning.step_callback import StepCallback
from worldgen import slurm

_HEEDED = (signal.SIGTERM, slurm.WARNING, signal.SIGUSR2)


@dataclass
class Stop:
    """signum: the signal that came first; None while none did."""

    signum: int | None = None
    before: dict[int, Any] = field(default_factory=dict)
    """What each signal did before the training."""

    def heed(self, signum: int, frame: FrameType | None) -> None:
        """The handler of all of them."""
        del frame
        if self.signum is None:
            self.signum = signum
            return
        signal.signal(signum, self.before[signum])
        os.kill(os.getpid(), signum)


@contextmanager
def stoppable() -> Iterator[Stop]:
    """While the block runs, signals wait for the `StopWhenAsked` of what is yielded.

    Ctrl-C stays KeyboardInterrupt; Lightning makes SystemExit of it, and ignores every later Ctrl-C. After SIGUSR1 in a
    Slurm job that job is queued again; a handler that was there before, such as submitit's, is called. Every other end
    by a signal is SystemExit with the status that shells know.
    """
    stop, ctrl_c = Stop(), signal.getsignal(signal.SIGINT)
    for signum in _HEEDED if threading.current_thread() is threading.main_thread() else ():
        stop.before[signum] = signal.signal(signum, stop.heed)
    try:
        yield stop
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, ctrl_c)
            raise KeyboardInterrupt from None
        _restore(stop)
        if stop.signum is not None:
            _hand_on(stop.signum, stop.before[stop.signum])
        raise SystemExit(slurm.STOPPED) from error
    finally:
        _restore(stop)


class StopWhenAsked(StepCallback):
    """Ends the training after the step in which any of its processes was asked to, with a checkpoint of all that is
    done. save: writes one, if there is none of this step yet."""

    def __init__(self, stop: Stop, save: Callable[[Trainer], None]) -> None:
        self._stop, self._save = stop, save

    def on_step_end(self, trainer: Trainer, module: LightningModule, step: int) -> None:
        asked = self._stop.signum is not None
        if trainer.strategy.reduce_boolean_decision(asked, all=False):
            self._save(trainer)
            raise SystemExit(slurm.STOPPED)


def _restore(stop: Stop) -> None:
    for signum, before in stop.before.items():
        signal.signal(signum, before)


def _hand_on(signum: int, before: Any) -> None:
    """What else is to happen, now that all is saved."""
    if callable(before):
        before(signum, None)
    if signum == slurm.WARNING:
        slurm.queue_again()
