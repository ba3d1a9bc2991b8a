"""Runs that are killed, in processes of their own, and go on.

    python tests/killed_run.py --kills 60 --seed 0      # at random moments of a tiny run; one JSON line
    python -m tests.killed_run STEP,STEP OVERRIDE...    # once in the middle of each of these steps

The first makes a tiny world undisturbed; then it makes it again and again, killing the process by SIGKILL at random
moments within the panorama, the completion and the fit, running the same command until it ends, and compares the hashes
of all files that the steps left. Exit status 1: some differ.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

HOME = Path(__file__).resolve().parents[1]
VICTIMS = ("panorama", "complete", "splat")
TINY = (
    "experiment=tiny",
    "export.headset=null",
    "prompts._target_=tests.fakes.PlainPrompter",
    "inpainter._target_=tests.fakes.SmoothInpainter",
    "view_depth._target_=tests.fakes.FlatDepth",
    "depth=network",
    "depth._target_=tests.fakes.WallAhead",
    "panorama.width=256",
    "splat.checkpoint_every=5",
    "quiet=true",
)
NOT_COMPARED = ("splat/metrics.csv", "export/world.spz")
"""The curve of a fit that goes on begins at its last checkpoint; gzip's header holds the time of writing."""


def half_done(job: object, out: Path) -> None:
    """Stands for a step's function, and dies in the middle."""
    (out / "half-written.bin").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)


def die_within_each(victims: list[str], overrides: list[str]) -> None:
    """One process after the other runs the recipe, each until its step, where it dies; all are forked from this one,
    which imports for them, but computes nothing: threads would not outlive a fork. Exit status 1: one did not die so,
    or left the step as if it were done."""
    if len(victims) > 1:
        import train.lightning.trainer
        import train.splat.module  # noqa: F401
    from worldgen import pipeline, steps
    from worldgen.config import compose
    from worldgen.present.console import Reporter

    config = compose(None, overrides)
    for victim in victims:
        child = os.fork()
        if child == 0:
            steps.PRODUCE[victim] = half_done
            pipeline.run(config, Reporter(quiet=True))
            sys.exit(f"step {victim} never ran")
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != -signal.SIGKILL:
            sys.exit(f"step {victim}: exit status {status}, wanted killed")
        if (Path(config.out) / victim).exists():
            sys.exit(f"{config.out}/{victim}: is there, wanted nothing of a step that was killed")


def photo(folder: Path) -> Path:
    """A small picture of hills."""
    row, column = np.mgrid[0:96, 0:128]
    Image.fromarray(np.stack([row * 2, column, 255 - row * 2], axis=-1).astype(np.uint8)).save(folder / "hills.png")
    return folder / "hills.png"


def start(image: Path, out: Path) -> subprocess.Popen:
    """The recipe in a process of its own."""
    command = [sys.executable, "-m", "worldgen", f"image={image}", f"out={out}", *TINY]
    environment = os.environ | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=HOME, env=environment, stdout=subprocess.DEVNULL, stderr=pipe, text=True)


def finish(image: Path, out: Path) -> None:
    """Runs the same command to the end. Raises RuntimeError where that fails."""
    process = start(image, out)
    _, errors = process.communicate(timeout=600)
    if process.returncode:
        raise RuntimeError(f"{out}: exit status {process.returncode}: {errors}")


def killed(image: Path, out: Path, victim: str, after_s: float) -> bool:
    """Runs until the step `victim` has been in the making for `after_s`, then kills; whether that came in time."""
    process = start(image, out)
    attempt, began = out / f".{victim}.worldgen-new", None
    while process.poll() is None:
        if began is None and attempt.is_dir():
            began = time.monotonic()
        if began is not None and time.monotonic() >= began + after_s:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def hashes(out: Path) -> dict[str, str]:
    """sha256 of every file that the steps left, by step and name."""
    steps = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["steps"]
    found = {
        f"{step}/{name}": stamp["sha256"] for step, entry in steps.items() for name, stamp in entry["files"].items()
    }
    return {name: sha256 for name, sha256 in found.items() if name not in NOT_COMPARED}


def seconds(out: Path) -> Mapping[str, float]:
    """What each step took."""
    steps = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["steps"]
    return {name: entry["seconds"] for name, entry in steps.items()}


def kill_runs(kills: int, seed: int, per_run: int = 6) -> dict:
    """Kills so many times, some times in each run; returns what came of it."""
    generator, done, runs, differing = random.Random(seed), 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        image, whole = photo(Path(folder)), Path(folder) / "undisturbed" / "hills"
        finish(image, whole)
        wanted, took = hashes(whole), seconds(whole)
        while done < kills:
            out, runs = Path(folder) / str(runs) / "hills", runs + 1
            victims = sorted(generator.choices(VICTIMS, k=min(per_run, kills - done)), key=VICTIMS.index)
            for victim in victims:
                done += killed(image, out, victim, generator.uniform(0, max(0.02, 0.6 * took[victim])))
            finish(image, out)
            found = hashes(out)
            differing += sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
            shutil.rmtree(out.parent)
    return {"kills": done, "runs": runs, "files": len(wanted), "differing": sorted(set(differing)), "seed": seed}


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Kill tiny runs at random moments and compare what comes of them.")
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    result = kill_runs(chosen.kills, chosen.seed)
    print(json.dumps(result))
    return 1 if result["differing"] else 0


if __name__ == "__main__":
    if sys.argv[1:] and not sys.argv[1].startswith("-"):
        die_within_each(sys.argv[1].split(","), sys.argv[2:])
        sys.exit()
    sys.exit(main(sys.argv[1:]))
