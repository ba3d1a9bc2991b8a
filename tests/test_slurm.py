"""Sweeps as Slurm jobs, with programs in Slurm's place that answer as it does."""

import os
import pickle
import signal
import sys
from pathlib import Path

import pytest
from PIL import Image
from submitit import SlurmJob

from worldgen import cli, slurm
from worldgen.cluster.job_states import JobState, JobStates
from worldgen.cluster.run_of_sweep import OUT_OF_TIME
from worldgen.cluster.submission import chunks, expect_slurm
from worldgen.errors import UserError

NO_CONTROLLER = "Batch job submission failed: Unable to contact slurm controller (connect failure)"
SWEEP = ["-m", "hydra/launcher=slurm", "image=photo.jpg", "until=fov"]


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A working folder with a photo in it, and what answers to the names of Slurm's programs, as shell scripts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["worldgen"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    Image.new("RGB", (80, 80)).save(tmp_path / "photo.jpg")
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs), prepend=":")

    def answer(**scripts: str) -> None:
        for name, script in scripts.items():
            (programs / name).write_text(f"#!/bin/sh\n{script}\n")
            (programs / name).chmod(0o755)

    answer(srun="exit 0", sbatch="exit 0", sinfo="exit 1", squeue="exit 1", scontrol="exit 1")
    return answer


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (f"echo 'sbatch: error: {NO_CONTROLLER}' >&2; exit 1", NO_CONTROLLER),
        (
            "echo 'sbatch: error: invalid partition specified: gpu\nsbatch: error: Invalid partition name' >&2; exit 1",
            "invalid partition specified: gpu; Invalid partition name",
        ),
        ("exit 3", "without a word"),
    ],
)
def test_what_sbatch_refuses_is_one_line_and_status_2(cluster, capsys, script, said):
    cluster(sbatch=script)
    assert cli.main(SWEEP) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: hydra/launcher=slurm: sbatch refuses ({said}), wanted a cluster")
    assert err.count("\n") == 1


def test_an_answer_without_a_job_is_one_line(cluster, capsys):
    cluster(sbatch="echo 'queued, perhaps'")
    assert cli.main(SWEEP) == 2
    err = capsys.readouterr().err
    assert "queued, perhaps" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("missing", ["srun", "sbatch"])
def test_without_slurm_what_is_missing_is_named(missing, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None if name == missing else f"/usr/bin/{name}")
    with pytest.raises(UserError, match=rf"^hydra/launcher=slurm: no {missing} here, wanted a machine of the Slurm"):
        expect_slurm()


def test_a_dry_run_shows_the_script_and_submits_nothing(cluster, capsys, monkeypatch):
    cluster(sbatch="echo called >> sbatch.log")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert cli.main([*SWEEP, "seed=1,2", "hydra.launcher.dry_run=true", "hydra.launcher.cpus_per_task=3"]) == 0
    said = capsys.readouterr()
    for line in (
        *("#SBATCH --array=0-1%2", "#SBATCH --cpus-per-task=3", "#SBATCH --signal=USR2@120", "#SBATCH --time=60"),
        *('export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-3}"', "export WANDB_MODE=offline", "# 0: seed=1"),
    ):
        assert line in said.out.splitlines(), line
    assert "HF_HUB_OFFLINE" not in said.out
    assert said.err == "dry run: nothing was submitted\n"
    assert not Path("sbatch.log").exists()
    assert not list(Path("runs").rglob("*.pkl")) if Path("runs").exists() else True


def test_ids_logs_and_how_to_cancel_are_said_at_once(cluster, capsys):
    cluster(sbatch="echo Submitted batch job 12")
    assert cli.main([*SWEEP, "seed=1,2,3", "hydra.launcher.wait=false", "hydra.launcher.array_parallelism=2"]) == 0
    err = capsys.readouterr().err
    assert "job 12: 3 runs, 12_0 to 12_2, 2 at a time" in err
    assert "12_2     seed=3" in err
    assert "logs    runs/.slurm/12/12_0_0_log.out ..." in err
    assert "cancel  scancel 12; one of them: scancel 12_0" in err


