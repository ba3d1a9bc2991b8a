"""W&B sessions against servers that fail, killed processes, and wandb's own reader of what was written."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import wandb

from tests.house import ROOT
from tests.wandb_folders import begun, read_offline
from tests.wandb_server import failing
from worldgen.runs import wandb_session as wandb_sessions
from worldgen.runs.wandb_identity import Destination, WandbIdentity, kept, new_id, taken_up
from worldgen.runs.wandb_session import wandb_session
from worldgen.slurm import STOPPED

PATIENCE_S = 1.5
DYING = """
import psutil, sys, time
from pathlib import Path
from worldgen.runs.wandb_identity import *
from worldgen.runs.wandb_session import *
folder = Path(sys.argv[1])
identity = taken_up(folder, WandbIdentity(new_id(), "world", "venice", "sweep", project="worldgen"))
with wandb_session(folder, identity, Destination(mode="offline"), {"seed": 3}, print) as session:
    session.do(lambda run: run.summary.update({"fov/seconds": 1.5}), "fov", "state")
    while not kept(folder, "world") or "fov" not in kept(folder, "world").logged:
        time.sleep(0.01)
    for process in (*psutil.Process().children(recursive=True), psutil.Process()):  # as Slurm does it
        process.kill()
"""


def identity(folder: Path, **changes: object) -> WandbIdentity:
    return taken_up(
        folder, WandbIdentity(**{"id": new_id(), "job_type": "world", "name": "venice", "group": "sweep", **changes})
    )


def in_a_process(*arguments: str, home: Path) -> subprocess.CompletedProcess:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment = plain | {"PYTHONPATH": str(ROOT), "HOME": str(home), "NETRC": str(home / "netrc")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture
def served(tmp_path, monkeypatch) -> Iterator[Callable[[str], list[str]]]:
    """Logs something to a failing server; returns what is said."""

    def session(kind: str) -> list[str]:
        with failing(kind) as address:
            monkeypatch.setenv("WANDB_BASE_URL", address)
            wandb.teardown()  # which reads the environment again
            said, where = [], Destination(mode="online")
            with wandb_session(
                tmp_path, identity(tmp_path, project="worldgen"), where, {}, said.append, PATIENCE_S
            ) as opened:
                opened.do(lambda run: run.log({"x": 1}), "fov", "state")
                said.append("goes on")
        return said

    monkeypatch.setattr(wandb_sessions, "_INIT_TIMEOUT_S", PATIENCE_S)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    yield session
    monkeypatch.undo()
    wandb.teardown()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("401", "returned error 401"), ("500", "deadline exceeded"), ("nothing", "deadline exceeded")],
)
def test_a_server_that_cannot_be_had_is_one_line(tmp_path, served, kind, reason):
    goes_on, told = served(kind)
    assert goes_on == "goes on"
    assert told.startswith("W&B cannot be had (")
    assert reason in told
    assert told.endswith("; the run goes on, the same command logs it later")
    assert not kept(tmp_path, "world")  # nothing counts as logged


def test_nobody_is_asked_to_log_in(tmp_path, served, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY")
    _, told = served("401")
    assert "no login, wanted `wandb login`, WANDB_API_KEY, or WANDB_MODE=offline" in told


def test_what_a_server_did_not_take_lies_on_the_disk_and_is_logged_again(tmp_path, served):
    url, told = (line for line in served("later") if line != "goes on")
    assert url.startswith("W&B: http://127.0.0.1")
    assert told.startswith("W&B has not taken everything yet (Timed out finishing run)")
    assert told.endswith(f"or wandb sync --include-online {tmp_path}/wandb")
    (file,) = tmp_path.glob("wandb/run-*/*.wandb")
    assert read_offline(file).summary["x"] == 1
    assert kept(tmp_path, "world").logged == {}  # so the same command logs it once more, in the same run
    assert read_offline(file).id == identity(tmp_path, project="worldgen").id


def test_what_was_logged_outlives_a_process_that_is_killed(tmp_path):
    done = in_a_process("-c", DYING, str(tmp_path), home=tmp_path)
    assert done.returncode == -signal.SIGKILL
    found = identity(tmp_path, project="worldgen")
    assert found.logged == {"fov": "state"}
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    killed = read_offline(file)
    assert (killed.id, killed.config["seed"], killed.summary["fov/seconds"]) == (found.id, 3, 1.5)
    with wandb_session(tmp_path, found, Destination(mode="offline"), {}, lambda line: None) as session:
        session.do(lambda run: run.summary.update({"lift/seconds": 2.0}), "lift", "state")
    assert read_offline(sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))[-1]).id == killed.id
    assert kept(tmp_path, "world").logged == {"fov": "state", "lift": "state"}


def test_wandbs_own_reader_reads_the_same(tmp_path):
    with wandb_session(
        tmp_path, identity(tmp_path, tags=("a",)), Destination(mode="offline"), {"seed": 1}, lambda line: None
    ) as session:
        session.do(lambda run: run.log({"fit/loss": 0.5}))
    (file,) = begun(tmp_path)
    ours = read_offline(file)
    done = in_a_process("-m", "wandb", "leet", "inspect", "--summary", "--json", str(file.parent), home=tmp_path)
    theirs = json.loads(done.stdout)
    assert (theirs["run_id"], theirs["name"], theirs["tags"]) == (ours.id, ours.name, ours.tags)
    assert (theirs["state"], theirs["config"]) == (ours.state, {"seed": 1})
    assert theirs["summary"]["fit/loss"] == ours.summary["fit/loss"] == 0.5


def test_a_job_that_slurm_ends_is_said_to_go_on(tmp_path):
    where = Destination(mode="offline")
    with (
        pytest.raises(SystemExit),
        wandb_session(tmp_path, identity(tmp_path), where, {}, lambda line: None),
    ):
        raise SystemExit(STOPPED)
    run = read_offline(begun(tmp_path)[0])
    assert (run.state, run.preempted) == ("failed", True)


def test_an_id_is_of_no_path_and_another_matter_gets_another(tmp_path):
    ids = [identity(tmp_path).id for _ in range(3)]
    assert len(set(ids)) == 3  # none is kept yet
    identity(tmp_path, made_of="a").save(tmp_path)
    assert identity(tmp_path, made_of="a").id == kept(tmp_path, "world").id
    assert identity(tmp_path, made_of="b").id != kept(tmp_path, "world").id
    assert str(tmp_path) not in kept(tmp_path, "world").id


def test_a_folder_is_known_again_by_its_number_or_by_its_path_on_the_cluster(tmp_path, monkeypatch):
    identity(tmp_path).save(tmp_path)
    own = kept(tmp_path, "world").id
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "another")  # the same disk, from a job
    assert identity(tmp_path).id == own
    path = tmp_path / "wandb" / "world.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"place": content["place"] | {"inode": 1}}))
    assert identity(tmp_path).id != own  # on another cluster, under the same path
    assert identity(tmp_path).copied_from == own
    monkeypatch.delenv("SLURM_CLUSTER_NAME")
    assert identity(tmp_path).id == own  # a disk whose numbers do not last
