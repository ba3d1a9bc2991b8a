"""Runs on a Slurm cluster of this machine alone that are interrupted, each once, and what comes of them; needs root.

    python -m tests.slurm.interruptions --runs 20 --seed 0

A world of next to nothing is made undisturbed, by a job; then again and again, and at a random moment of its completion
or of its fit something happens: the job is queued again, cancelled, warned as before the end of its time, or killed;
its node is set down; the controller or the node's daemon is gone for a while. What ended is submitted again, and then
the hashes of all files that the steps left are compared. The last line is one JSON object; exit status 1: some differ.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tests.killed_run import HOME, TINY, hashes, photo, seconds
from tests.slurm.cluster import Cluster, cluster, missing
from worldgen.runs.holder import holder_of
from worldgen.runs.run_status import status_of

VICTIMS = ("complete", "splat")
SLOW = (
    *TINY,
    "inpainter._target_=tests.slurm.slow.SlowInpainter",
    "complete.budget=6",
    "splat.steps=300",
    "splat.checkpoint_every=20",
)
PATIENCE_S = 900.0
AWAY_S = 4.0
REQUEUED_S = 15.0


def launcher(**settings: object) -> list[str]:
    """Overrides of a job on one of the two CPUs that is not waited for."""
    told = {"wait": "false", "cpus_per_task": 1, "mem_gb": 0, "timeout_min": 30, "signal_delay_s": 10} | settings
    return ["hydra/launcher=slurm", *(f"hydra.launcher.{key}={value}" for key, value in told.items())]


def submit(made: Cluster, overrides: list[str], cwd: Path) -> subprocess.CompletedProcess:
    """`python -m worldgen -m` with the launcher, from a folder of its own."""
    environment = made.environment | {"PYTHONPATH": str(HOME), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "worldgen", "-m", *overrides]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False)


def job_of(done: subprocess.CompletedProcess) -> str:
    """The id that the launcher printed. Raises RuntimeError where there was none."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("job ")]
    if not lines:
        raise RuntimeError(f"exit status {done.returncode}: {done.stderr}")
    return lines[0].split()[1].rstrip(":")


class Run:
    """One world, its job, and what is done to it."""

    def __init__(self, made: Cluster, image: Path, out: Path, overrides: Sequence[str] = (*launcher(), *SLOW)) -> None:
        self.made, self.out, self._overrides = made, out, [*overrides, f"image={image}", f"out={out}"]
        self._ended_at: float | None = None
        self.job = self.submit()

    @property
    def folder(self) -> Path:
        return next(self.out.glob("hills*"), self.out / "hills")

    def submit(self) -> str:
        """Its job's id; the old one's where there was one."""
        self.job = job_of(submit(self.made, self._overrides, self.out.parent))
        return self.job

    def wait_until(self, reached: Callable[[], bool], what: str) -> None:
        """Raises RuntimeError after a long while. A job that is queued again starts as soon as its process is gone."""
        until = time.monotonic() + PATIENCE_S
        while not reached():
            if time.monotonic() > until:
                logs = "".join(log.read_text(errors="replace")[-1500:] for log in self._logs())
                raise RuntimeError(f"{self.out}: {what}: not in time; {self.made.state(self.job)}; {logs}")
            holder = holder_of(self.folder)
            if self.made.state(self.job) == "PENDING" and not (holder and holder.is_alive):
                time.sleep(2)  # for srun, which ends after it
                self.made.start_now(self.job)
            time.sleep(0.2)

    def is_within(self, step: str) -> bool:
        """Whether the step is in the making."""
        return (self.folder / f".{step}.worldgen-new").is_dir()

    def is_done(self) -> bool:
        """Whether all is made, and its job gone."""
        return self.has_ended() and status_of(self.folder).state == "done"

    def has_ended(self) -> bool:
        """Whether its job runs no more, nor will: one that is being queued again looks so for some seconds."""
        if self.made.state(self.job) in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "REQUEUED"):
            self._ended_at = None
            return False
        self._ended_at = self._ended_at or time.monotonic()
        return status_of(self.folder).state == "done" or time.monotonic() - self._ended_at > REQUEUED_S

    def attempts(self, step: str) -> int:
        """How often the step was begun."""
        return json.loads((self.folder / step / ".step.json").read_text(encoding="utf-8"))["attempts"]

    def finish(self) -> None:
        """Submits again what ended, until all is made."""
        for _ in range(3):
            self.wait_until(self.has_ended, "the end")
            if self.is_done():
                return
            self.submit()
        self.wait_until(self.is_done, "the end")

    def _logs(self) -> list[Path]:
        return sorted((self.out.parent / "runs" / ".slurm" / self.job).glob("*.out"))


