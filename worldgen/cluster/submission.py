"""Sending a sweep's runs to Slurm as arrays: their script, their environment, and what sbatch refuses, in one line."""

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from itertools import pairwise
from pathlib import Path
from typing import Any

from worldgen.cluster.run_of_sweep import RunOfSweep
from worldgen.errors import UserError

LAUNCHER = "hydra/launcher=slurm"
OF_LAUNCHER = ("wait", "dry_run", "submitit_folder", "max_num_timeout", "python")  # not for sbatch
DEFAULT_MAX_ARRAY = 1001  # Slurm's, of `MaxArraySize`
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
CARRIED = (
    *("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HOME", "HF_HUB_CACHE", "TORCH_HOME"),
    *("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_DIR", "WORLDGEN_CACHE", "NUMBA_CACHE_DIR"),
    *("PYTHONPATH", "PYTHONSAFEPATH"),
)
"""What of the submitting shell a job needs, even where the site has sbatch export nothing (SBATCH_EXPORT=NONE):
switches and folders, no keys."""
_WANTED = "a cluster that takes the job: hydra.launcher.partition=..., .account and .gres are what it has"
_ANSWER_S = 20.0


def expect_slurm() -> None:
    """Raises UserError where Slurm's programs are not here."""
    for program in ("srun", "sbatch"):
        if not shutil.which(program):
            raise UserError(f"{LAUNCHER}: no {program} here, wanted a machine of the Slurm cluster")


def executor(settings: Mapping[str, Any]) -> Any:
    """submitit's, for the launcher's settings. Raises UserError for a setting that it does not know."""
    from submitit.slurm.slurm import SlurmExecutor

    class Anywhere(SlurmExecutor):  # a dry run needs no Slurm, and everything else has been asked for srun
        affinity = classmethod(lambda cls: 2)

    made = Anywhere(settings["submitit_folder"], settings["max_num_timeout"], python=settings["python"])
    asked = {key: value for key, value in settings.items() if key not in OF_LAUNCHER and value is not None}
    asked["setup"] = [*environment(os.environ, settings["cpus_per_task"]), *(asked.get("setup") or [])]
    try:
        made.update_parameters(**made._convert_parameters(asked))
    except ValueError as error:
        unknown = re.findall(r"\[(.*?)\]", str(error))[:1]
        raise UserError(f"hydra.launcher: {unknown[0] if unknown else error}, wanted keys that submitit has") from error
    return made


def environment(shell: Mapping[str, str], cpus: int | None) -> list[str]:
    """Lines of the job's script: as many threads as CPUs are asked for, and what the submitting shell had set."""
    threads = f'"${{SLURM_CPUS_PER_TASK:-{cpus or 1}}}"'
    # srun takes the job's --cpus-per-task from here alone, since Slurm 22.05; and after SBATCH_EXPORT=NONE nothing else
    lines = [f"export {name}={threads}" for name in (*THREADS, "SRUN_CPUS_PER_TASK")] + ["export SLURM_EXPORT_ENV=ALL"]
    return [*lines, *(f"export {name}={shlex.quote(shell[name])}" for name in CARRIED if shell.get(name))]


def chunks(count: int, parallelism: int, most: int) -> list[tuple[range, int]]:
    """Arrays of at most `most` runs, nearly equally long: which runs, and how many of them at a time."""
    arrays = -(-count // most)
    bounds = [count * number // arrays for number in range(arrays + 1)]
    return [(range(*pair), max(1, parallelism // arrays)) for pair in pairwise(bounds)]


def max_array() -> int:
    """How many runs the cluster takes in one array."""
    try:
        said = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, timeout=_ANSWER_S)
    except (OSError, subprocess.TimeoutExpired):
        return DEFAULT_MAX_ARRAY - 1
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", said.stdout, flags=re.MULTILINE)
    return max(1, int(found[1]) - 1 if found else DEFAULT_MAX_ARRAY - 1)


def scripts(settings: Mapping[str, Any], arrays: Sequence[tuple[range, int]]) -> list[str]:
    """What sbatch would be given, one for each array."""
    found = []
    for runs, parallelism in arrays:
        made = executor({**settings, "array_parallelism": parallelism})
        if len(runs) > 1:
            made.parameters["map_count"] = len(runs)
        found.append(made._make_submission_file_text(made._submitit_command_str, "dry-run"))
    return found


def submit(settings: Mapping[str, Any], arrays: Sequence[tuple[range, int]], runs: Sequence[RunOfSweep]) -> list[Any]:
    """submitit's jobs, one for each run. Raises UserError where sbatch refuses them, or answers without an id."""
    jobs: list[Any] = []
    for places, parallelism in arrays:
        made = executor({**settings, "array_parallelism": parallelism})
        sent = dict.fromkeys(job.job_id.partition("_")[0] for job in jobs)
        with _refusals(sent), _swept(made.folder):
            jobs += made.submit_array([runs[place] for place in places])
    return jobs


@contextmanager
def _refusals(sent: Mapping[str, Any]) -> Iterator[None]:
    """Turns what sbatch says into one line. sent: jobs that were taken before."""
    said = io.StringIO()  # submitit prints what sbatch says, and then raises it
    try:
        with redirect_stderr(said):
            yield
    except RuntimeError as error:
        if not type(error).__module__.startswith("submitit."):
            raise
        more = f"; {', '.join(sent)} submitted before, scancel {' '.join(sent)} ends them" if sent else ""
        raise UserError(f"{LAUNCHER}: {_reason(error)}{more}") from error
    sys.stderr.write(said.getvalue())


@contextmanager
def _swept(folder: Path) -> Iterator[None]:
    """Leaves none of the files of a submission that failed."""
    parent = next(path for path in [folder, *folder.parents] if "%" not in str(path))
    before = set(parent.glob("*.pkl"))
    try:
        yield
    except BaseException:
        for path in set(parent.glob("*.pkl")) - before:
            path.unlink(missing_ok=True)
        raise


def _reason(error: RuntimeError) -> str:
    text = str(error).replace("sbatch: error: ", "").replace("sbatch: ", "")
    line = "; ".join(line.strip() for line in text.splitlines() if line.strip())
    if isinstance(error.__cause__, subprocess.CalledProcessError):
        return f"sbatch refuses ({line or 'without a word'}), wanted {_WANTED}"
    return line or type(error).__name__
