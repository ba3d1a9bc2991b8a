"""A ControlNet's training, killed at random moments and called again: `python -m tests.killed_training --kills 50`

Each attempt is a process of its own that SIGKILL ends after a random step and a random part of a second, loading and
saving included. Told are the steps at which that was, how many steps one lost at most, and whether the weights and the
curve at the end are those of a training that nobody killed. The last line is one JSON object; exit status 1 where
anything is lost.
"""

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

import train.controlnet.training
from tests.controlnet_training import train
from worldgen.runs.disk import sha256_of

STEPS, EVERY = 60, 5
_SETTINGS: dict[str, Any] = {
    "steps": STEPS,
    "checkpoint_every": EVERY,
    "validation_samples": 0,
    "batch": 1,
    "loss_every": 1,
}
_CONTEXT = multiprocessing.get_context("fork")  # this process computes nothing, so none of its threads are missed
_FARTHEST = 12  # steps that one attempt takes at most
_LATER_S = 0.3
_WATCHED_S = 0.01
FILES = ("diffusion_pytorch_model.safetensors", "metrics.csv")


def attempt(work: Callable[[], Any], is_time: Callable[[], bool] | None = None, later_s: float = 0.0) -> int:
    """Does `work` in a process of its own; returns its exit status, negative where a signal ended it: SIGKILL, once it
    `is_time` and so many seconds later."""

    def alone() -> None:
        torch.set_num_threads(1)
        work()

    process = _CONTEXT.Process(target=alone)
    process.start()
    if is_time is not None:
        while process.is_alive() and not is_time():
            time.sleep(_WATCHED_S)
        process.join(later_s)
        if process.is_alive():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def noting(path: Path) -> Callable[[Iterable, int, str], Iterator]:
    """A track that leaves in a file how many steps are done."""

    def track(items: Iterable, total: int, what: str) -> Iterator:
        for item in items:
            path.write_text(str(item))
            yield item

    return track


def saved_step(folder: Path) -> int:
    steps = (int(path.stem.removeprefix("step-")) for path in folder.glob(".checkpoints/*/step-*.ckpt"))
    return max(steps, default=0)


def kill_and_resume(root: Path, kills: int, seed: int) -> dict[str, Any]:
    """What came of it."""
    from tests.tiny_diffusion import save_sd

    checkpoint, whole, killed, done = root / "sd", root / "whole", root / "killed", root / "done"
    chance = random.Random(seed)
    assert attempt(lambda: save_sd(checkpoint)) == 0
    assert attempt(lambda: train(checkpoint, whole, **_SETTINGS)) == 0
    count, at, lost, finished = 0, [], [], 0
    while count < kills:
        done.write_text("0")
        before = saved_step(killed)
        until = before + chance.randrange(_FARTHEST)
        status = attempt(
            lambda: train(checkpoint, killed, noting(done), **_SETTINGS),
            lambda until=until: _number(done) >= until,
            chance.uniform(0, _LATER_S),
        )
        if status == 0:  # it was done before it was killed: another training from the beginning
            finished += _same(whole, killed)
            assert finished, "a training that ended has other weights"
            _clear(killed)
            continue
        assert status == -signal.SIGKILL, status
        count += 1
        reached, kept = max(before, _number(done)), saved_step(killed)
        assert kept >= before, f"a checkpoint of step {before} was lost"
        at.append(reached)
        lost.append(max(0, reached - kept))
    assert attempt(lambda: train(checkpoint, killed, **_SETTINGS)) == 0
    return {
        "kills": count,
        "at_steps": at,
        "most_steps_lost": max(lost),
        "wanted_at_most": EVERY,
        "finished_between": finished,
        "same": _same(whole, killed),
    }


def _number(path: Path) -> int:
    text = path.read_text()  # empty where it was being written
    return int(text) if text else 0


def _same(whole: Path, killed: Path) -> bool:
    return all(sha256_of(whole / "controlnet" / name) == sha256_of(killed / "controlnet" / name) for name in FILES)


def _clear(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.killed_training", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        told = kill_and_resume(Path(folder), arguments.kills, arguments.seed)
    print(json.dumps(told | {"seconds": round(time.perf_counter() - began)}))
    return 0 if told["same"] and told["most_steps_lost"] <= EVERY else 1


if __name__ == "__main__":
    sys.exit(main())
