"""How a sweep's jobs are, by what the controller says and the result files that jobs leave.

One call of squeue for all of them: it needs no accounting database, and knows jobs for a while after their end.
"""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from worldgen.cluster.run_of_sweep import OUT_OF_TIME

Kind = Literal["queued", "running", "done", "failed"]
KINDS: tuple[Kind, ...] = ("done", "running", "queued", "failed")
_ENDED = (
    *("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "DEADLINE"),
    *("BOOT_FAIL", "REVOKED"),
)
_RUNNING = ("RUNNING", "COMPLETING", "CONFIGURING", "SIGNALING", "STAGE_OUT")
_RESULT_S = 15.0  # what a shared file system may take to show a job's result, and a controller to queue a job again
_ANSWER_S = 60.0
_LOG_END_BYTES = 4096


@dataclass(frozen=True)
class JobState:
    """said: where it runs, what it waits for, or why it failed; elapsed: as squeue tells it."""

    kind: Kind
    said: str = ""
    elapsed: str = ""


class Job(Protocol):
    """A job as submitit has it."""

    job_id: str
    paths: Any


class JobStates:
    """Of jobs that were just submitted; `trouble` is what keeps the controller from answering, empty where it does."""

    def __init__(self, jobs: Sequence[Job], max_num_timeout: int) -> None:
        self._jobs = list(jobs)
        self._states = {job.job_id: JobState("queued") for job in jobs}
        self._ended_since: dict[str, float] = {}
        self._times = max_num_timeout + 1
        self.trouble = ""

    def now(self) -> list[JobState]:
        """The states, in the jobs' order."""
        open_jobs = [job for job in self._jobs if self._states[job.job_id].kind in ("queued", "running")]
        said = self._squeue(open_jobs) if open_jobs else {}
        for job in open_jobs:
            told = None if said is None else said.get(job.job_id)
            if told and told[0] not in _ENDED:  # results are not looked for: ten thousand would burden the disk
                self._states[job.job_id] = self._of_squeue(job, told)
            elif (result := _result(job)) is not None:
                self._states[job.job_id] = self._of_result(result)
            elif said is not None:
                self._states[job.job_id] = self._of_end(job, told)
        return [self._states[job.job_id] for job in self._jobs]

    def _squeue(self, jobs: Sequence[Job]) -> dict[str, list[str]] | None:
        """What squeue tells of each job; None where it does not answer."""
        ids = ",".join(dict.fromkeys(job.job_id.partition("_")[0] for job in jobs))
        command = ["squeue", "--noheader", "--array", "--states=all", f"--jobs={ids}", "--format=%i|%T|%M|%N|%r"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            self.trouble = str(error)
            return None
        if done.returncode and "Invalid job id" not in done.stderr:  # it has forgotten them
            self.trouble = " ".join(done.stderr.replace("slurm_load_jobs error: ", "").split())
            return None
        self.trouble = ""
        lines = [line.split("|", 4) for line in done.stdout.splitlines()]
        return {line[0].strip(): line[1:] for line in lines if len(line) == 5}

    def _of_squeue(self, job: Job, told: list[str]) -> JobState:
        state, elapsed, node, reason = told
        self._ended_since.pop(job.job_id, None)
        if state in _RUNNING:
            return JobState("running", node, elapsed)
        return JobState("queued", "" if reason == "None" else reason)

    def _of_end(self, job: Job, told: list[str] | None) -> JobState:
        """Of a job that has ended, and whose result is not there, or not yet."""
        state = told[0] if told else "GONE"
        since = self._ended_since.setdefault(job.job_id, time.monotonic())
        if time.monotonic() - since < _RESULT_S:
            return self._states[job.job_id]
        if state == "TIMEOUT":  # warned, too, but something caught what the warning raised
            return JobState("failed", _out_of_time(""))
        last = last_line(job.paths.stdout)
        how = "ended without a result" if state in ("GONE", "COMPLETED") else state.lower().replace("_", " ")
        return JobState("failed", f"{how}{f'; {last}' if last else ''}")

    def _of_result(self, result: tuple[str, Any]) -> JobState:
        outcome, value = result
        if outcome != "success":
            lines = [line.strip() for line in str(value).splitlines() if line.strip()]
            value = lines[-1] if lines else "failed"
        if value is None:
            return JobState("done")
        if value == OUT_OF_TIME:
            value = _out_of_time(" once" if self._times == 1 else f" {self._times} times")
        return JobState("failed", str(value))


def _out_of_time(times: str) -> str:
    more = "hydra.launcher.timeout_min or .max_num_timeout gives it more"
    return f"out of time{times}; what is done is kept, and goes on by the same command: {more}"


def last_line(log: Path) -> str:
    """The last line that a job printed, submitit's own aside; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LOG_END_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines()]
    return next((line for line in reversed(lines) if line and not line.startswith(("submitit ", "srun: "))), "")


def _result(job: Job) -> tuple[str, Any] | None:
    """What the job left at its end; None where it has not yet, or where it is not to be read yet."""
    from submitit.core.utils import pickle_load

    try:
        outcome, value = pickle_load(job.paths.result_pickle)
    except (OSError, EOFError, ValueError, TypeError):
        return None
    return outcome, value