def requeue(run: Run) -> None:
    run.made.run("scontrol", "requeue", run.job)


def cancel(run: Run) -> None:
    run.made.run("scancel", run.job)
    run.submit()  # at once: the old process may still be there


def warn(run: Run) -> None:
    run.made.run("scancel", "--signal=USR2", run.job)


def kill(run: Run) -> None:
    holder = holder_of(run.folder)
    if holder:
        with suppress(ProcessLookupError):
            os.kill(holder.pid, signal.SIGKILL)


def node_down(run: Run) -> None:
    run.made.node("DOWN")
    time.sleep(REQUEUED_S)  # till the step is gone: a second one beside it on this one node would have Slurm drain it
    run.made.node("RESUME")


def controller_away(run: Run) -> None:
    run.made.kill("slurmctld")
    time.sleep(AWAY_S)
    run.made.start("slurmctld")


def daemon_away(run: Run) -> None:
    run.made.kill("slurmd")
    time.sleep(AWAY_S)
    run.made.start("slurmd")


WAYS = (requeue, cancel, warn, kill, node_down, controller_away, daemon_away)


def interrupt_runs(runs: int, seed: int, folder: Path, first: int = 0) -> dict:
    """Interrupts so many runs once each; returns what came of them. first: the number of the first one, which decides
    what happens to it."""
    generator, counts, same, differing, within, again = random.Random(seed), {}, 0, [], 0, 0
    image = photo(folder)
    with cluster(folder / "cluster", kill_wait_s=2) as made:
        whole = Run(made, image, folder / "undisturbed")
        whole.finish()
        wanted, took = hashes(whole.folder), seconds(whole.folder)
        for number in range(first, first + runs):
            way, victim = WAYS[number % len(WAYS)], VICTIMS[number // len(WAYS) % len(VICTIMS)]
            run = Run(made, image, folder / f"run-{number}")
            run.wait_until(lambda run=run, victim=victim: run.is_within(victim) or run.has_ended(), f"{victim} begins")
            time.sleep(generator.uniform(0, 0.6 * took[victim]))
            within += run.is_within(victim)
            way(run)
            run.finish()
            again += run.attempts(victim) > 1
            found = hashes(run.folder)
            others = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
            differing += others
            same += not others
            counts[way.__name__] = counts.get(way.__name__, 0) + 1
            print(f"{number + 1:>3} {way.__name__:<15} within {victim:<9} {others or 'same'}", flush=True)
    told = {
        "interruptions": runs,
        "within_a_step": within,
        "begun_again": again,
        "same_hashes": same,
        "files": len(wanted),
        "ways": counts,
    }
    return told | {"differing": sorted(set(differing)), "seed": seed}


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--first", type=int, default=0, help="a call for each part: --runs 10, and --runs 10 --first 10"
    )
    chosen = parser.parse_args(arguments)
    if why := missing():
        print(f"error: {why}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cluster is taken down
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        told = interrupt_runs(chosen.runs, chosen.seed, Path(folder), chosen.first)
    print(json.dumps(told))
    return 0 if told["same_hashes"] == told["interruptions"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
