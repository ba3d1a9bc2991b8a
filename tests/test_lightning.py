"""Any training, killed and called again, ends as if nothing had happened; and what is broken is never trusted."""

import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from train.lightning.checkpoints import AtomicCheckpointIO, checkpoints, is_sound, newest_sound
from train.lightning.loggers import logging_to, quiet_lightning
from train.lightning.module import LoggedModule
from train.lightning.settings import TrainingSettings
from train.lightning.trainer import checkpoint_folder, drop_checkpoints, train_module
from worldgen.errors import UserError
from worldgen.progress import untracked

STEPS = 30
SETTINGS = TrainingSettings(STEPS, "learning", checkpoint_every=10, loss_every=5)


class Line(LoggedModule):
    """A straight line, learned as Lightning's manual has it: one optimiser, which Lightning steps."""

    def __init__(self) -> None:
        super().__init__(STEPS)
        self.layer = nn.Linear(3, 1)
        for parameter in self.layer.parameters():
            nn.init.constant_(parameter, 0.1)

    def training_step(self, batch: int, batch_idx: int) -> Tensor:
        draw = torch.Generator().manual_seed(self.global_step)
        x = torch.randn(16, 3, generator=draw)
        loss = (self.layer(x) - x @ torch.tensor([[1.0], [-2.0], [3.0]])).square().mean()
        self.losses[self.global_step] = loss.detach()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)


def learn(
    out_dir: Path, identity: str = "a", stop_at: int | None = None, settings: TrainingSettings = SETTINGS, stop=None
) -> Line:
    """The module when it is done, or where `stop` (default: an error) stopped it."""

    def track(items: Iterable, total: int, what: str) -> Iterator:
        assert (total, what) == (STEPS, "learning")
        for item in items:
            if item == stop_at:
                (stop or fail)()
            yield item

    out_dir.mkdir(parents=True, exist_ok=True)
    module = Line()
    with quiet_lightning(), logging_to("csv", out_dir, identity, {}) as logger:
        train_module(module, range(STEPS * 3), settings, out_dir, identity, logger, track)
    return module


def fail() -> None:
    raise RuntimeError("stop here")


def test_stopped_and_called_again_it_ends_as_if_nothing_had_happened(tmp_path):
    whole = learn(tmp_path / "whole" / "out")
    out_dir = tmp_path / "stopped" / "out"
    with pytest.raises(RuntimeError, match="stop here"):
        learn(out_dir, stop_at=25)
    assert newest_sound(checkpoint_folder(out_dir) / "a").name == "step-00000020.ckpt"
    resumed = learn(out_dir)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert whole.losses[-1] < whole.losses[0]
    curves = [(folder / "metrics.csv").read_text() for folder in (tmp_path / "whole" / "out", out_dir)]
    assert curves[0] == curves[1]
    assert curves[0].count("\n") == 1 + STEPS // 5
    drop_checkpoints(out_dir)
    assert [path.name for path in out_dir.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_signal_ends_it_after_the_step_with_all_that_is_done(tmp_path, monkeypatch, signum, accumulate):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    settings = replace(SETTINGS, trainer={"accumulate_grad_batches": accumulate})
    whole = learn(tmp_path / "whole" / "out", settings=settings)
    out_dir = tmp_path / "stopped" / "out"
    with pytest.raises(SystemExit) as caught:
        learn(out_dir, stop_at=13, settings=settings, stop=lambda: os.kill(os.getpid(), signum))
    assert caught.value.code == 143
    assert next(path.name for path in checkpoints(checkpoint_folder(out_dir) / "a")) == "step-00000013.ckpt"
    resumed = learn(out_dir, settings=settings)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert signal.getsignal(signum) == signal.SIG_DFL


def test_with_a_job_of_slurm_the_warning_queues_it_again(tmp_path, monkeypatch):
    """A stand-in for scontrol, on the path, notes what it is asked for."""
    asked = tmp_path / "asked"
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    for signum in (signal.SIGTERM, signal.SIGUSR1):
        with pytest.raises(SystemExit):
            learn(tmp_path / str(signum) / "out", stop_at=3, stop=lambda signum=signum: os.kill(os.getpid(), signum))
    assert asked.read_text() == "requeue 77\n"


def test_a_handler_that_was_there_before_is_called_once_all_is_saved(tmp_path):
    """As submitit's, which queues its job again."""
    found = []
    out_dir = tmp_path / "out"
    before = signal.signal(signal.SIGUSR2, lambda *_: found.extend(checkpoints(checkpoint_folder(out_dir) / "a")))
    try:
        with pytest.raises(SystemExit):
            learn(out_dir, stop_at=4, stop=lambda: os.kill(os.getpid(), signal.SIGUSR2))
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert [path.name for path in found] == ["step-00000004.ckpt"]


def test_checkpoints_of_another_identity_are_thrown_away_and_those_of_another_model_refused(tmp_path):
    out_dir = tmp_path / "out"
    with pytest.raises(RuntimeError, match="stop here"):
        learn(out_dir, "a", stop_at=25)
    with pytest.raises(RuntimeError, match="stop here"):
        learn(out_dir, "b", stop_at=5)
    assert not checkpoints(checkpoint_folder(out_dir) / "a")
    path = tmp_path / "step-00000001.ckpt"
    io = AtomicCheckpointIO(["layer.weight", "losses"])
    io.save_checkpoint({"state_dict": {"other": torch.ones(3)}, "history": [], "optimizer_states": []}, path)
    with pytest.raises(
        UserError, match=r"step-00000001\.ckpt: a checkpoint of another model \(it lacks state_dict\.layer\.weight"
    ):
        io.load_checkpoint(path)


def test_without_steps_nothing_happens(tmp_path):
    train_module(Line(), range(0), TrainingSettings(0), tmp_path / "out", "a", track=untracked)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [lambda whole: whole[:-1], lambda whole: whole[:100], lambda whole: b""])
def test_a_cut_checkpoint_is_not_sound(tmp_path, damage):
    path = tmp_path / "step-00000001.ckpt"
    AtomicCheckpointIO().save_checkpoint({"tensor": torch.arange(1000)}, path)
    assert is_sound(path)
    assert torch.equal(AtomicCheckpointIO().load_checkpoint(path)["tensor"], torch.arange(1000))
    path.write_bytes(damage(path.read_bytes()))
    assert not is_sound(path)
    assert newest_sound(tmp_path) is None


class Unpicklable:
    def __reduce__(self):
        raise OSError("the disk is full")


def test_a_checkpoint_that_cannot_be_written_leaves_the_older_one(tmp_path):
    path = tmp_path / "step-00000001.ckpt"
    AtomicCheckpointIO().save_checkpoint({"tensor": torch.ones(3)}, path)
    with pytest.raises(OSError, match="the disk is full"):
        AtomicCheckpointIO().save_checkpoint({"tensor": torch.zeros(3), "broken": Unpicklable()}, path)
    assert torch.equal(AtomicCheckpointIO().load_checkpoint(path)["tensor"], torch.ones(3))
    assert list(tmp_path.iterdir()) == [path]
