"""Sweeps as Slurm jobs (conf/hydra/launcher/slurm.yaml): what the cluster refuses, and why, in one line."""

import io
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr

from worldgen.errors import UserError

WARNING = signal.SIGUSR1
"""What `sbatch --signal=USR1@120` sends before a job's time is over."""
STOPPED = 128 + signal.SIGTERM  # the status that shells know
_REQUEUED_S = 20.0  # in which Slurm has queued a job again, and ended its processes
_log = logging.getLogger("worldgen")
_LAUNCHER = "hydra/launcher=slurm"
_WANTED = "a cluster that takes the job: hydra.launcher.partition=..., .account and .gres are what it has"


def heed_warning() -> None:
    """In a job of Slurm: from now on its warning queues it again and ends this process, with nothing to save."""
    if "SLURM_JOB_ID" in os.environ:
        signal.signal(WARNING, _queue_again_and_end)


def queue_again() -> None:
    """Has Slurm run this job once more, if it is one; one of its processes asks, the others wait to be ended."""
    job = os.environ.get("SLURM_JOB_ID")
    if not job:
        return
    if os.environ.get("SLURM_PROCID", "0") != "0":
        time.sleep(_REQUEUED_S)  # srun ends all tasks with the first one, and one of them has yet to ask
        return
    if not shutil.which("scontrol"):
        _log.warning("job %s: no scontrol here to queue it again; sbatch it again, and it goes on", job)
        return
    asked = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
    if asked.returncode:
        _log.warning("job %s: not queued again (%s); sbatch it again, and it goes on", job, asked.stderr.strip())
    else:
        _log.warning("job %s: its time is nearly over; saved, and queued again", job)


def _queue_again_and_end(*_: object) -> None:
    queue_again()
    sys.exit(STOPPED)


@contextmanager
def told(arguments: Sequence[str]) -> Iterator[None]:
    """Around a sweep with these arguments: raises UserError where Slurm is not here, or refuses or loses a job."""
    if _LAUNCHER not in arguments:
        yield
        return
    for program in ("srun", "sbatch"):
        if not shutil.which(program):
            raise UserError(f"{_LAUNCHER}: no {program} here, wanted a machine of the Slurm cluster")
    said = io.StringIO()  # submitit prints what sbatch says, and then raises it
    try:
        with redirect_stderr(said):
            yield
    except RuntimeError as error:
        if not type(error).__module__.startswith("submitit."):
            raise
        raise UserError(f"{_LAUNCHER}: {_reason(error)}") from error
    except BaseException:
        sys.stderr.write(said.getvalue())
        raise
    sys.stderr.write(said.getvalue())


def _reason(error: RuntimeError) -> str:
    text = str(error).replace("sbatch: error: ", "").replace("sbatch: ", "")
    line = "; ".join(line.strip() for line in text.splitlines() if line.strip())
    if isinstance(error.__cause__, subprocess.CalledProcessError):
        return f"sbatch refuses ({line or 'without a word'}), wanted {_WANTED}"
    return line or type(error).__name__
