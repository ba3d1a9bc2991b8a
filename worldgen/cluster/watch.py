"""Waiting for a sweep's jobs: shown as they change, summed up when all have ended; Ctrl-C leaves them to Slurm."""

import time
from collections.abc import Callable, Sequence

from worldgen.cluster.job_states import Job, JobState, JobStates, last_line
from worldgen.errors import RunFailedError
from worldgen.present.job_table import Row, counted, job_table

_INTERVALS_S = (1.0, 15.0)  # between questions to the controller: at first, and in the long run
_LOGS = 10  # whose last lines are read for the table
_STATUS_INTERRUPTED = 130


def wait_for(jobs: Sequence[Job], labels: Sequence[str], max_num_timeout: int, say: Callable[[str], None]) -> None:
    """Until all have ended. Raises RunFailedError where a run failed; SystemExit after Ctrl-C, which ends no job."""
    states, began = JobStates(jobs, max_num_timeout), time.monotonic()
    try:
        with job_table() as show:
            while True:
                now = states.now()
                trouble = f"the controller does not answer ({states.trouble}); jobs go on" if states.trouble else ""
                show(_rows(jobs, labels, now), trouble)
                if all(state.kind in ("done", "failed") for state in now):
                    break
                time.sleep(_interval(time.monotonic() - began))
    except KeyboardInterrupt:
        ids = " ".join(dict.fromkeys(job.job_id.partition("_")[0] for job in jobs))
        say(f"no longer waiting; the jobs go on: squeue -j {ids.replace(' ', ',')} shows them, scancel {ids} ends them")
        raise SystemExit(_STATUS_INTERRUPTED) from None
    _sum_up(jobs, labels, now, say)


def _interval(waited_s: float) -> float:
    least, most = _INTERVALS_S
    return min(most, max(least, waited_s / 20))


def _rows(jobs: Sequence[Job], labels: Sequence[str], states: Sequence[JobState]) -> list[Row]:
    running = [job.job_id for job, state in zip(jobs, states, strict=True) if state.kind == "running"][:_LOGS]
    return [
        (
            job.job_id,
            label,
            state.kind,
            state.elapsed,
            f"{state.said}  {last_line(job.paths.stdout)}" if job.job_id in running else state.said,
        )
        for job, label, state in zip(jobs, labels, states, strict=True)
    ]


def _sum_up(jobs: Sequence[Job], labels: Sequence[str], states: Sequence[JobState], say: Callable[[str], None]) -> None:
    """Raises RunFailedError where a run failed."""
    say(f"all jobs have ended: {counted([state.kind for state in states])}")
    failed = [(j, label, s) for j, label, s in zip(jobs, labels, states, strict=True) if s.kind == "failed"]
    for job, label, state in failed:
        say(f"  failed  {job.job_id}  {label}: {state.said}  (log: {job.paths.stdout})")
    if failed:
        _, label, state = failed[0]
        raise RunFailedError(f"{label}: {state.said}")
