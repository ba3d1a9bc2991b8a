"""A training on a real Slurm cluster, of this machine alone: interrupted in any way, it has the same curve."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, cluster, missing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

ROOT = Path(__file__).resolve().parents[2]
STEPS, EVERY = 1500, 20
LONG = 100_000  # steps of a training that no job has time for
PATIENCE_S = 600.0


def submit(made: Cluster, checkpoint: Path, out: Path, log: Path, limit: str = "60", steps: int = STEPS) -> str:
    """The id of a job of two processes that train into `out`."""
    settings = [
        *("inpainter=sd15", f"inpainter.path={checkpoint}", "inpainter.steps=2", "data=room", "data.size=64"),
        *("data.scenes.views=6", f"controlnet.steps={steps}", "controlnet.batch=1", "controlnet.workers=0"),
        *("controlnet.validation_samples=0", f"controlnet.checkpoint_every={EVERY}", "controlnet.loss_every=1"),
        *("quiet=true", f"out={out}"),
    ]
    asked = ["--ntasks-per-node=2", "--cpus-per-task=1", "--mem=0", f"--time={limit}", "--signal=USR1@10"]
    said = subprocess.run(
        ["sbatch", "--parsable", *asked, f"--output={log}", "slurm/controlnet.sbatch", *settings],
        cwd=ROOT,
        env=made.environment | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    return said.stdout.strip()


def newest_step(out: Path) -> int:
    return max((int(path.stem.removeprefix("step-")) for path in out.glob(".checkpoints/*/*.ckpt")), default=0)


def wait_for(what: str, done: Callable[[], bool], log: Path, made: Cluster, job: str) -> None:
    """Raises AssertionError, with the job's log, when patience ends. Jobs that were queued again start at once."""
    until = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > until:
            text = log.read_text() if log.exists() else "no log"
            pytest.fail(f"{what}: not within {PATIENCE_S:g} s; job {made.state(job)}; its log:\n{text[-3000:]}")
        if made.state(job) == "PENDING":
            made.start_now(job)
        time.sleep(1)


def curve(out: Path) -> list[tuple[int, float]]:
    lines = (out / "controlnet" / "metrics.csv").read_text().splitlines()[1:]
    return [(int(line.split(",")[1]), float(line.split(",")[0])) for line in lines]


def test_requeued_cancelled_out_of_time_and_off_its_node_it_ends_with_the_same_curve(checkpoints, tmp_path):
    tmp_path.chmod(0o755)
    whole, out, log = tmp_path / "whole", tmp_path / "out", tmp_path / "job.log"
    with cluster(tmp_path / "cluster") as made:
        finished = lambda folder: (folder / "controlnet" / "config.json").is_file()  # noqa: E731
        job = submit(made, checkpoints["sd"], whole, tmp_path / "whole.log")
        wait_for("the uninterrupted one", lambda: finished(whole), tmp_path / "whole.log", made, job)

        job = submit(made, checkpoints["sd"], out, log)
        wait_for("a first checkpoint", lambda: newest_step(out) >= EVERY, log, made, job)
        made.run("scontrol", "requeue", job)
        seen = newest_step(out)
        wait_for("steps after a requeue", lambda: newest_step(out) >= seen + 2 * EVERY, log, made, job)

        made.run("scancel", job)
        wait_for("the end of a cancelled job", lambda: made.state(job) in ("CANCELLED", "GONE"), log, made, job)
        time.sleep(5)  # its processes save, then end
        cancelled_at = newest_step(out)
        assert not finished(out)
        job = submit(made, checkpoints["sd"], out, log)
        wait_for("steps of the next job", lambda: newest_step(out) > cancelled_at, log, made, job)

        node = made.run("sinfo", "-h", "-o", "%n").strip()
        made.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
        time.sleep(8)
        with suppress(subprocess.CalledProcessError):  # it may be back by itself
            made.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
        seen = newest_step(out)
        wait_for("steps after the node was down", lambda: newest_step(out) > seen, log, made, job)

        made.run("scancel", "--signal=USR1", job)  # as Slurm warns a job of its end
        wait_for("being queued again", lambda: "saved, and queued again" in log.read_text(), log, made, job)
        wait_for("the end", lambda: finished(out), log, made, job)
    assert curve(out) == curve(whole)
    assert [step for step, _ in curve(out)] == list(range(1, STEPS + 1))
    attempts = [int(number) for number in re.findall(r"attempt (\d+)", log.read_text())]
    assert attempts[0] == 1
    assert max(attempts) >= 3


def test_out_of_time_it_saves_is_queued_again_and_goes_on(checkpoints, tmp_path):
    """With Slurm's own clock, which may warn a minute early."""
    tmp_path.chmod(0o755)
    out, log = tmp_path / "out", tmp_path / "job.log"
    with cluster(tmp_path / "cluster") as made:
        job = submit(made, checkpoints["sd"], out, log, limit="2", steps=LONG)
        wait_for("being warned", lambda: log.exists() and "saved, and queued again" in log.read_text(), log, made, job)
        step = newest_step(out)
        assert step > 0
        wait_for("steps after that", lambda: newest_step(out) > step, log, made, job)
        made.run("scancel", job)
    assert "DUE TO TIME LIMIT" not in log.read_text()
