"""What a process that is a job of Slurm's heeds: the warning that its time is nearly over, and being queued again."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time

WARNING = signal.SIGUSR1
"""What `sbatch --signal=USR1@120` sends before a job's time is over."""
STOPPED = 128 + signal.SIGTERM  # the status that shells know
_REQUEUED_S = 20.0  # in which Slurm has queued a job again, and ended its processes
_ENDED_S = 60.0  # in which a process that Slurm ends is gone: KillWait, half a minute by default, and some
_log = logging.getLogger("worldgen")


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


def patience_s() -> float:
    """Seconds that a job waits for what another process holds: one that Slurm is ending may be this job itself, queued
    again from a node that was down, or one that was cancelled. None outside of jobs."""
    return _ENDED_S if "SLURM_JOB_ID" in os.environ else 0.0


def _queue_again_and_end(*_: object) -> None:
    queue_again()
    sys.exit(STOPPED)
