"""Sweeps as Slurm jobs (conf/hydra/launcher/slurm.yaml): what the cluster refuses, and why, in one line."""

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr

from worldgen.errors import UserError

_LAUNCHER = "hydra/launcher=slurm"
_WANTED = "a cluster that takes the job: hydra.launcher.partition=..., .account and .gres are what it has"


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
