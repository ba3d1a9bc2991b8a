"""A Slurm cluster on this machine alone: munged, slurmctld and slurmd of Debian's slurm-wlm, in a folder of its own.

    python -m tests.slurm.cluster FOLDER -- sbatch --wrap hostname      runs a command with it, and takes it down again

Needs root, as slurmd does. Nothing outside FOLDER is written or read; two clusters must not run at once.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel")
_STARTED_S = 30.0
_ENDED_S = 20.0
_CONF = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait={kill_wait_s}
SchedulerParameters=batch_sched_delay=1,sched_interval=2
RebootProgram=/bin/true
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why no cluster can be set up here; None where it can."""
    absent = [name for name in _PROGRAMS if not _found(name)]
    if absent:
        return f"no {absent[0]} here (apt-get install slurm-wlm munge)"
    return None if os.geteuid() == 0 else "slurmd needs root"


@dataclass(frozen=True)
class Cluster:
    """folder: its own; environment: for whoever talks to it; daemons: its processes, by name."""

    folder: Path
    environment: dict[str, str]
    daemons: dict[str, subprocess.Popen] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Starts a daemon."""
        arguments = ("-D", "-f", str(self.folder / "slurm.conf")) if name != "munged" else self._of_munged()
        path = _found(name)
        assert path, name
        with (self.folder / "daemons.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen([path, *arguments], env=self.environment, stdout=log, stderr=log)

    def kill(self, name: str) -> None:
        """Ends a daemon as a power cut would."""
        self.daemons[name].kill()
        self.daemons[name].wait()

    def stop(self, name: str) -> None:
        """Ends a daemon in order."""
        self.daemons[name].send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.daemons[name].wait(10)
        self.kill(name)

    def node(self, state: str) -> None:
        """Sets the node down, or has it resume."""
        name = self.run("sinfo", "-h", "-o", "%n").strip()
        with suppress(subprocess.CalledProcessError):  # it may be back by itself
            self.run("scontrol", "update", f"NodeName={name}", f"State={state}", "Reason=test")

    def _of_munged(self) -> tuple[str, ...]:
        return (
            *("--foreground", "--force", f"--key-file={self.folder}/munge.key"),
            *(f"--socket={self.folder}/munge.socket", f"--pid-file={self.folder}/munged.pid"),
            *(f"--log-file={self.folder}/munged.log", f"--seed-file={self.folder}/munge.seed"),
        )

    def run(self, *command: str, timeout_s: float = 60) -> str:
        """What a command of Slurm's prints. Raises CalledProcessError."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if done.returncode:
            error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
            error.add_note(done.stderr)
            raise error
        return done.stdout

    def state(self, job: str) -> str:
        """Of a job: PENDING, RUNNING, COMPLETED, ...; GONE where the controller has forgotten it."""
        with suppress(subprocess.CalledProcessError):
            said = self.run("scontrol", "show", "job", job)
            return next(word for word in said.split() if word.startswith("JobState=")).partition("=")[2]
        return "GONE"

    def start_now(self, job: str) -> None:
        """A job that was queued again would wait for two minutes."""
        with suppress(subprocess.CalledProcessError):
            self.run("scontrol", "update", f"JobId={job}", "StartTime=now")


@contextmanager
def cluster(folder: Path, kill_wait_s: int = 30) -> Iterator[Cluster]:
    """A cluster of one node of two CPUs while the block runs. kill_wait_s: between a job's SIGTERM and its SIGKILL.
    Raises RuntimeError where it does not come up."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("state", "spool"):
        (folder / name).mkdir(exist_ok=True)
    ports = _free_ports(2)
    host = socket.gethostname().partition(".")[0]
    conf = folder / "slurm.conf"
    places = {"host": host, "folder": folder, "controller": ports[0], "daemon": ports[1]}
    conf.write_text(_CONF.format(**places, kill_wait_s=kill_wait_s))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    folder.chmod(0o755)
    made = Cluster(folder, os.environ | {"SLURM_CONF": str(conf)})
    try:
        for name in ("munged", "slurmctld", "slurmd"):
            made.start(name)
            time.sleep(1)
        _wait_for_node(made)
        yield made
    finally:
        _end_jobs(made)
        for name in reversed(made.daemons):
            made.stop(name)


def _end_jobs(made: Cluster) -> None:
    """Jobs that outlive the daemons would fill their logs with complaints, and go on using the machine."""
    with suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired):
        made.run("scancel", "--signal=KILL", "--full", "--user=root", timeout_s=10)
        made.run("scancel", "--user=root", timeout_s=10)
        until = time.monotonic() + _ENDED_S
        while made.run("squeue", "-h", timeout_s=10).strip() and time.monotonic() < until:
            time.sleep(0.5)


def _wait_for_node(made: Cluster) -> None:
    said = "nothing"
    until = time.monotonic() + _STARTED_S
    while time.monotonic() < until:
        with suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired):
            said = made.run("sinfo", "-h", "-o", "%T").strip()
            if said in ("idle", "mixed", "allocated"):
                return
        time.sleep(0.5)
    logs = (made.folder / "daemons.log").read_text(errors="replace")[-2000:]
    raise RuntimeError(f"no node within {_STARTED_S:g} s, the last state was {said}:\n{logs}")


def _found(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def main(arguments: Sequence[str]) -> int:
    if len(arguments) < 3 or arguments[1] != "--":
        print(__doc__)
        return 2
    if why := missing():
        print(f"error: {why}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the daemons end with it
    with cluster(Path(arguments[0]).resolve()) as made:
        return subprocess.run(arguments[2:], env=made.environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
