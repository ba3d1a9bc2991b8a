"""How runs are, by their folders: while they are made, when they ended, and when they were killed."""

import json
import os
import threading
import time

import pytest

from worldgen import status
from worldgen.errors import UserError
from worldgen.runs.folder import RunFolder
from worldgen.runs.holder import holder_of
from worldgen.runs.run_status import status_of

PHOTO = "0" * 64


def made(root, step="fov"):
    with RunFolder.open(root, PHOTO, "photo.jpg") as folder:
        folder.step(step, {}, (), lambda out: (out / "file.txt").write_text("text") and {})
    return root


def test_a_finished_run_is_done_and_says_which_job_made_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    found = status_of(made(tmp_path / "run"))
    assert (found.state, found.step, found.job) == ("done", "fov", "12_3")
    assert found.host == os.uname().nodename


def test_a_step_in_the_making_is_running_with_its_seconds(tmp_path):
    seen = []

    def produce(out):
        attempt = json.loads((out / ".attempt.json").read_text())
        (out / ".attempt.json").write_text(json.dumps(attempt | {"began": time.time() - 100}))
        seen.append(status_of(tmp_path))
        return {}

    begins = time.time()
    with RunFolder.open(tmp_path, PHOTO) as folder:
        folder.step("complete", {}, (), produce)
    assert (seen[0].state, seen[0].step) == ("running", "complete")
    assert 99 < seen[0].seconds < 101 + time.time() - begins  # however long this machine takes


def test_an_error_is_failed_and_its_line_is_told(tmp_path):
    with pytest.raises(UserError), RunFolder.open(tmp_path, PHOTO):
        raise UserError("photo.jpg: too dark")
    found = status_of(tmp_path)
    assert (found.state, found.last) == ("failed", "photo.jpg: too dark")


def test_ctrl_c_is_stopped(tmp_path):
    with pytest.raises(KeyboardInterrupt), RunFolder.open(tmp_path, PHOTO):
        raise KeyboardInterrupt
    assert status_of(tmp_path).state == "stopped"


def test_a_killed_process_is_stale(tmp_path):
    root = made(tmp_path / "run")
    (root / ".lock").write_text("4194305 on " + os.uname().nodename)  # a process id that Linux never gives
    assert status_of(root).state == "stale"


def test_another_machines_process_is_running_while_it_shows_signs_of_life(tmp_path):
    root = made(tmp_path / "run")
    (root / ".lock").write_text("1 on node17, job 9")
    assert (status_of(root).state, status_of(root).host, status_of(root).job) == ("running", "node17", "9")
    os.utime(root / ".lock", (time.time() - 3600,) * 2)
    assert status_of(root).state == "stale"


def test_a_job_waits_for_a_process_that_is_being_ended(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    first = RunFolder.open(tmp_path, PHOTO)
    threading.Timer(0.2, first.close).start()
    with RunFolder.open(tmp_path, PHOTO):
        assert holder_of(tmp_path).job == "12"
        monkeypatch.delenv("SLURM_JOB_ID")
        with pytest.raises(UserError, match=r"process \d+ on \S+, job 12 is making a world"):
            RunFolder.open(tmp_path, PHOTO)


def test_looking_whether_a_folder_is_free_signs_nothing(tmp_path):
    root = made(tmp_path / "run")
    RunFolder.expect_free(root)
    assert holder_of(root).outcome == "done"


def test_files_that_are_half_written_are_no_error(tmp_path):
    root = made(tmp_path / "run")
    (root / "manifest.json").write_text('{"steps": {"fov"')
    (root / ".lock").write_text("")
    assert status_of(root).state == "stale"


def test_the_program_lists_runs_counts_them_and_ends_with_json(tmp_path, capsys):
    made(tmp_path / "sweep" / "a")
    with pytest.raises(KeyboardInterrupt), RunFolder.open(tmp_path / "sweep" / "b", PHOTO):
        raise KeyboardInterrupt
    (tmp_path / "other").mkdir()
    assert status.main([str(tmp_path / "sweep"), str(tmp_path / "other"), str(tmp_path / "sweep" / "a")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[:3]] == ["state", "done", "stopped"]
    assert lines[3].startswith("no runs: 1 (")
    told = json.loads(lines[-1])
    assert (told["runs"], told["done"], told["stopped"], told["no_runs"]) == (2, 1, 1, 1)
    assert [entry["state"] for entry in told["listed"]] == ["done", "stopped"]
    assert status.main([str(tmp_path / "nowhere")]) == 2
    assert "nowhere: not found, wanted run folders" in capsys.readouterr().err
