"""Checkpoints that survive a kill: each is written whole or not at all, and verified before it is trusted.

Lightning's own writing is atomic only where TMPDIR and the checkpoint folder share a filesystem.
"""

import logging
import zipfile
from collections.abc import Collection
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.plugins.io import CheckpointIO

from train.lightning.step_callback import StepCallback
from worldgen.errors import UserError
from worldgen.runs.disk import landing

_log = logging.getLogger("worldgen")
_KEPT = 2  # the newest, and one to fall back to


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's checkpoints, in torch's own format, written beside their final name and then renamed.

    names: of what the state_dict of this model (a `LoggedModule`) holds; None = whatever a checkpoint has.
    """

    def __init__(self, names: Collection[str] | None = None) -> None:
        self._names = None if names is None else set(names)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Raises OSError where the folder cannot be written to; an older file under this name then stays."""
        del storage_options
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with landing(path) as partial, partial.open("wb") as file:  # given a path, torch raises RuntimeError
            torch.save(checkpoint, file)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Tensors and plain values; never code, whatever `weights_only` says. Raises UserError for what is none, and
        for a checkpoint of another model."""
        del weights_only
        try:
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
            if self._names is not None:
                _expect_own(path, checkpoint, self._names)
        except (RuntimeError, UnpicklingError, EOFError, KeyError, TypeError) as error:
            first = str(error).partition("\n")[0]
            raise UserError(f"{path}: not a checkpoint ({first}), wanted one of this training; delete it") from error
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)


def _expect_own(path: str | Path, checkpoint: dict[str, Any], names: Collection[str]) -> None:
    """names: of the state_dict. Raises UserError where the checkpoint has others."""
    found = {f"state_dict.{name}" for name in checkpoint.get("state_dict", ())} | set(checkpoint)
    wanted = {f"state_dict.{name}" for name in names} | {"history", "optimizer_states"}
    lacking = sorted(wanted - found)
    beyond = sorted(name for name in found - wanted if name.startswith("state_dict."))
    if lacking or beyond:
        odd = f"lacks {lacking[0]}" if lacking else f"has {beyond[0]}"
        raise UserError(f"{path}: a checkpoint of another model (it {odd}), wanted one of this training; delete it")


class RegularCheckpoints(StepCallback):
    """Saves every so many steps into a folder, and keeps the newest two."""

    def __init__(self, folder: Path, every_steps: int) -> None:
        self.folder, self.every_steps = folder, every_steps

    def on_step_end(self, trainer: Trainer, module: LightningModule, step: int) -> None:
        if step % self.every_steps == 0:
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """What is done so far, where it is not there; to be called by all processes."""
        path = self.folder / f"step-{trainer.global_step:08}.ckpt"
        if trainer.strategy.broadcast(path.exists()):
            return
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            for old in checkpoints(self.folder)[_KEPT:]:
                old.unlink()


def checkpoints(folder: Path) -> list[Path]:
    """Newest first; none where there is no such folder."""
    return sorted(folder.glob("step-*.ckpt"), reverse=True)


def newest_sound(folder: Path) -> Path | None:
    """The newest checkpoint whose content verifies; the log names those that do not, and stay where they are."""
    for path in checkpoints(folder):
        if is_sound(path):
            return path
        _log.warning("%s: damaged, so training goes on from an older one, or from the beginning", path)
    return None


def is_sound(path: Path) -> bool:
    """Whether every record of a checkpoint (torch writes a zip archive) is there and has its checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False
