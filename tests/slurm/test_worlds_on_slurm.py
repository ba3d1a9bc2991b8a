"""Sweeps by hydra/launcher=slurm on a real Slurm cluster, of this machine alone."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.killed_run import HOME, TINY, hashes, photo
from tests.slurm.cluster import cluster, missing
from tests.slurm.interruptions import SLOW, WAYS, Run, interrupt_runs, job_of, launcher, submit

pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

OFTEN = 60  # times that a job may run out of time


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    folder.chmod(0o755)
    folder.parent.chmod(0o755)
    with cluster(folder, kill_wait_s=2) as found:
        yield found


def without_page(folder: Path) -> dict[str, str]:
    """Hashes of a run's files, but for the page, whose title is the run folder's name."""
    return {name: sha256 for name, sha256 in hashes(folder).items() if name != "export/world.html"}


def test_in_an_array_a_photo_that_fails_fails_alone(made, tmp_path):
    """Two photos come out, a third is none; the launcher waits, sums up, and ends with status 2."""
    image = photo(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "valley.png").write_bytes(image.read_bytes())
    images = "image=hills.png,broken.png,valley.png"
    done = submit(made, [*launcher(wait="true", cpus_per_task="auto"), images, "out=worlds", *TINY], tmp_path)
    assert done.returncode == 2, done.stderr
    job = job_of(done)
    assert f"job {job}: 3 runs, {job}_0 to {job}_2" in done.stderr
    assert "hydra.launcher.cpus_per_task: 2, not 4: the largest node of partition all has 2 CPUs" in done.stderr
    assert f"cancel  scancel {job}; one of them: scancel {job}_0" in done.stderr
    assert "done 2 · running 0 · queued 0 · failed 1" in done.stderr
    assert f"failed  {job}_1  image=broken.png: broken.png: not a picture" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("not every run came out; the first that did not: image=broken.png")
    worlds = sorted((tmp_path / "worlds").iterdir())
    assert [path.name[:5] for path in worlds] == ["hills", "valle"]
    assert hashes(worlds[0])["export/world.ply"] == hashes(worlds[1])["export/world.ply"]
    command = [sys.executable, "-m", "worldgen.status", "worlds"]
    listed = subprocess.run(
        command, cwd=tmp_path, env=made.environment | {"PYTHONPATH": str(HOME)}, capture_output=True
    )
    told = json.loads(listed.stdout.splitlines()[-1])
    assert (told["runs"], told["done"]) == (2, 2)
    assert [entry["job"] for entry in told["listed"]] == [f"{job}_0", f"{job}_2"]


def test_out_of_time_within_completion_and_fit_it_ends_with_the_same_hashes(made, tmp_path):
    """By Slurm's own clock, which may warn half a minute early: jobs of two minutes for steps that take as long."""
    image = photo(tmp_path)
    longer = [*SLOW, "splat.steps=8000"]
    whole, limited = tmp_path / "whole", tmp_path / "limited"
    assert submit(made, [*launcher(wait="true"), f"image={image}", f"out={whole}", *longer], tmp_path).returncode == 0
    slower = [*longer, "inpainter._target_=tests.slurm.slow.SlowerInpainter"]
    begun = [*launcher(wait="true"), f"image={image}", f"out={limited}", "until=lift", *slower]
    assert submit(made, begun, tmp_path).returncode == 0
    run = Run(made, image, limited, [*launcher(timeout_min=2, max_num_timeout=OFTEN), *slower])
    run.wait_until(run.has_ended, "the end")
    assert run.is_done()
    assert without_page(run.folder) == without_page(next(whole.iterdir()))
    assert run.attempts("complete") > 1
    assert run.attempts("splat") > 1


def test_out_of_time_too_often_is_one_line(made, tmp_path):
    image = photo(tmp_path)
    endless = [*SLOW, "inpainter._target_=tests.slurm.slow.EndlessInpainter"]
    limits = launcher(wait="true", timeout_min=1, max_num_timeout=0)
    done = submit(made, [*limits, f"image={image}", "out=worlds", *endless], tmp_path)
    assert done.returncode == 2, done.stderr
    assert "out of time once; what is done is kept, and goes on by the same command" in done.stderr


def test_ctrl_c_leaves_the_job(made, tmp_path):
    image = photo(tmp_path)
    command = [sys.executable, "-m", "worldgen", "-m", *launcher(wait="true"), f"image={image}", "out=worlds", *SLOW]
    environment = made.environment | {"PYTHONPATH": str(HOME)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    said = []
    while not (said and "done 0" in said[-1]):
        said.append(process.stderr.readline())
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    job = next(line for line in said if line.startswith("job ")).split()[1].rstrip(":")
    assert process.returncode == 130
    assert f"no longer waiting; the jobs go on: squeue -j {job} shows them, scancel {job} ends them" in rest
    assert made.state(job) in ("PENDING", "RUNNING")
    made.run("scancel", job)


def test_whatever_happens_to_a_job_it_ends_with_the_same_hashes(tmp_path):
    tmp_path.chmod(0o755)
    told = interrupt_runs(len(WAYS), 1, tmp_path)
    assert told["differing"] == []
    assert told["same_hashes"] == told["interruptions"] == len(WAYS)


def test_without_a_controller_it_is_one_line_and_nothing_is_left(tmp_path):
    image = photo(tmp_path)
    tmp_path.chmod(0o755)
    with cluster(tmp_path / "cluster") as found:
        found.stop("slurmctld")
        done = submit(found, [*launcher(), f"image={image}", "out=worlds", *TINY], tmp_path)
        found.start("slurmctld")
        time.sleep(2)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: hydra/launcher=slurm: sbatch refuses (")
    assert not list((tmp_path / "runs").rglob("*.pkl"))


def test_a_partition_that_is_not_there_is_one_line(made, tmp_path):
    image = photo(tmp_path)
    done = submit(made, [*launcher(partition="nowhere"), f"image={image}", "out=worlds", *TINY], tmp_path)
    assert done.returncode == 2
    assert "sbatch refuses (invalid partition specified: nowhere" in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_the_jobs_process_sees(made, tmp_path):
    """Threads by the CPUs asked for, and the switches of the submitting shell, where the site exports nothing."""
    image = photo(tmp_path)
    shown = tmp_path / "seen"
    names = "OMP_NUM_THREADS NUMBA_NUM_THREADS HF_HUB_OFFLINE WANDB_MODE"
    lines = f"['printenv {names} > {shown}']"
    environment = {"SBATCH_EXPORT": "NONE", "WANDB_MODE": "offline"}
    found = type(made)(made.folder, made.environment | environment, made.daemons)
    done = submit(
        found, [*launcher(wait="true", setup=lines), f"image={image}", "out=worlds", "until=fov", *TINY], tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert shown.read_text().split() == ["1", "1", "1", "offline"]