def test_a_cancelled_job_fails_alone_and_is_summed_up(cluster, capsys, monkeypatch):
    """squeue knows of no accounting database; what a job leaves is its result."""
    monkeypatch.setattr("worldgen.cluster.job_states._RESULT_S", 0)
    result = "runs/.slurm/12/12_0_0_result.pkl"
    left = f"import pathlib, pickle; pathlib.Path('{result}').write_bytes(pickle.dumps(('success', None)))"
    cluster(
        sbatch="echo Submitted batch job 12",
        squeue=f'{sys.executable} -c "{left}"\necho "12_1|CANCELLED|0:07||None"; echo "12_0|COMPLETED|0:07|n1|None"',
    )
    assert cli.main([*SWEEP, "seed=1,2"]) == 2
    err = capsys.readouterr().err
    assert "done 1 · running 0 · queued 0 · failed 1" in err
    assert "failed  12_1  seed=2: cancelled" in err
    assert err.splitlines()[-1] == "not every run came out; the first that did not: seed=2: cancelled"


def test_ctrl_c_leaves_the_jobs(cluster, capsys, monkeypatch):
    def interrupted(waited_s: float) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr("worldgen.cluster.watch._interval", interrupted)
    cluster(
        sbatch="echo Submitted batch job 12", squeue='echo "12|PENDING|0:00||Priority"', scancel="echo >> scancel.log"
    )
    assert cli.main(SWEEP) == 130
    assert "no longer waiting; the jobs go on: squeue -j 12 shows them, scancel 12 ends them" in capsys.readouterr().err
    assert not Path("scancel.log").exists()


def test_a_controller_that_is_away_keeps_jobs_as_they_were(cluster, tmp_path):
    cluster(squeue="echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1")
    states = JobStates([SlurmJob(tmp_path, "12")], 3)
    assert [state.kind for state in states.now()] == ["queued"]
    assert states.trouble == "Unable to contact slurm controller (connect failure)"
    cluster(squeue='echo "12|RUNNING|0:07|node3|None"')
    assert states.now() == [JobState("running", "node3", "0:07")]
    assert states.trouble == ""


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (("success", None), JobState("done")),
        (("success", "photo.jpg: no picture"), JobState("failed", "photo.jpg: no picture")),
        (("error", "Traceback\nKeyError: 'x'\n"), JobState("failed", "KeyError: 'x'")),
    ],
)
def test_what_a_job_left_tells_how_it_came_out(cluster, tmp_path, result, said):
    cluster(squeue="exit 1")
    job = SlurmJob(tmp_path, "12")
    job.paths.result_pickle.write_bytes(pickle.dumps(result))
    assert JobStates([job], 3).now() == [said]


def test_out_of_time_once_too_often_is_one_line_with_what_helps(cluster, tmp_path):
    job = SlurmJob(tmp_path, "12")
    job.paths.result_pickle.write_bytes(pickle.dumps(("success", OUT_OF_TIME)))
    (state,) = JobStates([job], 2).now()
    assert state.said.startswith("out of time 3 times; what is done is kept")
    assert "hydra.launcher.timeout_min" in state.said


def test_a_job_that_slurm_ended_for_its_time_says_the_same(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("worldgen.cluster.job_states._RESULT_S", 0)
    cluster(squeue='echo "12|TIMEOUT|1:00||TimeLimit"')
    (state,) = JobStates([SlurmJob(tmp_path, "12")], 2).now()
    assert state.kind == "failed"
    assert state.said.startswith("out of time; what is done is kept")


def test_long_sweeps_are_cut_into_arrays_that_together_keep_the_limit():
    arrays = chunks(2500, parallelism=32, most=1000)
    assert [place for runs, _ in arrays for place in runs] == list(range(2500))
    assert all(len(runs) <= 1000 for runs, _ in arrays)
    assert sum(at_once for _, at_once in arrays) <= 32
    assert chunks(3, parallelism=32, most=1000) == [(range(3), 32)]


def test_a_job_that_is_warned_before_it_trains_is_queued_again(cluster, tmp_path, monkeypatch):
    asked = tmp_path / "asked"
    cluster(scontrol=f'echo "$@" > {asked}')
    monkeypatch.setenv("SLURM_JOB_ID", "78")
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    before = signal.getsignal(slurm.WARNING)
    try:
        slurm.heed_warning()
        with pytest.raises(SystemExit) as caught:
            os.kill(os.getpid(), slurm.WARNING)
    finally:
        signal.signal(slurm.WARNING, before)
    assert caught.value.code == 143
    assert asked.read_text() == "requeue 78\n"
