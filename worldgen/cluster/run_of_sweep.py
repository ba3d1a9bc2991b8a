"""One run of a sweep as a job carries it out: what is pickled when it is submitted, and again when time is over."""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from worldgen.errors import RunFailedError, first_line

OUT_OF_TIME = "its time was over once too often"
_SUBMITITS = "timed-out too many times"  # in what its handler of the warning raises


@dataclass
class RunOfSweep:
    """overrides: of this run; number: its place in the sweep; state: of Hydra's singletons where it was submitted."""

    context: HydraContext
    config: DictConfig
    function: TaskFunction
    overrides: Sequence[str]
    number: int
    state: dict[Any, Any]

    def __call__(self) -> str | None:
        """Carries it out, in the job. Returns None where it came out, else why not, in one line."""
        import submitit

        Singleton.set_state(self.state)
        setup_globals()
        config = self.context.config_loader.load_sweep_config(self.config, list(self.overrides))
        with open_dict(config.hydra.job):
            config.hydra.job.id = submitit.JobEnvironment().job_id
            config.hydra.job.num = self.number
        found = run_job(self.function, config, "hydra.sweep.dir", "hydra.sweep.subdir", self.context)
        if found.status == JobStatus.COMPLETED:
            return None
        error = found._return_value  # the property would raise it
        if not isinstance(error, RunFailedError):  # which has been told
            traceback.print_exception(error)
        if _SUBMITITS in str(error):
            return OUT_OF_TIME
        return (
            first_line(error) if isinstance(error, RunFailedError) else f"{type(error).__name__}: {first_line(error)}"
        )

    def checkpoint(self) -> Any:
        """What submitit sends again: the same, for all that is done lies in the run folder."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)
